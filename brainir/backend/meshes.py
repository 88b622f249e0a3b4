"""How operands lie on meshes, as types that functions are traced with."""

from __future__ import annotations

from typing import Any

import jax

__all__ = ["placed"]


def placed(spec: jax.ShapeDtypeStruct, like: Any) -> jax.ShapeDtypeStruct:
    """Return an abstract array that is on a mesh as an array or its type is, which may have more axes in front.

    It is divided over the explicit axes of the mesh as that is, and differs between devices along the same manual ones.
    """
    kind = like if isinstance(like, jax.core.ShapedArray) else jax.typeof(like)
    around, sharding = jax.sharding.get_abstract_mesh(), getattr(kind, "sharding", None)
    if sharding is None or sharding.mesh.empty:
        if jax.sharding.AxisType.Manual not in around.axis_types:
            return spec
        sharding = jax.sharding.NamedSharding(around, jax.sharding.PartitionSpec())
    elif len(kind.shape) > len(spec.shape):
        entries = getattr(sharding.spec, "partitions", sharding.spec)  # since JAX 0.10
        left = tuple(entries[len(kind.shape) - len(spec.shape) :])
        sharding = jax.sharding.NamedSharding(sharding.mesh, sharding.spec.update(partitions=left))
    name = "vma" if jax.__version_info__ < (0, 10) else "manual_axis_type"
    mark: Any = {name: getattr(kind, name, None)}
    return jax.ShapeDtypeStruct(spec.shape, spec.dtype, weak_type=spec.weak_type, sharding=sharding, **mark)

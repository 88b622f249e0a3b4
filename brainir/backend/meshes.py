"""Device meshes, which a program describes by names and sizes, made from the devices that there are."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import numpy as np

from ..ir.errors import EmissionError
from ..ir.ops import MeshShape, Sharding

__all__ = ["abstract_mesh_of", "mesh_of", "placed", "sharding_of"]


def mesh_of(shape: MeshShape) -> Any:
    """Return the mesh around the call if it has this shape, else one of the first devices.

    Raises
    ------
    EmissionError
        If there are fewer devices than the mesh has places.
    """
    around = jax.sharding.get_abstract_mesh()
    if (tuple(around.axis_names), tuple(around.axis_sizes)) != (shape.names, shape.sizes):
        return _made(shape, tuple(jax.devices()))
    given = _given()
    manual = jax.sharding.AxisType.Manual
    if all(mine == theirs or theirs != manual for mine, theirs in zip(_kinds(shape), around.axis_types, strict=True)):
        return given if given is not None and given.abstract_mesh == around else around
    # Within a shard_map, what is said of the mesh as it is outside.
    is_given = given is not None and given.axis_sizes == around.axis_sizes
    return _made(shape, tuple(given.devices.flat if is_given else jax.devices()))


def _given() -> Any:
    """Return the mesh of ``jax.set_mesh`` with its devices, since JAX 0.9; None if there is none."""
    try:
        with jax.core.eval_context():
            concrete = jax.sharding.get_mesh()
    except (AttributeError, ValueError):  # JAX 0.8 has none, and none is given where an axis of jax.vmap has a name
        return None
    return None if concrete.empty else concrete


def abstract_mesh_of(shape: MeshShape) -> Any:
    """Return that mesh without its devices, and with axes of these kinds, whatever they are around the call.

    Raises
    ------
    EmissionError
        As :func:`mesh_of`: the arrays that lie on it are on that many devices.
    """
    if not shape.names:
        return jax.sharding.AbstractMesh((), ())
    device = mesh_of(shape).abstract_mesh.abstract_device
    return jax.sharding.AbstractMesh(shape.sizes, shape.names, axis_types=_kinds(shape), abstract_device=device)


def _kinds(shape: MeshShape) -> tuple[Any, ...]:
    return tuple(getattr(jax.sharding.AxisType, kind.capitalize()) for kind in shape.types)


@functools.lru_cache(maxsize=64)
def _made(shape: MeshShape, devices: tuple[Any, ...]) -> Any:
    count = math.prod(shape.sizes)
    if len(devices) < count:
        places = " x ".join(f"{name}={size}" for name, size in zip(shape.names, shape.sizes, strict=True))
        raise EmissionError(
            f"the program runs on a mesh of {count} devices ({places}), and there are {len(devices)}; "
            "run it on more, or on a CPU with XLA_FLAGS=--xla_force_host_platform_device_count="
            f"{count}"
        )
    placed_on = np.array(devices[:count]).reshape(shape.sizes)
    return jax.sharding.Mesh(placed_on, shape.names, axis_types=_kinds(shape))


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


def sharding_of(sharding: Sharding, is_abstract: bool = False) -> Any:
    """Return a sharding on the devices that there are, or on an abstract mesh."""
    mesh = abstract_mesh_of(sharding.mesh) if is_abstract else mesh_of(sharding.mesh)
    options = {} if sharding.memory is None else {"memory_kind": sharding.memory}
    return jax.sharding.NamedSharding(mesh, _spec_of(sharding), **options)


def _spec_of(sharding: Sharding) -> Any:
    free = jax.sharding.PartitionSpec.UNCONSTRAINED
    parts = {"unreduced": frozenset(sharding.unreduced), "reduced": frozenset(sharding.reduced)}
    named: dict[str, Any] = {name: axes for name, axes in parts.items() if axes}  # since JAX 0.9
    if sharding.unreduced_kind != "sum":
        kinds = jax.sharding.UnreducedKind  # type: ignore[attr-defined]  # since JAX 0.12
        named["unreduced_kind"] = kinds[sharding.unreduced_kind]
    return jax.sharding.PartitionSpec(*(free if entry == "*" else entry for entry in sharding.spec), **named)

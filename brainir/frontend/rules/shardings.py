"""Meshes and shardings as records."""

from __future__ import annotations

from typing import Any

import jax

from ...ir.ops import MeshShape, Sharding, Spec, SpreadSpec
from .registry import Attributes, UnsupportedError, ints

__all__ = ["axis_names", "has_layout", "is_explicit", "layout", "mesh_shape", "partition_spec", "sharding_record"]


def mesh_shape(mesh: Any) -> MeshShape:
    """Return names, sizes and kinds of the axes of a mesh.

    Raises
    ------
    UnsupportedError
        If an axis has a name that is not text.
    """
    return MeshShape(
        names=axis_names(mesh.axis_names),
        sizes=ints(mesh.axis_sizes),
        types=tuple(kind.name.lower() for kind in mesh.axis_types),
    )


def sharding_record(given: Any) -> Sharding:
    """Return a named sharding as a record.

    Raises
    ------
    UnsupportedError
        If it is of another kind.
    """
    if not (hasattr(given, "mesh") and hasattr(given, "spec")):
        raise UnsupportedError(f"a sharding of the kind {type(given).__name__}; use jax.sharding.NamedSharding")
    memory, spec = given.memory_kind, given.spec
    return Sharding(
        mesh=mesh_shape(given.mesh),
        spec=_entries(spec),
        memory=None if memory in (None, "device") else memory,
        **_parts(spec),
    )


def is_explicit(mesh: Any) -> bool:
    """Whether types say how arrays lie on some axes of a mesh."""
    return jax.sharding.AxisType.Explicit in mesh.axis_types


def has_layout(given: Any) -> bool:
    """Whether a parameter of an operation says how its result lies on a mesh."""
    if given is None:
        return False
    mesh = getattr(given, "mesh", None)
    # On a mesh without explicit axes, a sharding that cuts nothing is what every value has.
    return mesh is None or is_explicit(mesh) or (not mesh.empty and any(_entries(given.spec)))


def layout(given: Any) -> Attributes:
    """Return how the result of an operation lies on a mesh, as the attribute that says so, if anything is said."""
    return {"out_sharding": sharding_record(given)} if has_layout(given) else {}


def partition_spec(spec: Any) -> Spec | SpreadSpec:
    """Return a partition spec as a tuple; as a record if it speaks of parts that devices hold."""
    parts = _parts(spec)
    entries = _entries(spec)
    return SpreadSpec(spec=entries, **parts) if parts else entries


def _parts(spec: Any) -> Attributes:
    """Return along which axes devices hold parts of an array, of what kind, and parts of its cotangent (since 0.9)."""
    named = {name: getattr(spec, name, None) for name in ("unreduced", "reduced")}
    parts: Attributes = {name: tuple(sorted(axis_names(tuple(axes)))) for name, axes in named.items() if axes}
    if named["unreduced"] and hasattr(spec, "unreduced_kind"):
        parts["unreduced_kind"] = spec.unreduced_kind.name
    return parts


def _entries(spec: Any) -> Spec:
    return tuple(
        "*" if entry is jax.sharding.PartitionSpec.UNCONSTRAINED
        else axis_names(entry) if isinstance(entry, tuple)
        else None if entry is None
        else axis_names((entry,))[0]
        for entry in getattr(spec, "partitions", spec)
    )  # fmt: skip


def axis_names(names: Any) -> tuple[str, ...]:
    """Return the names of one or several mesh axes.

    Raises
    ------
    UnsupportedError
        If one is not text.
    """
    if not isinstance(names, tuple | list | frozenset):
        names = (names,)
    odd = [name for name in names if not isinstance(name, str) or name == "*"]
    if odd:
        raise UnsupportedError(f"a mesh axis named {odd[0]!r}; name it with text")
    return tuple(names)

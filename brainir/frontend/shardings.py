"""Meshes and shardings as records."""

from __future__ import annotations

from typing import Any

from ..ir.ops import MeshShape, Sharding, Spec
from . import jax_compat
from .rules import UnsupportedError
from .rules.registry import ints

__all__ = ["axis_names", "mesh_shape", "partition_spec", "sharding", "shardings"]


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


def sharding(given: Any) -> Sharding:
    """Return a named sharding as a record.

    Raises
    ------
    UnsupportedError
        If it is of another kind.
    """
    if not (hasattr(given, "mesh") and hasattr(given, "spec")):
        raise UnsupportedError(f"a sharding of the kind {type(given).__name__}; use jax.sharding.NamedSharding")
    memory = given.memory_kind
    return Sharding(
        mesh=mesh_shape(given.mesh),
        spec=partition_spec(given.spec),
        memory=None if memory in (None, "device") else memory,
    )


def partition_spec(spec: Any) -> Spec:
    """Return a partition spec as a tuple.

    Raises
    ------
    UnsupportedError
        If it speaks of partial sums.
    """
    if jax_compat.has_reductions(spec):
        raise UnsupportedError(f"the spec {spec}, which speaks of reductions")
    return tuple(
        "*" if jax_compat.is_unconstrained(entry)
        else axis_names(entry) if isinstance(entry, tuple)
        else None if entry is None
        else axis_names((entry,))[0]
        for entry in spec
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


def shardings(given: Any) -> tuple[Sharding | None, ...]:
    """Return what a nested jit says of its operands or results; None where the compiler chooses, nothing if always."""
    found = tuple([None if jax_compat.is_unspecified(each) else sharding(each) for each in given])
    return found if any(found) else ()

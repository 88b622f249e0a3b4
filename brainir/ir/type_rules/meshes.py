"""How shardings cut arrays, for the type rules."""

from __future__ import annotations

import math

from .. import ops
from .registry import Shape, TypeRuleError

__all__ = ["check_layout", "check_size", "count_pieces"]


def count_pieces(shape: Shape, spec: ops.Spec | ops.SpreadSpec, mesh: ops.MeshShape) -> Shape:
    """Return into how many pieces each axis is cut."""
    if isinstance(spec, ops.SpreadSpec):
        check_layout(shape, ops.Sharding(mesh=mesh, **dict(spec)))
        spec = spec.spec
    if not len(mesh.names) == len(mesh.sizes) == len(mesh.types):
        raise TypeRuleError(f"the mesh has {len(mesh.names)} axes, {len(mesh.sizes)} sizes and {len(mesh.types)} types")
    sizes = dict(zip(mesh.names, mesh.sizes, strict=True))
    if len(spec) > len(shape):
        raise TypeRuleError(f"the spec {spec} has more axes than {list(shape)}")
    counts = [1] * len(shape)
    for axis, entry in enumerate(spec):
        names = () if entry in (None, "*") else (entry,) if isinstance(entry, str) else entry or ()
        missing = [name for name in names if name not in sizes]
        if missing:
            raise TypeRuleError(f"{missing[0]!r} is no axis of the mesh {mesh.names}")
        counts[axis] = math.prod(sizes[name] for name in names)
        check_size(counts[axis])
    return tuple(counts)


def check_layout(shape: Shape, sharding: ops.Sharding) -> None:
    """Refuse what no array of this shape can lie like on explicit axes, which cut into equal parts."""
    spec, mesh = sharding.spec, sharding.mesh
    pieces = count_pieces(shape, spec, mesh)
    if any(size % count for size, count in zip(shape, pieces, strict=True)):
        raise TypeRuleError(f"{list(shape)} cannot be cut into {list(pieces)} equal parts")
    cut = [name for entry in spec if entry for name in ((entry,) if isinstance(entry, str) else entry)]
    if sharding.unreduced_kind != "sum" and not sharding.unreduced:
        raise TypeRuleError(f"parts of a {sharding.unreduced_kind} need axes along which they are `unreduced`")
    named = [*cut, *sharding.unreduced, *sharding.reduced]
    for name in named:
        if name not in mesh.names or named.count(name) > 1:
            raise TypeRuleError(f"{name!r} must be one of the axes {list(mesh.names)} of the mesh, and named once")


def check_size(size: int) -> None:
    """Refuse sizes of mesh axes that none has."""
    if size < 1:
        raise TypeRuleError(f"the size {size} of a mesh axis must be at least 1")

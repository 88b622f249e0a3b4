"""Records of device meshes and of how arrays lie on them, which several schemas hold."""

from __future__ import annotations

from typing import Literal

from ..model import Model
from ..node import Node
from .traits import Ints

Spec = tuple[str | tuple[str, ...] | None, ...]
"""A ``PartitionSpec``: for each axis the mesh axes over which it is cut; ``"*"`` leaves it to the compiler."""


class MeshShape(Model):
    """Names, sizes and kinds of the axes of a device mesh; which devices it has is found when a program is emitted."""

    names: tuple[str, ...]
    sizes: Ints
    types: tuple[Literal["auto", "explicit", "manual"], ...]


UnreducedKind = Literal["sum", "max", "min"]
"""What the parts that devices hold of an array are parts of (``jax.sharding.UnreducedKind``, since JAX 0.12)."""


class Sharding(Model):
    """How an array lies on a mesh (``jax.sharding.NamedSharding``).

    Along the axes `unreduced` each device holds a part of a sum that is still to be added up, or, as `unreduced_kind`
    says, of a maximum or minimum. Along the axes `reduced` all devices hold the same, and what is added up is the
    cotangent.

    The ``out_sharding`` of an operation says how its result lies on explicit axes; None leaves that to JAX.
    """

    mesh: MeshShape
    spec: Spec
    memory: str | None = None
    unreduced: tuple[str, ...] = ()
    reduced: tuple[str, ...] = ()
    unreduced_kind: UnreducedKind = "sum"


class SpreadSpec(Model):
    """A ``PartitionSpec`` of an array whose parts devices hold: see :class:`Sharding`."""

    spec: Spec
    unreduced: tuple[str, ...] = ()
    reduced: tuple[str, ...] = ()
    unreduced_kind: UnreducedKind = "sum"


def layout_of(node: Node) -> Sharding | None:
    """Return what a node says of how its last result lies on explicit axes; None if it leaves that to JAX."""
    return getattr(node, "out_sharding", None)

"""Schemas of operations on several devices: layouts, ``shard_map``, and what its functions exchange."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..model import FunctionRef
from ..node import Node, Traits
from .sharding import MeshShape, Sharding, Spec, SpreadSpec
from .traits import CONTROL, Ints


class ShardingConstraint(Node):
    """The operand, laid out as ``sharding`` says (``jax.lax.with_sharding_constraint``)."""

    op: Literal["sharding_constraint"] = "sharding_constraint"
    sharding: Sharding
    family_traits: ClassVar[Traits] = Traits(elementwise=True, linear=(0,))


class Reshard(Node):
    """The operand, laid out on explicit axes of a mesh as ``sharding`` says (``jax.sharding.reshard``).

    The devices are those of the mesh around it or of the operand, unless it is on ``devices`` of its own, as many as
    the mesh has places.
    """

    op: Literal["reshard"] = "reshard"
    sharding: Sharding
    devices: bool = False
    family_traits: ClassVar[Traits] = Traits(elementwise=True, linear=(0,))


class UseMesh(Node):
    """Run ``function`` where the mesh around it has axes of other kinds (``jax.sharding.auto_axes``)."""

    op: Literal["use_mesh"] = "use_mesh"
    function: FunctionRef
    mesh: MeshShape
    family_traits: ClassVar[Traits] = CONTROL


class ShardMap(Node):
    """Run ``function`` on each device of a mesh, with its part of each operand (``jax.shard_map``)."""

    op: Literal["shard_map"] = "shard_map"
    function: FunctionRef
    mesh: MeshShape
    in_specs: tuple[Spec | SpreadSpec, ...]
    out_specs: tuple[Spec | SpreadSpec, ...]
    manual_axes: tuple[str, ...]
    check_vma: bool = True
    family_traits: ClassVar[Traits] = CONTROL


class AllReduce(Node):
    """Combine the operands of all devices along mesh axes; each device gets the result.

    Numbers among the axes are axes of the operand, which disappear: what ``jax.vmap`` makes of its own axis names.
    The operand of an ``unreduced_`` operation is marked as the part of the result that a device holds.
    """

    op: Literal["psum", "pmax", "pmin", "unreduced_psum", "unreduced_pmax", "unreduced_pmin"]
    axes: tuple[str | int, ...]
    axis_index_groups: tuple[Ints, ...] | None = None
    op_traits: ClassVar[dict[str, Traits]] = dict.fromkeys(("psum", "unreduced_psum"), Traits(linear=(0,)))


class Vary(Node):
    """The operand, marked as another kind of value along mesh axes (``jax.lax.pcast``).

    What is the same on all devices becomes one that differs between them (``pvary``), or one whose cotangents differ
    and are added up (``preduced``), which becomes one that differs (``reduced_vary_cast``). What differs becomes a part
    of a sum that is still to be added up (``vary_unreduced_cast``).
    """

    op: Literal["pvary", "preduced", "reduced_vary_cast", "vary_unreduced_cast"]
    axes: tuple[str, ...]
    family_traits: ClassVar[Traits] = Traits(elementwise=True, linear=(0,))


class AllGather(Node):
    """The operands of all devices along mesh axes, joined.

    The result of ``all_gather_invariant`` (``to="invarying"``) counts as one that is the same on all devices, that of
    ``all_gather_reduced`` (``to="reduced"``) as one that is, too, and whose cotangents are added up.
    """

    op: Literal["all_gather", "all_gather_invariant", "all_gather_reduced"]
    axes: tuple[str, ...]
    axis_size: int
    all_gather_dimension: int
    tiled: bool = False
    axis_index_groups: tuple[Ints, ...] | None = None
    family_traits: ClassVar[Traits] = Traits(linear=(0,))


class ReduceScatter(Node):
    """The sum of the operands of all devices; each device gets its part (``jax.lax.psum_scatter``).

    The operand of ``unreduced_reduce_scatter``, as that of ``unreduced_psum``, is marked as a part of a sum.
    """

    op: Literal["reduce_scatter", "unreduced_reduce_scatter"]
    axes: tuple[str, ...]
    axis_size: int
    scatter_dimension: int
    tiled: bool = False
    axis_index_groups: tuple[Ints, ...] | None = None
    family_traits: ClassVar[Traits] = Traits(linear=(0,))


class AllToAll(Node):
    """Cut the operand along one axis, send a piece to each device, and join what comes along another.

    The axes stay (``tiled=True`` in ``jax.lax.all_to_all``; without, JAX adds and drops axes around this).
    """

    op: Literal["all_to_all"] = "all_to_all"
    axes: tuple[str, ...]
    split_axis: int
    concat_axis: int
    axis_index_groups: tuple[Ints, ...] | None = None
    family_traits: ClassVar[Traits] = Traits(linear=(0,))


class RaggedAllToAll(Node):
    """Send pieces of unequal size to other devices (``jax.lax.ragged_all_to_all``).

    The operands are an array, what the result holds where nothing arrives, then offsets and sizes: where a piece begins
    here, how much is sent, where it begins there, and how much is received, for each device.
    """

    op: Literal["ragged_all_to_all"] = "ragged_all_to_all"
    axes: tuple[str, ...]
    axis_index_groups: tuple[Ints, ...] | None = None
    family_traits: ClassVar[Traits] = Traits(linear=(0,))


class Broadcast(Node):
    """The operand of one device, given to all along a mesh axis (``jax.lax.pbroadcast``).

    Without ``source_index``, a second operand says which device it is (JAX 0.12).
    """

    op: Literal["pbroadcast"] = "pbroadcast"
    axes: tuple[str, ...]
    source_index: int | None = None
    family_traits: ClassVar[Traits] = Traits(linear=(0,))


class Permute(Node):
    """Send the operand from device to device: pairs of source and destination; the others get zeros."""

    op: Literal["ppermute"] = "ppermute"
    axes: tuple[str, ...]
    perm: tuple[tuple[int, int], ...]
    family_traits: ClassVar[Traits] = Traits(linear=(0,))


class AxisIndex(Node):
    """The place of the device along a mesh axis."""

    op: Literal["axis_index"] = "axis_index"
    axes: tuple[str, ...]

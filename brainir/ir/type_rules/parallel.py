"""Type rules of operations on several devices."""

from __future__ import annotations

from .. import ops
from ..types import TensorType
from .checks import check_axes, check_axis, check_count, check_kind, list_types, without
from .control import match_types
from .element_types import INTEGER
from .meshes import check_layout, check_size, count_pieces
from .registry import Callees, TypeRuleError, Types, rule


@rule(ops.ShardingConstraint)
def _sharding_constraint(node: ops.ShardingConstraint, operands: Types, callees: Callees) -> Types:
    check_count(operands, 1)
    count_pieces(operands[0].shape, node.sharding.spec, node.sharding.mesh)
    return operands


@rule(ops.Reshard)
def _reshard(node: ops.Reshard, operands: Types, callees: Callees) -> Types:
    check_count(operands, 1)
    check_layout(operands[0].shape, node.sharding)
    return operands


@rule(ops.Vary)
def _vary(node: ops.Vary, operands: Types, callees: Callees) -> Types:
    check_count(operands, 1)
    return operands


@rule(ops.AllReduce)
def _all_reduce(node: ops.AllReduce, operands: Types, callees: Callees) -> Types:
    places = tuple([axis for axis in node.axes if isinstance(axis, int)])
    return tuple([kind.with_shape(without(kind.shape, check_axes(places, kind.ndim, "axes"))) for kind in operands])


@rule(ops.Broadcast)
def _broadcast(node: ops.Broadcast, operands: Types, callees: Callees) -> Types:
    check_count(operands, 1 if node.source_index is not None else 2)
    for source in operands[1:]:
        check_kind(source.dtype, INTEGER, "the source")
        if source.shape:
            raise TypeRuleError(f"the source must be one number, not {source}")
    return operands[:1]


@rule(ops.RaggedAllToAll)
def _ragged_all_to_all(node: ops.RaggedAllToAll, operands: Types, callees: Callees) -> Types:
    check_count(operands, 6)
    operand, output, *places = operands
    if not operand.shape or operand.with_shape(output.shape) != output or operand.shape[1:] != output.shape[1:]:
        raise TypeRuleError(f"{operand} and {output} must have one element type, and one shape but for the first axis")
    for kind in places:
        check_kind(kind.dtype, INTEGER, "an offset or size")
        if kind.ndim != 1 or kind.shape != places[0].shape:
            raise TypeRuleError(f"offsets and sizes must be one for each device, not {list_types(places)}")
    return (output,)


@rule(ops.Permute)
def _permute(node: ops.Permute, operands: Types, callees: Callees) -> Types:
    check_count(operands, 1)
    return operands


@rule(ops.AxisIndex)
def _axis_index(node: ops.AxisIndex, operands: Types, callees: Callees) -> Types:
    check_count(operands, 0)
    return (TensorType("int32", ()),)


@rule(ops.AllGather)
def _all_gather(node: ops.AllGather, operands: Types, callees: Callees) -> Types:
    check_count(operands, 1)
    shape, axis = operands[0].shape, node.all_gather_dimension
    check_axis(axis, len(shape) + (not node.tiled), "all_gather_dimension")
    check_size(node.axis_size)
    if node.tiled:
        return (operands[0].with_shape((*shape[:axis], shape[axis] * node.axis_size, *shape[axis + 1 :])),)
    return (operands[0].with_shape((*shape[:axis], node.axis_size, *shape[axis:])),)


@rule(ops.ReduceScatter)
def _reduce_scatter(node: ops.ReduceScatter, operands: Types, callees: Callees) -> Types:
    check_count(operands, 1)
    shape, axis = operands[0].shape, node.scatter_dimension
    check_axis(axis, len(shape), "scatter_dimension")
    check_size(node.axis_size)
    if shape[axis] % node.axis_size or not (node.tiled or shape[axis] == node.axis_size):
        raise TypeRuleError(f"axis {axis} of {operands[0]} cannot be scattered over {node.axis_size} devices")
    left = (shape[axis] // node.axis_size,) if node.tiled else ()
    return (operands[0].with_shape((*shape[:axis], *left, *shape[axis + 1 :])),)


@rule(ops.AllToAll)
def _all_to_all(node: ops.AllToAll, operands: Types, callees: Callees) -> Types:
    check_count(operands, 1)
    shape = operands[0].shape
    check_axis(node.split_axis, len(shape), "split_axis")
    check_axis(node.concat_axis, len(shape), "concat_axis")
    # How many devices there are, only the node says: in what becomes of the axis that is split.
    declared = TensorType.parse(node.types[0]) if len(node.types) == 1 else operands[0]
    moved = dict(enumerate(shape))
    if declared.ndim == len(shape) and declared.size == operands[0].size:
        for axis in (node.split_axis, node.concat_axis):
            moved[axis] = declared.shape[axis]
    return (operands[0].with_shape(tuple(moved.values())),)


@rule(ops.ShardMap)
def _shard_map(node: ops.ShardMap, operands: Types, callees: Callees) -> Types:
    function = callees[node.function]
    inputs, outputs = function.signature
    if len(node.in_specs) != len(operands) or len(node.out_specs) != len(outputs):
        raise TypeRuleError(
            f"{len(node.in_specs)} and {len(node.out_specs)} specs do not fit {len(operands)} operands "
            f"and {len(outputs)} results"
        )
    unknown = {*node.manual_axes} - {*node.mesh.names}
    if unknown:
        raise TypeRuleError(f"manual_axes {sorted(unknown)} are no axes of the mesh {node.mesh.names}")
    parts = []
    for kind, spec in zip(operands, node.in_specs, strict=True):
        pieces = count_pieces(kind.shape, spec, node.mesh)
        if any(size % count for size, count in zip(kind.shape, pieces, strict=True)):
            raise TypeRuleError(f"{kind} cannot be cut into {pieces} pieces")
        parts.append(kind.with_shape(tuple([a // b for a, b in zip(kind.shape, pieces, strict=True)])))
    match_types(inputs, tuple(parts), f"the inputs of {function.name} (a device's part of each operand)")
    return tuple([_joined(kind, spec, node.mesh) for kind, spec in zip(outputs, node.out_specs, strict=True)])


def _joined(part: TensorType, spec: ops.Spec | ops.SpreadSpec, mesh: ops.MeshShape) -> TensorType:
    """Return what the parts of all devices make together."""
    cuts = spec.spec if isinstance(spec, ops.SpreadSpec) else spec
    sizes = zip(part.shape, count_pieces(part.shape, cuts, mesh), strict=True)
    whole = part.with_shape(tuple([size * count for size, count in sizes]))
    count_pieces(whole.shape, spec, mesh)  # refuses a layout that it cannot have
    return whole

"""Type rules of operations that put elements in order."""

from __future__ import annotations

from .. import ops
from ..types import TensorType
from .checks import check_axis, check_count, check_kind, list_types, without
from .element_types import FLOAT, ORDERED, PLAIN
from .registry import Callees, TypeRuleError, Types, rule


@rule(ops.Sort)
def _sort(node: ops.Sort, operands: Types, _: Callees) -> Types:
    if not 1 <= node.num_keys <= len(operands):
        raise TypeRuleError(f"num_keys {node.num_keys} must be from 1 up to the number of operands, {len(operands)}")
    if any(kind.shape != operands[0].shape for kind in operands):
        raise TypeRuleError(f"operands must have one shape, not {list_types(operands)}")
    for kind in operands:
        check_kind(kind.dtype, PLAIN)
    check_axis(node.dimension, operands[0].ndim, "dimension")
    return operands


@rule(ops.TopK)
def _top_k(node: ops.TopK, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    check_kind(kind.dtype, ORDERED)
    check_axis(node.axis, kind.ndim, "axis")
    if not 0 <= node.k <= kind.shape[node.axis]:
        raise TypeRuleError(f"k {node.k} must be from 0 up to the length {kind.shape[node.axis]} of axis {node.axis}")
    shape = (*kind.shape[: node.axis], node.k, *kind.shape[node.axis + 1 :])
    return (TensorType(kind.dtype, shape), TensorType("int32", shape))


@rule(ops.ApproxTopK)
def _approx_top_k(node: ops.ApproxTopK, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    check_kind(kind.dtype, FLOAT)
    axis = node.reduction_dimension + kind.ndim if node.reduction_dimension < 0 else node.reduction_dimension
    check_axis(axis, kind.ndim, "reduction_dimension")
    if not 1 <= node.k <= kind.shape[axis]:
        raise TypeRuleError(f"k {node.k} must be from 1 up to the length {kind.shape[axis]} of axis {axis}")
    if not 0 <= node.recall_target <= 1:
        raise TypeRuleError(f"recall_target {node.recall_target} must be from 0 up to 1")
    length = node.k
    if not node.aggregate_to_topk:
        length = _candidates(node, kind, axis)
    shape = (*kind.shape[:axis], length, *kind.shape[axis + 1 :])
    return (TensorType(kind.dtype, shape), TensorType("int32", shape))


def _candidates(node: ops.ApproxTopK, kind: TensorType, axis: int) -> int:
    """Return how many candidates are left, which the compiler decides: what the node declares, if it is possible."""
    shape = TensorType.parse(node.types[0]).shape if node.types else ()
    if len(shape) != kind.ndim or without(shape, frozenset({axis})) != without(kind.shape, frozenset({axis})):
        raise TypeRuleError(f"the result must have the shape of {kind} on all axes but {axis}")
    if not node.k <= shape[axis] <= kind.shape[axis]:
        raise TypeRuleError(f"there must be {node.k} up to {kind.shape[axis]} candidates, not {shape[axis]}")
    return shape[axis]

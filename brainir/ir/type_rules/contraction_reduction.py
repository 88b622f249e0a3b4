"""Type rules of contractions, reductions and cumulative operations."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import ml_dtypes

from .. import ops
from ..ops.contraction import DimensionNumbers
from ..types import DTYPES, TensorType
from .checks import check_axes, check_axis, check_count, check_kind, without
from .element_types import DISCRETE, INTEGER, NUMBER, PLAIN, REAL_OF, bits_of, kind_of
from .registry import Callees, Shape, TypeRuleError, Types, rule

__all__ = ["preferred_dtype", "product_dtype", "product_shape"]

_finfo: Callable[[object], Any] = ml_dtypes.finfo


@functools.cache
def _precedence(dtype: str) -> tuple[bool, int, int, int, bool]:
    """Order of element types by which lax picks the result of a product of two different ones."""
    real = REAL_OF.get(dtype, dtype)
    if kind_of(real) == "float":
        info = _finfo(DTYPES[real])
        return dtype != real, int(info.maxexp), int(info.nmant), int(info.bits), True
    return False, -1, -1, _dot_width(real), kind_of(real) != "uint"


def _dot_width(dtype: str) -> int:
    return bits_of(REAL_OF.get(dtype, dtype))


@rule(ops.DotGeneral)
def _dot_general(node: ops.DotGeneral, operands: Types, _: Callees) -> Types:
    check_count(operands, 2)
    left, right = operands
    shape = product_shape(left, right, node.dimension_numbers)
    return (TensorType(product_dtype(left.dtype, right.dtype, node.preferred_element_type), shape),)


def product_shape(left: TensorType, right: TensorType, numbers: DimensionNumbers, groups: Shape = ()) -> Shape:
    """Return the shape of a sum of products; the axes `groups` of the second operand disappear."""
    (left_sum, right_sum), (left_batch, right_batch) = numbers
    left_used = check_axes((*left_sum, *left_batch), left.ndim, "contracting and batch axes of the first operand")
    right_used = check_axes(
        (*right_sum, *right_batch, *groups), right.ndim, "contracting and batch axes of the second operand"
    )
    for name, first, second in (("contracting", left_sum, right_sum), ("batch", left_batch, right_batch)):
        if [left.shape[axis] for axis in first] != [right.shape[axis] for axis in second]:
            raise TypeRuleError(f"the {name} axes {first} of {left} and {second} of {right} must have equal lengths")
    return (
        *[left.shape[axis] for axis in left_batch],
        *without(left.shape, left_used),
        *without(right.shape, right_used),
    )


def product_dtype(left: str, right: str, preferred: str | None) -> str:
    """Return the element type of a sum of products."""
    dtype = left
    check_kind(left, PLAIN, "the first operand")
    if right != left:
        check_kind(right, PLAIN, "the second operand")
        order, other = _precedence(left), _precedence(right)
        if order == other:
            raise TypeRuleError(f"{left} and {right} have no common product type")
        dtype = left if order > other else right
    return preferred_dtype(dtype, preferred)


def preferred_dtype(dtype: str, preferred: str | None) -> str:
    """Return the element type of a product whose operands alone give `dtype`."""
    if preferred is None or preferred == dtype:
        return dtype
    check_kind(preferred, PLAIN, "preferred_element_type")
    if kind_of(dtype) != "float" and _dot_width(preferred) < _dot_width(dtype):
        raise TypeRuleError(f"preferred_element_type {preferred} is narrower than {dtype}")
    return preferred


@rule(ops.Reduce)
def _reduce(node: ops.Reduce, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    if node.op in ("reduce_sum", "reduce_prod"):
        check_kind(kind.dtype, NUMBER)
    else:
        check_kind(kind.dtype, PLAIN if node.op in ("reduce_max", "reduce_min") else DISCRETE)
    return (TensorType(kind.dtype, without(kind.shape, check_axes(node.axes, kind.ndim, "axes"))),)


@rule(ops.ArgReduce)
def _arg_reduce(node: ops.ArgReduce, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    check_kind(kind.dtype, PLAIN)
    check_kind(node.index_dtype, INTEGER, "the result")
    axes = check_axes(node.axes, kind.ndim, "axes")
    if len(axes) != 1 or kind.shape[node.axes[0]] < 1:
        raise TypeRuleError(f"axes {node.axes} must be one axis of {kind} that is not empty")
    return (TensorType(node.index_dtype, without(kind.shape, axes)),)


@rule(ops.Cumulative)
def _cumulative(node: ops.Cumulative, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    check_kind(operands[0].dtype, NUMBER)
    check_axis(node.axis, operands[0].ndim, "axis")
    return operands

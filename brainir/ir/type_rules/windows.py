"""Type rules of operations that combine elements in windows, or with a function of the program."""

from __future__ import annotations

from .. import ops
from ..types import TensorType
from .checks import check_axes, check_count, check_kind, check_sizes, list_types, same_dtype, without
from .element_types import NUMBER, PLAIN
from .registry import Callees, Shape, TypeRuleError, Types, rule

__all__ = ["dilated", "window_count"]


def dilated(size: int, dilation: int) -> int:
    """Return the length of an axis with ``dilation - 1`` holes between its elements."""
    if dilation < 1:
        raise TypeRuleError(f"a dilation must be at least 1, not {dilation}")
    return (size - 1) * dilation + 1 if size else 0


def window_count(size: int, window: int, stride: int) -> int:
    """Return how many windows fit into an axis."""
    if stride < 1:
        raise TypeRuleError(f"window_strides must be at least 1, not {stride}")
    return (size - window) // stride + 1 if size >= max(window, 1) else 0


def _windowed(
    shape: Shape, dimensions: Shape, strides: Shape, padding: tuple[Shape, ...], base: Shape, window: Shape
) -> Shape:
    """Return how many windows fit on each axis."""
    if any(len(each) != len(shape) for each in (dimensions, strides, padding, base, window)):
        raise TypeRuleError(f"windows, strides, padding and dilations must have an entry for each axis of {shape}")
    if any(size < 1 for size in dimensions):
        raise TypeRuleError(f"window_dimensions {dimensions} must be at least 1")
    padded = [dilated(size, by) + sum(pads) for size, by, pads in zip(shape, base, padding, strict=True)]
    windows = [dilated(size, by) for size, by in zip(dimensions, window, strict=True)]
    counts = tuple([window_count(*each) for each in zip(padded, windows, strides, strict=True)])
    return check_sizes(counts, "the result")


def _window_shape(node: ops.ReduceWindowMonoid | ops.ReduceWindow | ops.SelectAndGatherAdd, shape: Shape) -> Shape:
    return _windowed(
        shape,
        node.window_dimensions,
        node.window_strides,
        node.padding,
        node.base_dilation,
        node.window_dilation,
    )


@rule(ops.ReduceWindowMonoid)
def _reduce_window_monoid(node: ops.ReduceWindowMonoid, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    check_kind(kind.dtype, NUMBER if node.op == "reduce_window_sum" else PLAIN)
    return (TensorType(kind.dtype, _window_shape(node, kind.shape)),)


@rule(ops.SelectAndGatherAdd)
def _select_and_gather_add(node: ops.SelectAndGatherAdd, operands: Types, _: Callees) -> Types:
    check_count(operands, 2)
    dtype, (tangents, kind) = same_dtype(operands), operands
    check_kind(dtype, PLAIN)
    if tangents.shape != kind.shape:
        raise TypeRuleError(f"operands must have one shape, not {list_types(operands)}")
    return (TensorType(dtype, _window_shape(node, kind.shape)),)


@rule(ops.SelectAndScatterAdd)
def _select_and_scatter_add(node: ops.SelectAndScatterAdd, operands: Types, _: Callees) -> Types:
    check_count(operands, 2)
    check_kind(same_dtype(operands), PLAIN)
    source, kind = operands
    plain = (1,) * kind.ndim
    shape = _windowed(kind.shape, node.window_dimensions, node.window_strides, node.padding, plain, plain)
    if source.shape != shape:
        raise TypeRuleError(f"the source {source} must have an element for each window: {shape}")
    return (kind,)


def _combination(name: str, operands: Types, callees: Callees) -> tuple[Types, Types]:
    """Return operands and initial values, checked against the function that combines them."""
    half = len(operands) // 2
    if not half or len(operands) % 2:
        raise TypeRuleError(f"it takes arrays and an initial value for each, not {len(operands)} operands")
    arrays, starts = operands[:half], operands[half:]
    function = callees[name]
    if any(start.shape for start in starts) or any(array.shape != arrays[0].shape for array in arrays):
        raise TypeRuleError(f"it takes arrays of one shape, then scalars, not {list_types(operands)}")
    if [array.dtype for array in arrays] != [start.dtype for start in starts]:
        raise TypeRuleError(f"initial values must have the element types of the arrays, not {list_types(operands)}")
    inputs, outputs = function.signature
    _check_scalar_function(name, inputs, (*starts, *starts))
    _check_scalar_function(name, outputs, starts)
    return arrays, starts


def _check_scalar_function(name: str, found: Types, wanted: Types) -> None:
    if [(kind.dtype, kind.shape) for kind in found] != [(kind.dtype, ()) for kind in wanted]:
        raise TypeRuleError(f"{name} takes or returns {list_types(found)} where {list_types(wanted)} are needed")


@rule(ops.ReduceWindow)
def _reduce_window(node: ops.ReduceWindow, operands: Types, callees: Callees) -> Types:
    arrays, _ = _combination(node.computation, operands, callees)
    shape = _window_shape(node, arrays[0].shape)
    return tuple([TensorType(array.dtype, shape) for array in arrays])


@rule(ops.ReduceWith)
def _reduce_with(node: ops.ReduceWith, operands: Types, callees: Callees) -> Types:
    arrays, _ = _combination(node.computation, operands, callees)
    shape = without(arrays[0].shape, check_axes(node.dimensions, arrays[0].ndim, "dimensions"))
    return tuple([TensorType(array.dtype, shape) for array in arrays])

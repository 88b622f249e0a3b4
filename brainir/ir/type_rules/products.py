"""Type rules of ragged products, convolutions and Fourier transforms."""

from __future__ import annotations

from .. import ops
from ..types import TensorType
from .checks import check_axes, check_count, check_kind, check_sizes, same_dtype
from .contraction_reduction import preferred_dtype, product_dtype, product_shape
from .element_types import COMPLEX_OF, INTEGER, PLAIN, REAL_OF
from .registry import Callees, Shape, TypeRuleError, Types, rule
from .windows import dilated, window_count


@rule(ops.RaggedDotGeneral)
def _ragged_dot_general(node: ops.RaggedDotGeneral, operands: Types, _: Callees) -> Types:
    check_count(operands, 3)
    left, right, sizes = operands
    numbers = node.ragged_dot_dimension_numbers
    (left_sum, _right_sum), (left_batch, _right_batch) = numbers.dot_dimension_numbers
    groups = numbers.rhs_group_dimensions
    check_kind(sizes.dtype, INTEGER, "the group sizes")
    check_axes(numbers.lhs_ragged_dimensions, left.ndim, "lhs_ragged_dimensions")
    if len(numbers.lhs_ragged_dimensions) != 1 or not sizes.shape:
        raise TypeRuleError("it takes one ragged axis, and group sizes with an axis for the groups")
    shape = product_shape(left, right, numbers.dot_dimension_numbers, groups)
    (ragged,) = numbers.lhs_ragged_dimensions
    inner = ragged in left_sum or ragged in left_batch
    if len(groups) != (0 if inner else 1) or (groups and right.shape[groups[0]] != sizes.shape[-1]):
        raise TypeRuleError(f"rhs_group_dimensions {groups} do not fit the ragged axis {ragged} and the sizes {sizes}")
    if ragged in left_sum:
        shape = (sizes.shape[-1], *shape)
    return (TensorType(product_dtype(left.dtype, right.dtype, node.preferred_element_type), shape),)


@rule(ops.ScaledDot)
def _scaled_dot(node: ops.ScaledDot, operands: Types, _: Callees) -> Types:
    check_count(operands, 4)
    left, right, *scales = operands
    shape = product_shape(left, right, node.dimension_numbers)
    for kind, scale, summed in zip((left, right), scales, node.dimension_numbers[0], strict=True):
        fits = scale.ndim == kind.ndim and all(
            many and size % many == 0 and size > many if axis in summed else size == many
            for axis, (size, many) in enumerate(zip(kind.shape, scale.shape, strict=True))
        )
        if not fits:
            raise TypeRuleError(f"{scale} must scale blocks of two or more elements along the summed axes of {kind}")
    return (TensorType(node.preferred_element_type, shape),)


@rule(ops.ConvGeneralDilated)
def _conv_general_dilated(node: ops.ConvGeneralDilated, operands: Types, _: Callees) -> Types:
    check_count(operands, 2)
    dtype = same_dtype(operands)
    check_kind(dtype, PLAIN)
    left, right = operands
    numbers, space = node.dimension_numbers, left.ndim - 2
    if right.ndim != left.ndim or space < 0:
        raise TypeRuleError(f"input {left} and kernel {right} must have one rank, at least 2")
    for name, spec in (("lhs", numbers.lhs_spec), ("rhs", numbers.rhs_spec), ("out", numbers.out_spec)):
        if len(check_axes(spec, left.ndim, f"{name}_spec")) != left.ndim:
            raise TypeRuleError(f"{name}_spec {spec} must name every axis")
    for name in ("window_strides", "padding", "lhs_dilation", "rhs_dilation"):
        if len(getattr(node, name)) != space:
            raise TypeRuleError(f"{name} must have an entry for each of the {space} axes of space")
    batch, features, *sizes = [left.shape[axis] for axis in numbers.lhs_spec]
    out_features, in_features, *kernel = [right.shape[axis] for axis in numbers.rhs_spec]
    groups, batches = node.feature_group_count, node.batch_group_count
    if min(groups, batches) < 1 or (groups > 1 and batches > 1):
        raise TypeRuleError("feature_group_count and batch_group_count are at least 1, and not both more")
    if features != in_features * groups or out_features % groups or batch % batches or out_features % batches:
        raise TypeRuleError(f"the features and batches of {left} and {right} do not fit the groups")
    padded = [
        dilated(size, dilation) + low + high
        for size, dilation, (low, high) in zip(sizes, node.lhs_dilation, node.padding, strict=True)
    ]
    windows = [dilated(size, dilation) for size, dilation in zip(kernel, node.rhs_dilation, strict=True)]
    if any(size < 0 for size in padded):
        raise TypeRuleError(f"the padding {node.padding} takes more from {left} than there is")
    counts = (window_count(*each) for each in zip(padded, windows, node.window_strides, strict=True))
    result = dict(zip(numbers.out_spec, (batch // batches, out_features, *counts), strict=True))
    shape: Shape = tuple([result[axis] for axis in range(left.ndim)])
    return (TensorType(preferred_dtype(dtype, node.preferred_element_type), check_sizes(shape, "the result")),)


@rule(ops.Fft)
def _fft(node: ops.Fft, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    lengths, real = check_sizes(node.fft_lengths, "fft_lengths"), node.fft_type == "RFFT"
    if kind.dtype not in (COMPLEX_OF if real else REAL_OF):
        raise TypeRuleError(f"{node.fft_type} takes {'float32 or float64' if real else 'complex numbers'}, not {kind}")
    if not 1 <= len(lengths) <= kind.ndim:
        raise TypeRuleError(f"fft_lengths {lengths} must have an entry for 1 up to {kind.ndim} axes")
    before, last = kind.shape[: -len(lengths)], kind.shape[-len(lengths) :]
    if node.fft_type == "IRFFT":
        if last[:-1] != lengths[:-1]:
            raise TypeRuleError(f"fft_lengths {lengths} must be the lengths of the axes of {kind}, but for the last")
        return (TensorType(REAL_OF[kind.dtype], (*before, *lengths)),)
    if last != lengths:
        raise TypeRuleError(f"fft_lengths {lengths} must be the lengths of the last axes of {kind}")
    if real:
        return (TensorType(COMPLEX_OF[kind.dtype], (*before, *lengths[:-1], lengths[-1] // 2 + 1)),)
    return (kind,)

"""Type rules of operations that move, select or place elements."""

from __future__ import annotations

import itertools
import math

from .. import ops
from ..types import TensorType
from ..wording import counted
from .checks import (
    check_axes,
    check_axis,
    check_count,
    check_kind,
    check_platforms,
    check_sizes,
    list_types,
    same_dtype,
    without,
)
from .element_types import ANY, INTEGER, NUMBER, kind_of
from .registry import Callees, Shape, TypeRuleError, Types, rule


@rule(ops.BroadcastInDim)
def _broadcast_in_dim(node: ops.BroadcastInDim, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    shape, target = check_sizes(node.shape, "shape"), node.broadcast_dimensions
    if len(target) != kind.ndim:
        raise TypeRuleError(f"broadcast_dimensions must name a result axis for each axis of {kind}, not {target}")
    if any(not 0 <= axis < len(shape) for axis in target) or len(set(target)) != len(target):
        raise TypeRuleError(f"broadcast_dimensions {target} must be different axes of a result of rank {len(shape)}")
    if any(size not in (1, shape[axis]) for size, axis in zip(kind.shape, target, strict=True)):
        raise TypeRuleError(f"axes of {kind} must have length 1 or the length of their result axis in {shape}")
    return (TensorType(kind.dtype, shape),)


@rule(ops.Reshape)
def _reshape(node: ops.Reshape, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    if math.prod(check_sizes(node.new_sizes, "new_sizes")) != operands[0].size:
        raise TypeRuleError(f"{operands[0]} and new_sizes {node.new_sizes} have different numbers of elements")
    return (TensorType(operands[0].dtype, node.new_sizes),)


@rule(ops.ReshapeDimensions)
def _reshape_dimensions(node: ops.ReshapeDimensions, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    if len(check_axes(node.dimensions, operands[0].ndim, "dimensions")) != operands[0].ndim:
        raise TypeRuleError(f"dimensions {node.dimensions} must name every axis of {operands[0]}")
    if math.prod(check_sizes(node.new_sizes, "new_sizes")) != operands[0].size:
        raise TypeRuleError(f"{operands[0]} and new_sizes {node.new_sizes} have different numbers of elements")
    return (TensorType(operands[0].dtype, node.new_sizes),)


@rule(ops.Squeeze)
def _squeeze(node: ops.Squeeze, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    axes = check_axes(node.dimensions, kind.ndim, "dimensions")
    if any(kind.shape[axis] != 1 for axis in axes):
        raise TypeRuleError(f"the axes {node.dimensions} of {kind} must have length 1")
    return (TensorType(kind.dtype, without(kind.shape, axes)),)


@rule(ops.Transpose)
def _transpose(node: ops.Transpose, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    if len(check_axes(node.permutation, kind.ndim, "permutation")) != kind.ndim:
        raise TypeRuleError(f"permutation {node.permutation} must name every axis of {kind}")
    return (TensorType(kind.dtype, tuple([kind.shape[axis] for axis in node.permutation])),)


@rule(ops.Rev)
def _rev(node: ops.Rev, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    check_axes(node.dimensions, operands[0].ndim, "dimensions")
    return operands


@rule(ops.Slice)
def _slice(node: ops.Slice, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    strides = (1,) * kind.ndim if node.strides is None else node.strides
    if not len(node.start_indices) == len(node.limit_indices) == len(strides) == kind.ndim:
        raise TypeRuleError(f"start_indices, limit_indices and strides must have one number for each axis of {kind}")
    shape = []
    for start, limit, stride, size in zip(node.start_indices, node.limit_indices, strides, kind.shape, strict=True):
        if not 0 <= start <= limit <= size:
            raise TypeRuleError(f"a slice from {start} to {limit} does not lie in an axis of length {size}")
        if stride < 1:
            raise TypeRuleError(f"strides must be at least 1, not {stride}")
        shape.append(-(-(limit - start) // stride))
    return (TensorType(kind.dtype, tuple(shape)),)


@rule(ops.Split)
def _split(node: ops.Split, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    check_axis(node.axis, kind.ndim, "axis")
    if sum(check_sizes(node.sizes, "sizes")) != kind.shape[node.axis]:
        raise TypeRuleError(f"sizes {node.sizes} must add up to the length {kind.shape[node.axis]} of axis {node.axis}")
    before, after = kind.shape[: node.axis], kind.shape[node.axis + 1 :]
    return tuple([TensorType(kind.dtype, (*before, size, *after)) for size in node.sizes])


@rule(ops.Concatenate)
def _concatenate(node: ops.Concatenate, operands: Types, _: Callees) -> Types:
    if not operands:
        raise TypeRuleError("it takes at least one operand")
    dtype, axis, first = same_dtype(operands), node.dimension, operands[0].shape
    check_axis(axis, len(first), "dimension")
    before, after = first[:axis], first[axis + 1 :]
    for kind in operands:
        if len(kind.shape) != len(first) or kind.shape[:axis] != before or kind.shape[axis + 1 :] != after:
            raise TypeRuleError(f"operands must have equal lengths on all axes but {axis}; got {list_types(operands)}")
    return (TensorType(dtype, (*before, sum(kind.shape[axis] for kind in operands), *after)),)


@rule(ops.Stack)
def _stack(node: ops.Stack, operands: Types, _: Callees) -> Types:
    if not operands:
        raise TypeRuleError("it takes at least one operand")
    dtype, shape = same_dtype(operands), operands[0].shape
    if any(kind.shape != shape for kind in operands):
        raise TypeRuleError(f"operands must have one shape, not {list_types(operands)}")
    check_axis(node.axis, len(shape) + 1, "axis")
    return (TensorType(dtype, (*shape[: node.axis], len(operands), *shape[node.axis :])),)


@rule(ops.Unstack)
def _unstack(node: ops.Unstack, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    check_axis(node.axis, kind.ndim, "axis")
    if len(node.outputs) != kind.shape[node.axis]:
        found = counted(len(node.outputs), "result")
        raise TypeRuleError(f"it has {found} for an axis of length {kind.shape[node.axis]}")
    return (TensorType(kind.dtype, without(kind.shape, frozenset({node.axis}))),) * len(node.outputs)


@rule(ops.Tile)
def _tile(node: ops.Tile, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    if len(check_sizes(node.reps, "reps")) != kind.ndim:
        raise TypeRuleError(f"reps {node.reps} must have one number for each axis of {kind}")
    return (kind.with_shape(tuple([size * rep for size, rep in zip(kind.shape, node.reps, strict=True)])),)


def _index_batch(kind: TensorType, indices: TensorType, mapped: Shape, batching: Shape, index_batching: Shape) -> Shape:
    """Return the axes of an index array but the last, which holds one number for each entry of `mapped`."""
    if kind_of(indices.dtype) not in INTEGER or not indices.shape:
        raise TypeRuleError(f"the indices {indices} must be integers with an axis for their components")
    if indices.shape[-1] != len(mapped):
        raise TypeRuleError(f"the last axis of {indices} must hold an index for each of the axes {mapped}")
    check_axes((*mapped, *batching), kind.ndim, "indexed and batching axes of the operand")
    check_axes(index_batching, indices.ndim - 1, "batching axes of the indices")
    if [kind.shape[axis] for axis in batching] != [indices.shape[axis] for axis in index_batching]:
        raise TypeRuleError(f"the batching axes {batching} of {kind} and {index_batching} of {indices} must fit")
    return indices.shape[:-1]


def _ascending(**names: Shape) -> None:
    for name, axes in names.items():
        if any(first > second for first, second in itertools.pairwise(axes)):
            raise TypeRuleError(f"{name} {axes} must be in ascending order")


@rule(ops.Gather)
def _gather(node: ops.Gather, operands: Types, _: Callees) -> Types:
    check_count(operands, 2)
    kind, indices = operands
    numbers = node.dimension_numbers
    batching = numbers.operand_batching_dims
    batch = _index_batch(kind, indices, numbers.start_index_map, batching, numbers.start_indices_batching_dims)
    _ascending(
        offset_dims=numbers.offset_dims,
        collapsed_slice_dims=numbers.collapsed_slice_dims,
        operand_batching_dims=batching,
    )
    dropped = check_axes(
        (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims), kind.ndim, "collapsed_slice_dims"
    )
    if len(check_sizes(node.slice_sizes, "slice_sizes")) != kind.ndim or any(
        size > length for size, length in zip(node.slice_sizes, kind.shape, strict=True)
    ):
        raise TypeRuleError(f"slice_sizes {node.slice_sizes} do not fit the operand {kind}")
    if any(node.slice_sizes[axis] != 1 for axis in numbers.collapsed_slice_dims):
        raise TypeRuleError(f"slice_sizes {node.slice_sizes} must be 1 on the axes that disappear")
    if any(node.slice_sizes[axis] > 1 for axis in batching):
        raise TypeRuleError(f"slice_sizes {node.slice_sizes} must be at most 1 on the batching axes")
    window = iter(without(node.slice_sizes, dropped))
    rank = len(batch) + kind.ndim - len(dropped)
    offsets = check_axes(numbers.offset_dims, rank, "offset_dims")
    if len(offsets) != kind.ndim - len(dropped):
        raise TypeRuleError(f"offset_dims {numbers.offset_dims} must name an axis for each one that is kept")
    rest = iter(batch)
    return (kind.with_shape(tuple([next(window if axis in offsets else rest) for axis in range(rank)])),)


@rule(ops.Scatter)
def _scatter(node: ops.Scatter, operands: Types, _: Callees) -> Types:
    return _scattered(node.dimension_numbers, operands)


def _scattered(numbers: ops.ScatterNumbers, operands: Types) -> Types:
    check_count(operands, 3)
    kind, indices, updates = operands
    same_dtype((kind, updates))
    mapped, batching = numbers.scatter_dims_to_operand_dims, numbers.operand_batching_dims
    batch = _index_batch(kind, indices, mapped, batching, numbers.scatter_indices_batching_dims)
    _ascending(
        update_window_dims=numbers.update_window_dims,
        inserted_window_dims=numbers.inserted_window_dims,
        operand_batching_dims=batching,
    )
    inserted = check_axes(
        (*numbers.inserted_window_dims, *numbers.operand_batching_dims), kind.ndim, "inserted_window_dims"
    )
    windows = check_axes(numbers.update_window_dims, updates.ndim, "update_window_dims")
    if len(windows) != kind.ndim - len(inserted) or without(updates.shape, windows) != batch:
        raise TypeRuleError(f"the updates {updates} do not fit the indices {indices} and the operand {kind}")
    lengths = without(kind.shape, inserted)
    if any(updates.shape[axis] > length for axis, length in zip(sorted(windows), lengths, strict=True)):
        raise TypeRuleError(f"the updates {updates} have windows larger than the operand {kind}")
    return (kind,)


@rule(ops.Pad)
def _pad(node: ops.Pad, operands: Types, _: Callees) -> Types:
    check_count(operands, 2)
    dtype = same_dtype(operands)
    kind, value = operands
    if value.shape:
        raise TypeRuleError(f"the padding value must be a scalar, not {value}")
    if len(node.padding_config) != kind.ndim:
        raise TypeRuleError(f"padding_config must have one (low, high, interior) for each axis of {kind}")
    shape = []
    for (low, high, interior), size in zip(node.padding_config, kind.shape, strict=True):
        padded = low + high + (size + interior * (size - 1) if size else 0)
        if interior < 0 or padded < 0:
            raise TypeRuleError(f"padding ({low}, {high}, {interior}) does not fit an axis of length {size}")
        shape.append(padded)
    return (TensorType(dtype, tuple(shape)),)


@rule(ops.Iota)
def _iota(node: ops.Iota, operands: Types, _: Callees) -> Types:
    check_count(operands, 0)
    check_kind(node.dtype, NUMBER, "the result")
    check_axis(node.dimension, len(check_sizes(node.shape, "shape")), "dimension")
    return (TensorType(node.dtype, node.shape),)


@rule(ops.PlatformIndex)
def _platform_index(node: ops.PlatformIndex, operands: Types, _: Callees) -> Types:
    check_count(operands, 0)
    check_platforms(node.platforms)
    return (TensorType("int32", ()),)


@rule(ops.Iota2x32Shape)
def _iota_2x32_shape(node: ops.Iota2x32Shape, operands: Types, _: Callees) -> Types:
    check_count(operands, 0)
    return (TensorType("uint32", check_sizes(node.shape, "shape")),) * 2


def _indices(operands: Types, ndim: int) -> None:
    if len(operands) != ndim:
        raise TypeRuleError(f"it takes one index operand for each axis: {ndim}, not {len(operands)}")
    for kind in operands:
        if kind.shape or kind_of(kind.dtype) not in INTEGER or kind.dtype != operands[0].dtype:
            raise TypeRuleError(f"index operands must be scalars of one integer type, not {list_types(operands)}")


@rule(ops.DynamicSlice)
def _dynamic_slice(node: ops.DynamicSlice, operands: Types, _: Callees) -> Types:
    if not operands:
        raise TypeRuleError("it takes an operand, then an index for each of its axes")
    kind = operands[0]
    _indices(operands[1:], kind.ndim)
    sizes = check_sizes(node.slice_sizes, "slice_sizes")
    if len(sizes) != kind.ndim or any(size > full for size, full in zip(sizes, kind.shape, strict=True)):
        raise TypeRuleError(f"slice_sizes {sizes} must fit in {kind}")
    return (TensorType(kind.dtype, sizes),)


@rule(ops.DynamicUpdateSlice)
def _dynamic_update_slice(_node: ops.DynamicUpdateSlice, operands: Types, _: Callees) -> Types:
    if len(operands) < 2:
        raise TypeRuleError("it takes an operand, an update, then an index for each axis")
    kind, update = operands[:2]
    same_dtype(operands[:2])
    _indices(operands[2:], kind.ndim)
    if update.ndim != kind.ndim or any(part > full for part, full in zip(update.shape, kind.shape, strict=True)):
        raise TypeRuleError(f"the update {update} must fit in {kind}")
    return (kind,)


@rule(ops.Empty)
def _empty(node: ops.Empty, operands: Types, _: Callees) -> Types:
    check_count(operands, 0)
    check_kind(node.dtype, ANY, "the result")
    return (TensorType(node.dtype, check_sizes(node.shape, "shape")),)


@rule(ops.DevicePut)
def _device_put(node: ops.DevicePut, operands: Types, _: Callees) -> Types:
    check_count(operands, len(node.copy_semantics))
    for places in (node.targets, node.sources):
        if places and len(places) != len(operands):
            raise TypeRuleError(f"there must be a place for each operand, not {len(places)} for {len(operands)}")
        for place in places:
            if isinstance(place, ops.Device) and place.id < 0:
                raise TypeRuleError(f"devices are counted from 0, not {place.id}")
    return operands


@rule(ops.DceSink)
def _dce_sink(_node: ops.DceSink, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    return ()


@rule(ops.ScatterApply)
def _scatter_apply(node: ops.ScatterApply, operands: Types, callees: Callees) -> Types:
    (kind,) = _scattered(node.dimension_numbers, operands)
    inputs, outputs = callees[node.update].signature
    scalar = TensorType(kind.dtype, ())
    if (inputs, outputs) != ((scalar, scalar), (scalar,)):
        given = f"{list_types(inputs)} and {list_types(outputs)}"
        raise TypeRuleError(f"{node.update} must take two scalars of {kind.dtype} and return one, not {given}")
    return (kind,)

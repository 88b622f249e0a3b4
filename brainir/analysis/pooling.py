"""Which entries elements share that an operation combines: along axes, in windows, cumulatively, and in products."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from ..ir.ops import Cumulative, DotGeneral, Reduce, ReduceWindowMonoid
from .rearrange import Array, padded

__all__ = ["Common", "Pooling", "common", "pooled", "product_layouts", "unpooled"]

Pooling: TypeAlias = Reduce | Cumulative | ReduceWindowMonoid
Common: TypeAlias = Callable[[Array, Sequence[int]], Array | None]
"""See :func:`common`."""


def common(array: Array, axes: Sequence[int]) -> Array | None:
    """Return the entry that all entries along some axes share, in axes of length one; None if they differ.

    Entries that come from nowhere (-1) fit to any.
    """
    if not axes:
        return array
    if not array.size:
        return None
    if not any(array.strides):
        return array[tuple(slice(1) if axis in axes else slice(None) for axis in range(array.ndim))]
    highest = array.max(axis=tuple(axes), keepdims=True)
    return None if bool(((array >= 0) & (array != highest)).any()) else highest


def pooled(node: Pooling, array: Array, join: Common = common) -> Array | None:
    """Return where the elements come from that are combined into each result; None if from several places.

    Parameters
    ----------
    node : Node
    array : ndarray
        Where the elements of the operand come from.
    join : callable
        Says what elements that are combined have in common.
    """
    if isinstance(node, Cumulative):
        shared = join(array, (node.axis,))
        return None if shared is None else np.broadcast_to(shared, array.shape)
    axes: Sequence[int]
    if isinstance(node, Reduce):
        axes = node.axes
    else:
        array, axes = _windows(node, array), range(array.ndim, 2 * array.ndim)
    shared = join(array, axes)
    return None if shared is None else np.squeeze(shared, axis=tuple(axes))


def _windows(node: ReduceWindowMonoid, array: Array) -> Array:
    """Return the entries of each window, in further axes behind."""
    gaps = (step - 1 for step in node.base_dilation)
    ends = [(low, high, gap) for (low, high), gap in zip(node.padding, gaps, strict=True)]
    spans = zip(node.window_dimensions, node.window_dilation, strict=True)
    wider, spanned = padded(array, -1, ends), [(size - 1) * step + 1 for size, step in spans]
    if any(size < span for size, span in zip(wider.shape, spanned, strict=True)):
        return np.empty((0,) * 2 * array.ndim, array.dtype)  # there is no window
    views = np.lib.stride_tricks.sliding_window_view(wider, spanned)
    return views[tuple([slice(None, None, step) for step in (*node.window_strides, *node.window_dilation)])]


def unpooled(
    node: Reduce | Cumulative | DotGeneral, result: Array, shapes: Sequence[tuple[int, ...]]
) -> list[Array | None]:
    """Return, for each operand, the entry of the results that each element goes into; None if those differ.

    Parameters
    ----------
    node : Node
    result : ndarray
        In the shape of the result.
    shapes : sequence of tuple of int
        Those of the operands.
    """
    if isinstance(node, Reduce):
        return [np.broadcast_to(np.expand_dims(result, node.axes), shapes[0])]
    if isinstance(node, Cumulative):
        shared = common(result, (node.axis,))
        return [None if shared is None else np.broadcast_to(shared, shapes[0])]
    found: list[Array | None] = []
    batch = len(node.dimension_numbers[1][0])
    first = batch
    for shape, gone, shared_axes in zip(shapes, *node.dimension_numbers, strict=True):
        free = [axis for axis in range(len(shape)) if axis not in (*gone, *shared_axes)]
        mine = [*range(batch), *range(first, first + len(free))]
        first += len(free)
        shared = common(result, [axis for axis in range(result.ndim) if axis not in mine])
        if shared is None:
            found.append(None)
            continue
        order = [*shared_axes, *free, *gone]
        laid = shared.reshape([result.shape[axis] for axis in mine] + [1] * len(gone))
        found.append(np.broadcast_to(laid.transpose(np.argsort(order)), shape))
    return found


def product_layouts(node: DotGeneral, lhs: Array, rhs: Array, *, join: Common = common) -> tuple[Array, Array] | None:
    """Lay the maps of both operands out in the shape of the product; None if elements of several places are summed."""
    (left_sum, right_sum), (left_batch, right_batch) = node.dimension_numbers
    left_shared, right_shared = join(lhs, left_sum), join(rhs, right_sum)
    if left_shared is None or right_shared is None:
        return None
    lhs, rhs = left_shared, right_shared
    left_free = [axis for axis in range(lhs.ndim) if axis not in (*left_sum, *left_batch)]
    right_free = [axis for axis in range(rhs.ndim) if axis not in (*right_sum, *right_batch)]
    batch = tuple(lhs.shape[axis] for axis in left_batch)
    left_shape = tuple(lhs.shape[axis] for axis in left_free)
    right_shape = tuple(rhs.shape[axis] for axis in right_free)
    left = lhs.transpose((*left_batch, *left_free, *left_sum)).reshape((*batch, *left_shape, *(1,) * len(right_shape)))
    right = rhs.transpose((*right_batch, *right_free, *right_sum)).reshape(
        (*batch, *(1,) * len(left_shape), *right_shape)
    )
    shape = (*batch, *left_shape, *right_shape)
    return np.broadcast_to(left, shape), np.broadcast_to(right, shape)

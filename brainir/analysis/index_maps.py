"""Index maps: which element of a source each element of a value comes from, and how operations move them.

A map of a value is an integer array in the value's shape; its entries are flat positions of the source, and -1 where the
element does not come from the source. Structural operations act on a map as they act on the value itself.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..ir.node import Node
from ..ir.ops import (
    BroadcastInDim,
    Concatenate,
    DotGeneral,
    DynamicSlice,
    DynamicUpdateSlice,
    Pad,
    Reduce,
    Reshape,
    Rev,
    Slice,
    Split,
    Squeeze,
    Transpose,
)
from ..ir.types import TensorType, is_literal, literal_array

__all__ = [
    "MAX_MAP_SIZE",
    "IndexMap",
    "agrees",
    "canonical",
    "is_order_preserving",
    "merge",
    "nowhere",
    "product_layouts",
    "rearrange",
    "same",
]

IndexMap: TypeAlias = NDArray[np.int64]

MAX_MAP_SIZE = 1 << 22
"""Values with more elements than this get no map of their own: their dependence counts as mixing."""


@functools.lru_cache(maxsize=256)
def canonical(shape: tuple[int, ...], members: int = 1) -> IndexMap:
    """Return the map in which flat element ``e`` comes from position ``e // members``."""
    size = int(np.prod(shape, dtype=np.int64))
    array = (np.arange(size, dtype=np.int64) // members).reshape(shape)
    array.flags.writeable = False
    return array


@functools.lru_cache(maxsize=256)
def nowhere(shape: tuple[int, ...]) -> IndexMap:
    """Return the map of a value that does not come from the source."""
    return np.broadcast_to(np.int64(-1), shape)


def same(first: IndexMap, second: IndexMap) -> bool:
    """Whether two maps are equal, entry by entry in row-major order."""
    return first is second or np.array_equal(first.reshape(-1), second.reshape(-1))


def agrees(first: IndexMap, second: IndexMap) -> bool:
    """Whether two maps name the same position wherever both name one, and do so at least once."""
    if first is second:
        return True
    one, two = first.reshape(-1), second.reshape(-1)
    both = (one >= 0) & (two >= 0)
    return bool(both.any()) and bool((one[both] == two[both]).all())


def merge(first: IndexMap, second: IndexMap) -> IndexMap | None:
    """Return the map of a value that comes from the positions of both maps, or None where they name two positions."""
    if first is second:
        return first
    one, two = first.reshape(-1), second.reshape(-1)
    if bool(((one >= 0) & (two >= 0) & (one != two)).any()):
        return None
    return np.where(one >= 0, one, two).reshape(first.shape)


def is_order_preserving(node: Node, operand: TensorType, result: TensorType) -> bool:
    """Whether the result of a structural operation on one operand has its elements, all of them, in the same order."""
    if isinstance(node, Reshape | Squeeze):
        return True
    if isinstance(node, BroadcastInDim):
        dims = node.broadcast_dimensions
        return operand.size == result.size and all(one < two for one, two in zip(dims, dims[1:], strict=False))
    return False


def rearrange(node: Node, operands: Sequence[IndexMap], kinds: Sequence[TensorType]) -> list[IndexMap] | None:
    """Move the entries of the operands' maps as an operation moves its operands' elements.

    Parameters
    ----------
    node : Node
    operands : sequence of index maps
        One for each operand, in its shape.
    kinds : sequence of TensorType
        Types of the operands.

    Returns
    -------
    list of index maps or None
        One for each result; None if the operation does more than move elements.
    """
    first = operands[0]
    match node:
        case BroadcastInDim():
            widened = np.ones(len(node.shape), dtype=np.int64)
            widened[list(node.broadcast_dimensions)] = first.shape
            order = np.argsort(node.broadcast_dimensions) if first.ndim else ()
            moved = first.transpose(tuple(map(int, order))).reshape(tuple(map(int, widened)))
            return [np.broadcast_to(moved, node.shape)]
        case Reshape():
            return [first.reshape(node.new_sizes)]
        case Squeeze():
            return [np.squeeze(first, axis=node.dimensions)]
        case Transpose():
            return [first.transpose(node.permutation)]
        case Rev():
            return [np.flip(first, node.dimensions)]
        case Slice():
            strides = node.strides or (1,) * first.ndim
            bounds = zip(node.start_indices, node.limit_indices, strides, strict=True)
            return [first[tuple(slice(*bound) for bound in bounds)]]
        case Split():
            return list(np.split(first, np.cumsum(node.sizes)[:-1].tolist(), axis=node.axis))
        case Concatenate():
            return [np.concatenate(operands, axis=node.dimension)]
        case Pad():
            return [_pad(first, operands[1], node.padding_config)]
        case DynamicSlice() if (start := _start(node.inputs[1:], first.shape, node.slice_sizes)) is not None:
            return [first[_block(start, node.slice_sizes)]]
        case DynamicUpdateSlice() if (start := _start(node.inputs[2:], first.shape, operands[1].shape)) is not None:
            updated = np.array(first)
            updated[_block(start, operands[1].shape)] = operands[1]
            return [updated]
        case Reduce() if all(first.shape[axis] == 1 for axis in node.axes):
            return [np.squeeze(first, axis=node.axes)]
        case _:
            return None


def product_layouts(node: DotGeneral, lhs: IndexMap, rhs: IndexMap) -> tuple[IndexMap, IndexMap] | None:
    """Lay the maps of both operands of a product out in the shape of the result; None if the product sums anything."""
    (left_sum, right_sum), (left_batch, right_batch) = node.dimension_numbers
    if any(lhs.shape[axis] != 1 for axis in left_sum):
        return None
    left_free = [axis for axis in range(lhs.ndim) if axis not in (*left_sum, *left_batch)]
    right_free = [axis for axis in range(rhs.ndim) if axis not in (*right_sum, *right_batch)]
    batch = tuple(lhs.shape[axis] for axis in left_batch)
    left_shape = tuple(lhs.shape[axis] for axis in left_free)
    right_shape = tuple(rhs.shape[axis] for axis in right_free)
    left = lhs.transpose((*left_batch, *left_free, *left_sum)).reshape((*batch, *left_shape, *(1,) * len(right_shape)))
    right = rhs.transpose((*right_batch, *right_free, *right_sum)).reshape((*batch, *(1,) * len(left_shape), *right_shape))
    shape = (*batch, *left_shape, *right_shape)
    return np.broadcast_to(left, shape), np.broadcast_to(right, shape)


def _pad(array: IndexMap, value: IndexMap, config: tuple[tuple[int, int, int], ...]) -> IndexMap:
    for axis, (low, high, interior) in enumerate(config):
        length = array.shape[axis]
        inner = length + max(length - 1, 0) * interior
        shape = list(array.shape)
        shape[axis] = max(low, 0) + inner + max(high, 0)
        padded = np.full(shape, value, dtype=np.int64)
        target: list[slice] = [slice(None)] * array.ndim
        target[axis] = slice(max(low, 0), max(low, 0) + inner, interior + 1)
        padded[tuple(target)] = array
        target[axis] = slice(max(-low, 0), shape[axis] - max(-high, 0))
        array = padded[tuple(target)]
    return array


def _start(operands: tuple[str, ...], shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return where a dynamic slice begins, clamped as JAX clamps it; None if that is not known beforehand."""
    if not all(map(is_literal, operands)):
        return None
    starts = (int(literal_array(operand)) for operand in operands)
    return tuple(min(max(start, 0), full - size) for start, full, size in zip(starts, shape, sizes, strict=True))


def _block(start: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[slice, ...]:
    return tuple(slice(begin, begin + size) for begin, size in zip(start, sizes, strict=True))

"""How operations move elements: the same moves, made on arrays of indices."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..ir.node import Node
from ..ir.ops import (
    BitcastConvertType,
    BroadcastInDim,
    Concatenate,
    Cumulative,
    DevicePut,
    DynamicSlice,
    DynamicUpdateSlice,
    Gather,
    Pad,
    Reduce,
    Reshape,
    ReshapeDimensions,
    Rev,
    Scatter,
    Slice,
    Split,
    Squeeze,
    Stack,
    Tile,
    Transpose,
    Unstack,
)
from ..ir.types import TensorType

__all__ = ["Array", "Known", "is_order_preserving", "padded", "rearrange", "writes_in_place"]

Array: TypeAlias = NDArray[Any]
Known: TypeAlias = Callable[[str], Array | None]


def is_order_preserving(node: Node, operand: TensorType, result: TensorType) -> bool:
    """Whether a structural operation on one operand keeps all elements in their order."""
    if isinstance(node, Reshape | Squeeze):
        return True
    if isinstance(node, BroadcastInDim):
        in_order = list(node.broadcast_dimensions) == sorted(node.broadcast_dimensions)
        return in_order and operand.size == result.size
    return False


def writes_in_place(node: Node) -> bool:
    """Whether an operation writes into its first operand: each other element of it stays where it is.

    This holds wherever the operation writes, and whatever it makes of old and written elements.
    """
    return isinstance(node, DynamicUpdateSlice | Scatter)


def rearrange(node: Node, operands: Sequence[Array], known: Known) -> list[Array] | None:
    """Move the entries of some arrays as an operation moves the elements of its operands.

    Parameters
    ----------
    node : Node
    operands : sequence of ndarray
        One for each operand, in its shape. Entries that come from nowhere are -1.
    known : callable
        Returns the value of an operand that does not depend on any input, or None.

    Returns
    -------
    list of ndarray or None
        One for each result; None if the operation does more than move elements to places known beforehand.
    """
    first = operands[0]
    match node:
        case BroadcastInDim():
            widened = [1] * len(node.shape)
            for axis, length in zip(node.broadcast_dimensions, first.shape, strict=True):
                widened[axis] = length
            order = sorted(range(first.ndim), key=node.broadcast_dimensions.__getitem__)
            return [np.broadcast_to(first.transpose(order).reshape(widened), node.shape)]
        case Reshape():
            return [first.reshape(node.new_sizes)]
        case ReshapeDimensions():
            return [first.transpose(node.dimensions).reshape(node.new_sizes)]
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
        case Stack():
            return [np.stack(operands, axis=node.axis)]
        case Unstack():
            return list(np.moveaxis(first, node.axis, 0))
        case Tile():
            return [np.tile(first, node.reps)]
        case Pad():
            return [padded(first, operands[1], node.padding_config)]
        case Reduce() if all(first.shape[axis] == 1 for axis in node.axes):
            return [np.squeeze(first, axis=node.axes)]
        case Cumulative() if first.shape[node.axis] <= 1:
            return [first]
        case DevicePut():
            return list(operands)
        case BitcastConvertType() if (shape := TensorType.parse(node.types[0]).shape)[: first.ndim] == first.shape:
            # Elements become several smaller ones each.
            return [np.broadcast_to(first.reshape(first.shape + (1,) * (len(shape) - first.ndim)), shape)]
        case DynamicSlice():
            return _dynamic_slice(first, node.slice_sizes, node.inputs[1:], known)
        case DynamicUpdateSlice():
            return _dynamic_update_slice(first, operands[1], node.inputs[2:], known)
        case Gather():
            return _gather(node, first, known(node.inputs[1]))
        case Scatter():
            return _scatter(node, first, operands[2], known(node.inputs[1]))
        case _:
            return None


def padded(array: Array, value: Array | int, config: Sequence[tuple[int, int, int]]) -> Array:
    """Pad axes at both ends and between their elements, as ``lax.pad`` does; what is negative cuts off."""
    for axis, (low, high, interior) in enumerate(config):
        length = array.shape[axis]
        inner = length + max(length - 1, 0) * interior
        shape = list(array.shape)
        shape[axis] = max(low, 0) + inner + max(high, 0)
        wider = np.full(shape, value, dtype=np.int64)
        target: list[slice] = [slice(None)] * array.ndim
        target[axis] = slice(max(low, 0), max(low, 0) + inner, interior + 1)
        wider[tuple(target)] = array
        target[axis] = slice(max(-low, 0), shape[axis] - max(-high, 0))
        array = wider[tuple(target)]
    return array


def _start(indices: Sequence[str], shape: Sequence[int], sizes: Sequence[int], known: Known) -> list[int] | None:
    """Return where a dynamic slice begins, clamped as JAX clamps it; None if that is not known beforehand."""
    starts = []
    for index, full, size in zip(indices, shape, sizes, strict=True):
        value = known(index)
        if value is None:
            return None
        starts.append(min(max(int(value), 0), full - size))
    return starts


def _block(start: Sequence[int], sizes: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(begin, begin + size) for begin, size in zip(start, sizes, strict=True))


def _dynamic_slice(array: Array, sizes: Sequence[int], indices: Sequence[str], known: Known) -> list[Array] | None:
    start = _start(indices, array.shape, sizes, known)
    return None if start is None else [array[_block(start, sizes)]]


def _dynamic_update_slice(array: Array, update: Array, indices: Sequence[str], known: Known) -> list[Array] | None:
    start = _start(indices, array.shape, update.shape, known)
    if start is None:
        return None
    updated = np.array(array)
    updated[_block(start, update.shape)] = update
    return [updated]


def _places(
    shape: tuple[int, ...],
    sizes: Sequence[int],
    indices: Array,
    start_axes: Sequence[int],
    operand_batch: Sequence[int],
    indices_batch: Sequence[int],
    window_axes: Sequence[int],
    result_windows: Sequence[int],
    result_rank: int,
) -> tuple[list[Array], Array]:
    """Return, for each operand axis, the index of each element of the windows, and whether its window fits.

    The arrays broadcast to the shape of the gathered result, or of the updates of a scatter.

    Parameters
    ----------
    shape : tuple of int
        Shape of the operand.
    sizes : sequence of int
        Lengths of the windows along each operand axis.
    indices : ndarray
        Where windows start; the last axis holds the coordinates.
    start_axes : sequence of int
        The operand axis of each coordinate.
    operand_batch, indices_batch : sequence of int
        Axes of operand and indices that go together.
    window_axes, result_windows : sequence of int
        Operand axes that windows extend along, and the result axes where they are.
    result_rank : int
    """
    spread = [axis for axis in range(result_rank) if axis not in result_windows]
    batch = indices.shape[:-1]

    def over_batch(array: Array) -> Array:
        full = [1] * result_rank
        for axis, length in zip(spread, batch, strict=True):
            full[axis] = length
        return np.broadcast_to(array, batch).reshape(full)

    fits = over_batch(np.ones(batch, dtype=bool))
    places: list[Array] = [np.zeros((1,) * result_rank, dtype=np.int64) for _ in shape]
    for coordinate, axis in enumerate(start_axes):
        start = indices[..., coordinate].astype(np.int64)
        fits = fits & over_batch((start >= 0) & (start <= shape[axis] - sizes[axis]))
        places[axis] = places[axis] + over_batch(np.clip(start, 0, shape[axis] - sizes[axis]))
    for axis, along in zip(operand_batch, indices_batch, strict=True):
        counter = np.arange(batch[along]).reshape([-1 if each == along else 1 for each in range(len(batch))])
        places[axis] = places[axis] + over_batch(counter)
    for axis, along in zip(window_axes, result_windows, strict=True):
        counter = np.arange(sizes[axis]).reshape([-1 if each == along else 1 for each in range(result_rank)])
        places[axis] = places[axis] + counter
    return places, fits


def _gather(node: Gather, array: Array, indices: Array | None) -> list[Array] | None:
    if indices is None:
        return None
    numbers = node.dimension_numbers
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    places, fits = _places(
        array.shape,
        node.slice_sizes,
        indices,
        numbers.start_index_map,
        numbers.operand_batching_dims,
        numbers.start_indices_batching_dims,
        [axis for axis in range(array.ndim) if axis not in gone],
        numbers.offset_dims,
        indices.ndim - 1 + len(numbers.offset_dims),
    )
    shape = TensorType.parse(node.types[0]).shape
    taken = np.broadcast_to(array[tuple(places)], shape)
    return [np.where(fits, taken, -1) if node.mode == "fill_or_drop" else taken]


def _scatter(node: Scatter, array: Array, updates: Array, indices: Array | None) -> list[Array] | None:
    if indices is None:
        return None
    numbers = node.dimension_numbers
    gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
    windows = [axis for axis in range(array.ndim) if axis not in gone]
    sizes = [1] * array.ndim
    for axis, along in zip(windows, numbers.update_window_dims, strict=True):
        sizes[axis] = updates.shape[along]
    places, fits = _places(
        array.shape,
        sizes,
        indices,
        numbers.scatter_dims_to_operand_dims,
        numbers.operand_batching_dims,
        numbers.scatter_indices_batching_dims,
        windows,
        numbers.update_window_dims,
        updates.ndim,
    )
    kept = np.broadcast_to(fits | (node.mode == "clip"), updates.shape)
    where = [np.broadcast_to(place, updates.shape)[kept] for place in places]
    flat = np.ravel_multi_index(where, array.shape) if array.ndim else np.zeros(int(kept.sum()), dtype=np.int64)
    if np.unique(flat).size != flat.size:
        return None
    result = np.array(array).reshape(-1)
    if node.op == "scatter":
        result[flat] = updates[kept]
    else:
        # Written and combined elements come from both: whichever comes from somewhere shows.
        result[flat] = np.where(updates[kept] >= 0, updates[kept], result[flat])
    return [result.reshape(array.shape)]

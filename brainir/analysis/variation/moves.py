"""How the results of operations that only move elements vary, from how their operands vary."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...ir.node import Node
from ...ir.ops import BroadcastInDim, Concatenate, Reshape, Rev, Slice, Split, Squeeze, Stack, Transpose, Unstack
from ...ir.types import TensorType
from ..dependence.index_maps import MAX_MAP_SIZE, canonical, nowhere
from ..rearrange import Known, rearrange
from .codes import PARAMETERS, TIME, UNKNOWN, along, axes_of, every_axis, without_axes
from .lattice import NO_NUMBER, Variation, one_if_equal

__all__ = ["moved"]

Array: TypeAlias = NDArray[Any]


def moved(
    node: Node,
    operands: Sequence[Variation | None],
    kinds: Sequence[TensorType],
    known: Known,
) -> list[Variation] | None:
    """Return the variation of the results of a node that only moves elements, or None if it does more.

    Parameters
    ----------
    node : Node
    operands : sequence of Variation or None
        None for an operand whose elements are all zero.
    kinds : sequence of TensorType
        Types of the operands.
    known : callable
        Returns the value of an operand that does not depend on any input, or None.
    """
    shapes = [TensorType.parse(kind).shape for kind in node.types]
    first = operands[0]
    alone = len(operands) == 1 and isinstance(
        node, BroadcastInDim | Reshape | Rev | Slice | Split | Squeeze | Transpose | Unstack
    )
    if alone and first is not None and first.code.ndim == first.number.ndim == 0:
        return [Variation(_with_axes(node, first.code, kinds[0].shape, shape), first.number) for shape in shapes]
    if max(kind.size for kind in kinds) > MAX_MAP_SIZE or max(map(math.prod, shapes)) > MAX_MAP_SIZE:
        return None
    blank = [nowhere(kind.shape) for kind in kinds]
    codes: list[Array] = [np.zeros(shape, dtype=np.int64) for shape in shapes]
    numbers: list[Array] = [np.zeros(shape, dtype=NO_NUMBER.dtype) for shape in shapes]
    for index, (operand, kind) in enumerate(zip(operands, kinds, strict=True)):
        if operand is None:
            continue
        places = rearrange(node, [*blank[:index], canonical(kind.shape), *blank[index + 1 :]], known)
        if places is None:
            return None
        for which, place in enumerate(places):
            codes[which] |= np.where(place >= 0, _picked(operand.code, place), 0)
            picked = np.where(place >= 0, _picked(operand.number, place), np.zeros((), operand.number.dtype))
            numbers[which] = numbers[which].astype(picked.dtype) + picked
    results = []
    for code, number, shape in zip(codes, numbers, shapes, strict=True):
        if not int(np.bitwise_or.reduce(code, axis=None)) & (TIME | PARAMETERS | UNKNOWN):
            results.append(Variation.constant(number))
        else:
            code = one_if_equal(_with_axes(node, code, kinds[0].shape, shape))
            results.append(Variation(code, NO_NUMBER if code.ndim == 0 else number))
    return results


def _picked(array: Array, place: Array) -> Array:
    if array.ndim == 0:
        return array
    return np.asarray(array.reshape(-1)[np.maximum(place, 0)])


def _with_axes(node: Node, code: Array, operand: tuple[int, ...], shape: tuple[int, ...]) -> Array:
    """Return the code of elements after a move, from the code that they had before it."""
    result = np.zeros_like(code)
    for each in np.unique(code):
        if each:
            after = along(_axes_after(node, axes_of(int(each)), operand, shape)) & every_axis(shape)
            result[code == each] = without_axes(int(each)) | after
    return result


def _axes_after(node: Node, before: Sequence[int], operand: tuple[int, ...], shape: tuple[int, ...]) -> Collection[int]:
    """Return the axes of a result along which numbers differ that differ along some axes of the operand."""
    match node:
        case BroadcastInDim():
            return [node.broadcast_dimensions[axis] for axis in before]
        case Transpose():
            return [node.permutation.index(axis) for axis in before]
        case Squeeze():
            gone = [dimension % len(operand) for dimension in node.dimensions]
            return [axis - sum(1 for each in gone if each < axis) for axis in before]
        case Reshape():
            return _reshaped(before, operand, shape)
        case Rev() | Slice() | Split():
            return before
        case Concatenate():
            return {*before, node.dimension}
        case Stack():
            return {node.axis, *(axis + (axis >= node.axis) for axis in before)}
        case Unstack():
            return [axis - (axis > node.axis) for axis in before if axis != node.axis]
        case _:
            return range(len(shape))


def _reshaped(before: Sequence[int], operand: tuple[int, ...], shape: tuple[int, ...]) -> Sequence[int]:
    long = [axis for axis, length in enumerate(operand) if length != 1]
    new = [axis for axis, length in enumerate(shape) if length != 1]
    if [operand[axis] for axis in long] != [shape[axis] for axis in new]:
        return new if before else ()
    return [new[long.index(axis)] for axis in before if axis in long]

"""How numbers vary: over time, with the parameters, and along the axes of the array that they are elements of."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...ir.node import Node
from ...ir.ops import BroadcastInDim, Concatenate, Reshape, Rev, Slice, Split, Squeeze, Stack, Transpose, Unstack
from ...ir.types import TensorType
from ..dependence.index_maps import MAX_MAP_SIZE, canonical, nowhere
from ..rearrange import Known, rearrange

__all__ = ["NONZERO", "PARAMETERS", "TIME", "Variation", "along", "moved", "total"]

Array: TypeAlias = NDArray[Any]

NONZERO = 1
TIME = 2
PARAMETERS = 4
_UNKNOWN = 8
_AXIS = 16  # the bit of the first axis; those of the others follow
_FLAGS = _AXIS - 1
_MAX_KNOWN = 1 << 16
_NO_NUMBER: Array = np.zeros((), np.float32)


def along(axes: Iterable[int]) -> int:
    """Return the bits that say that numbers differ along some axes."""
    return sum(_AXIS << axis for axis in axes)


@functools.lru_cache(maxsize=4096)
def _every_axis(shape: tuple[int, ...]) -> int:
    return along(axis for axis, length in enumerate(shape) if length != 1)


class Variation(NamedTuple):
    """What is known of the elements of an array, or of their derivatives.

    Parameters
    ----------
    code : ndarray of int64
        For each element, or of rank 0 for all: `NONZERO` if it is not known to be zero, `TIME` if it may change
        from step to step, `PARAMETERS` if it depends on parameters or on states that no step writes, a bit if
        `number` does not say what it is, and the bits of :func:`along` for the axes along which it may differ
        from other elements.
    number : ndarray or NumPy scalar
        The elements that are known, or of rank 0 the one number that they all are.
    """

    code: Array
    number: Array

    @staticmethod
    def of(shape: tuple[int, ...], flags: int, axes: int | None = None) -> Variation:
        """Return the variation of numbers that are not known, by default along all axes."""
        return _unknown(NONZERO | _UNKNOWN | flags | (_every_axis(shape) if axes is None else axes))

    @staticmethod
    def constant(array: Array) -> Variation:
        """Return the variation of known numbers."""
        if array.ndim == 0:
            # NumPy computes with scalars several times faster than with arrays of rank 0.
            return Variation(_code(NONZERO if array != 0 else 0), array[()])
        if array.size == 0:
            return Variation(np.zeros((), np.int64), _NO_NUMBER)
        if bool((array == array.reshape(-1)[0]).all()):
            array = array.reshape(-1)[0].reshape(())
        axes = 0
        for axis in range(array.ndim):
            if bool((array != array.take([0], axis)).any()):
                axes |= along([axis])
        if array.size > _MAX_KNOWN:
            return _unknown(NONZERO | _UNKNOWN | axes)
        return Variation(_one_if_equal(np.where(array == 0, 0, NONZERO | axes)), array)

    @property
    def flags(self) -> int:
        """The bits of all elements together."""
        code = self[0]
        return int(np.bitwise_or.reduce(code, axis=None) if code.ndim else code)

    @property
    def axes(self) -> int:
        """The bits of the axes along which any elements may differ."""
        return self.flags & ~_FLAGS

    @property
    def is_known(self) -> bool:
        """Whether all elements are known."""
        return not self.flags & _UNKNOWN

    def unknown(self, flags: int = 0) -> Variation:
        """Return the variation of elements that are made of these and of something else, and are not known."""
        if self.code.ndim == 0:
            return _unknown(int(self.code) | NONZERO | _UNKNOWN | flags)
        return Variation(self.code | NONZERO | _UNKNOWN | flags, _NO_NUMBER)

    def plus(self, flags: int) -> Variation:
        """Return the variation after something else chose among the elements."""
        return self if not flags else self.unknown(flags)

    def on(self, kind: TensorType, shape: tuple[int, ...]) -> Variation:
        """Return the variation of the elements repeated along axes of length one, or from rank 0."""
        if kind.shape == shape or not kind.shape:
            return self
        arrays = (each if each.ndim == 0 else np.broadcast_to(each, shape) for each in (self.code, self.number))
        return Variation(*arrays)

    def equals(self, other: Variation) -> bool:
        """Whether another variation says the same."""
        pairs = ((self.code, other.code), (self.number, other.number))
        return all(one is two or np.array_equal(one, two, equal_nan=one.dtype.kind == "f") for one, two in pairs)

    def joined(self, other: Variation) -> Variation:
        """Return the variation of elements of which either holds."""
        code = self.code | other.code
        alike = (self.number == other.number) & (self.code == other.code)
        if bool(np.all(alike)):
            return self
        return Variation(_one_if_equal(np.where(alike, code, code | NONZERO | _UNKNOWN)), np.asarray(self.number))

    def item(self, step: int | None) -> Variation:
        """Return the variation of the items along the first axis: of one, or of all at once."""
        if step is not None:
            code, number = (each[step] if each.ndim else each for each in (self.code, self.number))
        elif self.code.ndim or self.number.ndim:
            code, number = np.array(self.flags | NONZERO | _UNKNOWN), _NO_NUMBER
        else:
            code, number = self.code, self.number
        first = code & _AXIS if step is None else 0
        return Variation(np.where(first, _UNKNOWN, 0) | code & _FLAGS | code >> 1 & ~_FLAGS, np.asarray(number))

    @staticmethod
    def stacked(items: Sequence[Variation], shape: tuple[int, ...]) -> Variation:
        """Return the variation of an array of that shape, from one for each item along its first axis, or for all."""
        first = items[0]
        if len(items) == 1 and shape[0] != 1:
            flags = first.flags
            return _unknown(NONZERO | _UNKNOWN | _AXIS | _inside(flags))
        if all(each.equals(first) and each.code.ndim == each.number.ndim == 0 for each in items):
            # Items of which the same is known are not the same, unless that is their number.
            differs = 0 if first.is_known or shape[0] == 1 else _AXIS
            return Variation(_code(_inside(first.flags) | differs), first.number)
        codes, numbers = (
            np.stack([np.broadcast_to(each, shape[1:]) for each in arrays])
            for arrays in ([each.code for each in items], [each.number for each in items])
        )
        return Variation(np.where(codes, _inside(codes) | _AXIS, 0), numbers)

    def times(self, other: Variation) -> Variation:
        """Return the variation of the products of elements."""
        (first, number), (second, factor) = self, other
        if first.ndim == second.ndim == 0:
            one, two = int(first), int(second)
            flags = one | two if one & two & NONZERO else 0
            if flags & _UNKNOWN and number.ndim == factor.ndim == 0:
                return _unknown(flags)
            return Variation(_code(flags), number * factor)
        return Variation(np.where(first & second & NONZERO, first | second, 0), np.asarray(self.number * other.number))


def _inside(code: Any) -> Any:
    """Return a code of elements, or several, for elements of an array with one more axis in front."""
    return code & _FLAGS | (code & ~_FLAGS) << 1


@functools.lru_cache(maxsize=4096)
def _code(flags: int) -> Array:
    return np.array(flags, dtype=np.int64)


@functools.lru_cache(maxsize=4096)
def _unknown(code: int) -> Variation:
    return Variation(_code(code), _NO_NUMBER)


def total(parts: Sequence[Variation]) -> Variation:
    """Return the variation of the sums of elements."""
    result = parts[0]
    for part in parts[1:]:
        (one, number), (two, other) = result, part
        if one.ndim or two.ndim:
            result = Variation(np.asarray(one | two), number + other)
        elif (flags := int(one) | int(two)) & _UNKNOWN and not (number.ndim or other.ndim):
            result = _unknown(flags)
        else:
            result = Variation(_code(flags), number + other)
    return result


def _one_if_equal(code: Array) -> Array:
    if code.ndim and code.size and bool((code == code.reshape(-1)[0]).all()):
        return np.asarray(code.reshape(-1)[0])
    return np.asarray(code)


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
    numbers: list[Array] = [np.zeros(shape, dtype=_NO_NUMBER.dtype) for shape in shapes]
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
        flags = int(np.bitwise_or.reduce(code, axis=None))
        if not flags & (TIME | PARAMETERS | _UNKNOWN):
            results.append(Variation.constant(number))
        else:
            code = _one_if_equal(_with_axes(node, code, kinds[0].shape, shape))
            results.append(Variation(code, _NO_NUMBER if code.ndim == 0 else number))
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
            result[code == each] = int(each) & _FLAGS | _axes_after(node, int(each), operand, shape)
    return result


def _axes_after(node: Node, code: int, operand: tuple[int, ...], shape: tuple[int, ...]) -> int:
    """Return the bits of the axes of a result along which numbers differ that differ along those of the operand."""
    before = [axis for axis in range(len(operand)) if code & _AXIS << axis]
    after: Iterable[int]
    match node:
        case BroadcastInDim():
            after = (node.broadcast_dimensions[axis] for axis in before)
        case Transpose():
            after = (node.permutation.index(axis) for axis in before)
        case Squeeze():
            gone = [dimension % len(operand) for dimension in node.dimensions]
            after = (axis - sum(1 for each in gone if each < axis) for axis in before)
        case Reshape():
            after = _reshaped(before, operand, shape)
        case Rev() | Slice() | Split():
            after = before
        case Concatenate():
            after = {*before, node.dimension}
        case Stack():
            after = {node.axis, *(axis + (axis >= node.axis) for axis in before)}
        case Unstack():
            after = (axis - (axis > node.axis) for axis in before if axis != node.axis)
        case _:
            after = range(len(shape))
    return along(after) & _every_axis(shape)


def _reshaped(before: list[int], operand: tuple[int, ...], shape: tuple[int, ...]) -> Iterable[int]:
    long = [axis for axis, length in enumerate(operand) if length != 1]
    new = [axis for axis, length in enumerate(shape) if length != 1]
    if [operand[axis] for axis in long] != [shape[axis] for axis in new]:
        return new if before else ()
    return [new[long.index(axis)] for axis in before if axis in long]

"""How numbers vary: over time, with the parameters, and along the axes of the array that they are elements of."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...ir.types import TensorType
from .codes import NONZERO, PARAMETERS, TIME, UNKNOWN, along, axes_of, below, every_axis, inside

__all__ = ["NO_NUMBER", "Variation", "one_if_equal", "total"]

Array: TypeAlias = NDArray[Any]

NO_NUMBER: Array = np.zeros((), np.float32)
"""Stands for numbers that are not known."""

_MAX_KNOWN = 1 << 16


class Variation(NamedTuple):
    """What is known of the elements of an array, or of their derivatives.

    Parameters
    ----------
    code : ndarray of int64
        For each element, or of rank 0 for all, what is known of it; see :mod:`.codes`.
    number : ndarray or NumPy scalar
        The elements that are known, or of rank 0 the one number that they all are.
    """

    code: Array
    number: Array

    @staticmethod
    def of(shape: tuple[int, ...], origin: int, axes: Iterable[int] | None = None) -> Variation:
        """Return the variation of numbers that are not known, of an :attr:`origin`, by default along all axes."""
        return _unknown(NONZERO | UNKNOWN | origin | (every_axis(shape) if axes is None else along(axes)))

    @staticmethod
    def constant(array: Array) -> Variation:
        """Return the variation of known numbers."""
        if array.ndim == 0:
            # NumPy computes with scalars several times faster than with arrays of rank 0.
            return Variation(_code(NONZERO if array != 0 else 0), array[()])
        if array.size == 0:
            return Variation(np.zeros((), np.int64), NO_NUMBER)
        if bool((array == array.reshape(-1)[0]).all()):
            array = array.reshape(-1)[0].reshape(())
        axes = along(axis for axis in range(array.ndim) if bool((array != array.take([0], axis)).any()))
        if array.size > _MAX_KNOWN:
            return _unknown(NONZERO | UNKNOWN | axes)
        return Variation(one_if_equal(np.where(array == 0, 0, NONZERO | axes)), array)

    @property
    def whole(self) -> int:
        """The codes of all elements joined."""
        code = self[0]
        return int(np.bitwise_or.reduce(code, axis=None) if code.ndim else code)

    @property
    def is_zero(self) -> bool:
        """Whether all elements are known to be zero."""
        return not self.whole

    @property
    def is_known(self) -> bool:
        """Whether all elements are known."""
        return not self.whole & UNKNOWN

    @property
    def origin(self) -> int:
        """The bits `TIME` and `PARAMETERS`, if any element depends on these."""
        return self.whole & (TIME | PARAMETERS)

    @property
    def axes(self) -> tuple[int, ...]:
        """The axes along which any elements may differ."""
        return axes_of(self.whole)

    def unknown(self, code: int = 0) -> Variation:
        """Return the variation of elements that are made of these and of something else, and are not known."""
        if self.code.ndim == 0:
            return _unknown(int(self.code) | NONZERO | UNKNOWN | code)
        return Variation(self.code | NONZERO | UNKNOWN | code, NO_NUMBER)

    def chosen(self, origin: int) -> Variation:
        """Return the variation after something of an :attr:`origin` chose among the elements."""
        return self.unknown(origin) if origin else self

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
        return Variation(one_if_equal(np.where(alike, code, code | NONZERO | UNKNOWN)), np.asarray(self.number))

    def item(self, step: int | None) -> Variation:
        """Return the variation of the items along the first axis: of one, or of all at once."""
        if step is not None:
            code, number = (np.asarray(each[step] if each.ndim else each) for each in self)
            return Variation(np.asarray(below(code)), number)
        if self.code.ndim or self.number.ndim:
            return _unknown(NONZERO | UNKNOWN | below(self.whole))
        differ = UNKNOWN if self.whole & along([0]) else 0
        return Variation(_code(differ | below(self.whole)), np.asarray(self.number))

    @staticmethod
    def stacked(items: Sequence[Variation], shape: tuple[int, ...]) -> Variation:
        """Return the variation of an array of that shape, from one for each item along its first axis, or for all."""
        first, in_front = items[0], along([0])
        if len(items) == 1 and shape[0] != 1:
            return _unknown(NONZERO | UNKNOWN | in_front | inside(first.whole))
        if all(each.equals(first) and each.code.ndim == each.number.ndim == 0 for each in items):
            # Items of which the same is known are not the same, unless that is their number.
            differ = 0 if first.is_known or shape[0] == 1 else in_front
            return Variation(_code(inside(first.whole) | differ), first.number)
        codes, numbers = (
            np.stack([np.broadcast_to(each, shape[1:]) for each in arrays])
            for arrays in ([each.code for each in items], [each.number for each in items])
        )
        return Variation(np.where(codes, inside(codes) | in_front, 0), numbers)

    def times(self, other: Variation) -> Variation:
        """Return the variation of the products of elements."""
        (first, number), (second, factor) = self, other
        if first.ndim == second.ndim == 0:
            one, two = int(first), int(second)
            both = one | two if one & two & NONZERO else 0
            if both & UNKNOWN and number.ndim == factor.ndim == 0:
                return _unknown(both)
            return Variation(_code(both), number * factor)
        return Variation(np.where(first & second & NONZERO, first | second, 0), np.asarray(self.number * other.number))


@functools.lru_cache(maxsize=4096)
def _code(code: int) -> Array:
    return np.array(code, dtype=np.int64)


@functools.lru_cache(maxsize=4096)
def _unknown(code: int) -> Variation:
    return Variation(_code(code), NO_NUMBER)


def total(parts: Sequence[Variation]) -> Variation:
    """Return the variation of the sums of elements."""
    result = parts[0]
    for part in parts[1:]:
        (one, number), (two, other) = result, part
        if one.ndim or two.ndim:
            result = Variation(np.asarray(one | two), number + other)
        elif (both := int(one) | int(two)) & UNKNOWN and not (number.ndim or other.ndim):
            result = _unknown(both)
        else:
            result = Variation(_code(both), number + other)
    return result


def one_if_equal(code: Array) -> Array:
    """Return one code for all elements, of rank 0, where they have the same."""
    if code.ndim and code.size and bool((code == code.reshape(-1)[0]).all()):
        return np.asarray(code.reshape(-1)[0])
    return np.asarray(code)

"""Codes: what is known of a number, as bits of an integer, so that NumPy joins those of all elements of an array.

======================  ==========================================================
`NONZERO`               it may differ from zero; without this bit there is no other
`TIME`                  it may change from step to step
`PARAMETERS`            it depends on parameters, or on states that no step writes
`UNKNOWN`               nobody knows which number it is
``along([axis])``       it may differ from the elements beside it along an axis
======================  ==========================================================
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NONZERO",
    "PARAMETERS",
    "TIME",
    "UNKNOWN",
    "along",
    "axes_of",
    "below",
    "every_axis",
    "inside",
    "without_axes",
]

NONZERO = 1
TIME = 2
PARAMETERS = 4
UNKNOWN = 8
_AXES = 4  # the place of the bit of the first axis; those of the others follow
_NO_AXES = (1 << _AXES) - 1

Code = TypeVar("Code", int, NDArray[np.int64])


def along(axes: Iterable[int]) -> int:
    """Return the bits of some axes."""
    return sum(1 << _AXES + axis for axis in axes)


@functools.lru_cache(maxsize=4096)
def every_axis(shape: tuple[int, ...]) -> int:
    """Return the bits of the axes along which elements of an array of that shape can differ at all."""
    return along(axis for axis, length in enumerate(shape) if length != 1)


@functools.lru_cache(maxsize=4096)
def axes_of(code: int) -> tuple[int, ...]:
    """Return the axes whose bits are set, in order."""
    return tuple(axis for axis in range(code.bit_length() - _AXES) if code >> _AXES + axis & 1)


def without_axes(code: Code) -> Code:
    """Return a code without the bits of axes."""
    return code & _NO_AXES


def inside(code: Code) -> Code:
    """Return the code of an element in an array with one more axis in front."""
    return code & _NO_AXES | (code & ~_NO_AXES) << 1


def below(code: Code) -> Code:
    """Return the code of an element in one item of the array along its first axis."""
    return code & _NO_AXES | code >> 1 & ~_NO_AXES

"""Traits and attribute types that several schemas share."""

from __future__ import annotations

from pydantic import FiniteFloat

from ..node import Traits

Ints = tuple[int, ...]
Scalar = bool | int | FiniteFloat | str | None

ELEMENTWISE = Traits(elementwise=True)
FLAT = Traits(elementwise=True, flat=True)
STRUCTURAL = Traits(structural=True, linear=(0,))
REDUCTION = Traits(reduction=True)
CONTROL = Traits(control=True)
RANDOM = Traits(random=True)


def elementwise_linear_in(*operands: int) -> Traits:
    """Return the traits of an elementwise operation that is linear in these operands, each taken alone."""
    return Traits(elementwise=True, linear=operands)

"""Schemas of sums of products."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..node import Node, Traits
from .traits import Ints

DimensionNumbers = tuple[tuple[Ints, Ints], tuple[Ints, Ints]]


class DotGeneral(Node):
    """Sum of products over the contracting axes; batch axes come first in the result."""

    op: Literal["dot_general"] = "dot_general"
    dimension_numbers: DimensionNumbers
    precision: str | tuple[str, str] | None = None
    preferred_element_type: str | None = None
    family_traits: ClassVar[Traits] = Traits(contraction=True, linear=(0, 1))

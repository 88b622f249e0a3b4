"""Schemas of operations that combine the elements in windows which move over an operand."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..model import FunctionRef
from ..node import Node, Traits
from .traits import Ints

Padding = tuple[tuple[int, int], ...]


class ReduceWindowMonoid(Node):
    """Sum, largest or smallest element of each window."""

    op: Literal["reduce_window_max", "reduce_window_min", "reduce_window_sum"]
    window_dimensions: Ints
    window_strides: Ints
    padding: Padding
    base_dilation: Ints
    window_dilation: Ints
    op_traits: ClassVar[dict[str, Traits]] = {"reduce_window_sum": Traits(linear=(0,))}


class ReduceWindow(Node):
    """Combine the elements of each window with a function of the program.

    The operands are arrays of one shape, then an initial value for each. The function takes as many accumulated values
    and as many elements, and returns the new accumulated values.
    """

    op: Literal["reduce_window"] = "reduce_window"
    computation: FunctionRef
    window_dimensions: Ints
    window_strides: Ints
    padding: Padding
    base_dilation: Ints
    window_dilation: Ints
    family_traits: ClassVar[Traits] = Traits(control=True)


class SelectAndScatterAdd(Node):
    """Add each source element (first operand) where its window of the second has the largest or smallest element."""

    op: Literal["select_and_scatter_add"] = "select_and_scatter_add"
    select_prim: Literal["ge", "le"]
    window_dimensions: Ints
    window_strides: Ints
    padding: Padding
    family_traits: ClassVar[Traits] = Traits(linear=(0,))


class SelectAndGatherAdd(Node):
    """Take each tangent (first operand) from where its window of the second has the largest or smallest element."""

    op: Literal["select_and_gather_add"] = "select_and_gather_add"
    select_prim: Literal["ge", "le"]
    window_dimensions: Ints
    window_strides: Ints
    padding: Padding
    base_dilation: Ints
    window_dilation: Ints
    family_traits: ClassVar[Traits] = Traits(linear=(0,))

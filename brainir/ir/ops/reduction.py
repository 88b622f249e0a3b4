"""Schemas of operations that combine elements along axes."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..model import FunctionRef
from ..node import Node, Traits
from .sharding import Sharding
from .traits import REDUCTION, Ints


class Reduce(Node):
    """Combine all elements along axes, which disappear."""

    op: Literal[
        "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "reduce_xor",
    ]  # fmt: skip
    axes: Ints
    out_sharding: Sharding | None = None
    family_traits: ClassVar[Traits] = REDUCTION
    op_traits: ClassVar[dict[str, Traits]] = {"reduce_sum": Traits(reduction=True, linear=(0,))}


class ReduceWith(Node):
    """Combine all elements along axes with a function of the program, in an order that is not fixed.

    The operands are arrays of one shape, then an initial value for each. The function takes as many accumulated values
    and as many elements, and returns the new accumulated values.
    """

    op: Literal["reduce"] = "reduce"
    computation: FunctionRef
    dimensions: Ints
    family_traits: ClassVar[Traits] = Traits(reduction=True, control=True)


class ArgReduce(Node):
    """Index of the largest or smallest element along an axis."""

    op: Literal["argmax", "argmin"]
    axes: Ints
    index_dtype: str
    family_traits: ClassVar[Traits] = REDUCTION


class Cumulative(Node):
    """Running combination along an axis."""

    op: Literal["cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"]
    axis: int
    reverse: bool = False
    op_traits: ClassVar[dict[str, Traits]] = {"cumsum": Traits(linear=(0,))}

"""A program that tests take through all layers."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple


class Case(NamedTuple):
    """A function and its arguments.

    Parameters
    ----------
    fn : callable
    args : tuple
    derivatives : {"both", "forward", "reverse"}
        Which derivatives JAX has of the original.
    since : tuple of int
        The JAX version from which on there is such a function.
    """

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    derivatives: Literal["both", "forward", "reverse"] = "both"
    since: tuple[int, int] = (0, 8)

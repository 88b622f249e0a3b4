"""What a forward rule leaves for the backward rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..jax_compat import Literal, open_jaxpr, spec_of
from ..tracing import make_jaxpr

__all__ = ["Residuals", "trace_forward"]


@dataclass(frozen=True)
class Residuals:
    """Types of the residuals that a forward rule computes, and those that it always leaves.

    A backward rule may need the latter as Python numbers, such as the shape of an operand.
    """

    specs: list[Any]
    fixed: dict[int, Any]

    def filled(self, given: Sequence[Any]) -> list[Any]:
        """Return all residuals from those that are computed."""
        values = iter(given)
        count = len(self.specs) + len(self.fixed)
        return [self.fixed[place] if place in self.fixed else next(values) for place in range(count)]


def trace_forward(run: Callable[..., list[Any]], specs: Sequence[Any], count: int) -> tuple[Any, Residuals]:
    """Trace a forward rule from operands of these types to its results and the residuals that are not fixed.

    Parameters
    ----------
    run : callable
        Gives the results, then all residuals.
    specs : sequence
    count : int
        The number of results.
    """
    closed = make_jaxpr(run)(*specs)
    traced = open_jaxpr(closed)
    arrays = dict(zip(traced.constvars, traced.consts, strict=True))
    left = traced.outvars[count:]
    fixed = {
        place: atom.val if isinstance(atom, Literal) else arrays[atom]
        for place, atom in enumerate(left)
        if isinstance(atom, Literal) or atom in arrays
    }
    residuals = Residuals([spec_of(atom.aval) for place, atom in enumerate(left) if place not in fixed], fixed)
    if not fixed:
        return closed, residuals

    def computed(*operands: Any) -> list[Any]:
        return [value for place, value in enumerate(run(*operands)) if place - count not in fixed]

    return make_jaxpr(computed)(*specs), residuals

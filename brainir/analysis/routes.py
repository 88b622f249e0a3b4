"""Ways through the data flow of a function, and where derivatives end on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from ..ir.node import Node
from ..ir.program import Function
from ..ir.types import TensorType
from .dataflow.reachability import reached

__all__ = ["has_derivative", "reached_by_derivatives", "route"]


def has_derivative(node: Node, name: str) -> bool:
    """Whether a derivative passes a node to one of its results."""
    if node.traits.blocks_gradient or node.traits.flat:
        return False
    return TensorType.parse(node.types[node.outputs.index(name)]).is_inexact


def reached_by_derivatives(function: Function, seeds: Mapping[str, int]) -> dict[str, int]:
    """Carry bit sets forward: return, for each value, the seeds that it has a derivative by; see :func:`reached`."""
    return reached(function, seeds, lambda node, name: not has_derivative(node, name))


def route(
    function: Function,
    starts: Iterable[str],
    targets: Iterable[str],
    passes: Callable[[Node, str], bool] = lambda node, name: True,
) -> list[str]:
    """Return the values on a shortest way from one of some values to one of others; empty if there is none.

    Parameters
    ----------
    function : Function
    starts, targets : iterable of str
    passes : callable
        ``passes(node, result)`` is false where the way must not go.
    """
    wanted = set(targets)
    before: dict[str, str | None] = dict.fromkeys(starts)
    waiting = deque(before)
    while waiting:
        value = waiting.popleft()
        if value in wanted:
            found: list[str] = []
            last: str | None = value
            while last is not None:
                found.append(last)
                last = before[last]
            return found[::-1]
        for node in function.users.get(value, ()):
            for name in node.outputs:
                if name not in before and passes(node, name):
                    before[name] = value
                    waiting.append(name)
    return []

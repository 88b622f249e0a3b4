"""Shortest ways through the data flow of a function, and where derivatives end on them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from ..ir.node import Node
from ..ir.program import Function
from ..ir.types import TensorType

__all__ = ["has_derivative", "route"]


def has_derivative(node: Node, name: str) -> bool:
    """Whether a derivative passes a node to one of its results."""
    if node.traits.blocks_gradient or node.traits.flat:
        return False
    return TensorType.parse(node.types[node.outputs.index(name)]).is_inexact


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

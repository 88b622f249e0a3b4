"""Which nodes and functions have effects, and so must run, in order, even if nothing uses their results."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from .node import Node
from .program import Function

__all__ = ["effectful_functions", "runs_effects"]


def effectful_functions(functions: Mapping[str, Function]) -> set[str]:
    """Return the names of the functions that have effects when they run."""
    callers: dict[str, set[str]] = {}
    waiting = []
    for function in functions.values():
        for node in function.nodes:
            if node.traits.effectful:
                waiting.append(function.name)
            if node.reference_names():
                for callee in _executed(node):
                    callers.setdefault(callee, set()).add(function.name)
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(callers.get(name, ()))
    return found


def runs_effects(node: Node, effectful: Collection[str]) -> bool:
    """Whether a node has effects itself, or runs one of the functions that have."""
    return node.traits.effectful or any(callee in effectful for callee in _executed(node))


def _executed(node: Node) -> Iterator[str]:
    """Yield the functions that a node runs: all it refers to but derivative rules."""
    for attribute in node.reference_names():
        value = getattr(node, attribute)
        if value is not None and attribute not in node.rule_names():
            yield from (value,) if isinstance(value, str) else value

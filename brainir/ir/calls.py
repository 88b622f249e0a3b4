"""Which functions run which: a node runs those that it refers to but derivative rules."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from .node import Node
from .program import Function

__all__ = ["calling", "functions_with", "runs_first"]


def calling(function: Function) -> Iterator[Node]:
    """Yield the nodes of a function that refer to functions."""
    return (node for node in function.nodes if node.refers) if function.callees else iter(())


def runs_first(functions: Mapping[str, Function], roots: Iterable[str]) -> list[Function]:
    """Return some functions of a table and all that they run, each after those that it runs.

    Derivative rules are not run.
    """
    order: dict[str, Function] = {}
    for root in roots:
        stack = [(functions[root], False)]
        while stack:
            function, entered = stack.pop()
            if entered:
                order[function.name] = function
            elif function.name not in order:
                stack.append((function, True))
                callees = dict.fromkeys(name for node in calling(function) for name in node.runs())
                stack += [(functions[name], False) for name in callees if name not in order]
    return list(order.values())


def functions_with(functions: Mapping[str, Function], holds: Callable[[Node], bool]) -> set[str]:
    """Return the names of the functions that run a node for which `holds` is true, themselves or through others."""
    callers: dict[str, set[str]] = {}
    for function in functions.values():
        for node in calling(function):
            for callee in node.runs():
                callers.setdefault(callee, set()).add(function.name)
    waiting = [function.name for function in functions.values() if any(map(holds, function.nodes))]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(callers.get(name, ()))
    return found

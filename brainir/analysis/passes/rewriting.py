"""Walks over the function table of a program, for passes that rewrite one function at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ...ir.node import Node
from ...ir.program import Function, Program
from ...ir.sharing import reachable_functions

__all__ = ["calling", "functions_with", "rewrite_functions", "runs", "runs_first"]


def runs(node: Node) -> Iterator[str]:
    """Yield the functions that a node runs; derivative rules, which it only refers to, are left out."""
    rules = node.rule_names()
    for name in node.reference_names():
        if name not in rules:
            value = getattr(node, name)
            if isinstance(value, str):
                yield value
            elif value is not None:
                yield from value


def calling(function: Function) -> Iterator[Node]:
    """Yield the nodes of a function that refer to functions."""
    return (node for node in function.nodes if node.reference_names()) if function.callees else iter(())


def runs_first(program: Program) -> list[Function]:
    """Return the functions of a program, each after those that it runs."""
    order: dict[str, Function] = {}
    for root in program.functions:
        stack = [(root, False)]
        while stack:
            function, entered = stack.pop()
            if entered:
                order[function.name] = function
            elif function.name not in order:
                stack.append((function, True))
                callees = dict.fromkeys(name for node in calling(function) for name in runs(node))
                stack += [(program.table[name], False) for name in callees if name not in order]
    return list(order.values())


def functions_with(program: Program, holds: Callable[[Node], bool]) -> frozenset[str]:
    """Return the functions that run a node for which `holds` is true, themselves or through others."""
    found: set[str] = set()
    for function in runs_first(program):
        if any(holds(node) or not found.isdisjoint(runs(node)) for node in function.nodes):
            found.add(function.name)
    return frozenset(found)


def rewrite_functions(program: Program, rewrite: Callable[[Function, Mapping[str, Function]], Function]) -> Program:
    """Rewrite every function, those that it runs before it, and drop the functions that nothing refers to then.

    Parameters
    ----------
    program : Program
    rewrite : callable
        From a function, and the table with those that it runs already rewritten, to the new function; the old
        one where nothing changes.

    Returns
    -------
    Program
        `program` itself if no function changed.
    """
    table = dict(program.table)
    changed = False
    for function in runs_first(program):
        new = rewrite(function, table)
        changed = changed or new is not function
        table[function.name] = new
    return program.replace(functions=reachable_functions(table, program.entry)) if changed else program

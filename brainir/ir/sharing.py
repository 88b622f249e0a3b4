"""The function table of a program without duplicates and without functions that nothing refers to."""

from __future__ import annotations

from collections.abc import Mapping

from .canonical import function_keys, outline
from .program import Function

__all__ = ["reachable_functions", "share_equal_functions"]


def reachable_functions(functions: Mapping[str, Function], entry: str) -> tuple[Function, ...]:
    """Return the entry and the functions it leads to, in order of first reference."""
    order: dict[str, None] = {}
    waiting = [entry]
    while waiting:
        name = waiting.pop()
        if name not in order:
            order[name] = None
            waiting.extend(reversed(functions[name].callees))
    return tuple(functions[name] for name in order)


def share_equal_functions(functions: Mapping[str, Function], entry: str) -> tuple[Function, ...]:
    """Return the functions that the entry leads to, one for each set of equal ones.

    Functions are equal if their canonical forms are, derivative rules that refer to themselves included. The first of
    each set in order of reference keeps its name.
    """
    reached = reachable_functions(functions, entry)
    if len(reached) == 1:
        return reached
    alike: dict[object, list[str]] = {}
    for function in reached:
        alike.setdefault(outline(function), []).append(function.name)
    # A function without a like is its own key; to find that of others takes longer than all else in lowering.
    alone = {names[0]: f"the only {names[0]}" for names in alike.values() if len(names) == 1}
    keys = function_keys({function.name: function for function in reached}, alone)
    first: dict[str, str] = {}
    for function in reached:
        first.setdefault(keys[function.name], function.name)
    kept = {function.name: first[keys[function.name]] for function in reached}
    shared = {
        function.name: function.with_callees(kept) for function in reached if kept[function.name] == function.name
    }
    return reachable_functions(shared, kept[entry])

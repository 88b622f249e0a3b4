"""The function table of a program without duplicates and without functions that nothing refers to."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .canonical import function_keys, outline
from .program import Function

__all__ = ["equal_functions", "reachable_functions", "share_equal_functions"]

_NOTHING: Mapping[str, str] = {}


def reachable_functions(
    functions: Mapping[str, Function], entry: str, stands_for: Mapping[str, str] = _NOTHING
) -> tuple[Function, ...]:
    """Return the entry and the functions it leads to, in order of first reference.

    Parameters
    ----------
    functions : mapping of str to Function
        By name.
    entry : str
    stands_for : mapping of str to str
        Which function is taken where another is referred to.
    """
    found: dict[str, Function] = {}
    waiting = [entry]
    while waiting:
        wanted = waiting.pop()
        name = stands_for.get(wanted, wanted)
        if name not in found:
            function = found[name] = functions[name]
            waiting.extend(reversed(function.callees))
    return tuple(found.values())


def equal_functions(
    functions: Mapping[str, Function], entry: str, unlike: Collection[str] = frozenset()
) -> dict[str, str]:
    """Return for each function that the entry leads to the first one, in order of reference, that is equal to it.

    Functions are equal if their canonical forms are, derivative rules that refer to themselves included.

    Parameters
    ----------
    functions : mapping of str to Function
        By name.
    entry : str
    unlike : collection of str
        Functions that refer to none and no two of which are equal, as is known; these are not compared.
    """
    reached = reachable_functions(functions, entry)
    if len(reached) == 1:
        return {entry: entry}
    alike: dict[object, list[str]] = {}
    for function in reached:
        alike.setdefault(outline(function), []).append(function.name)
    # A function without a like is its own key; to find that of others takes longer than all else in lowering.
    apart = [names for names in alike.values() if len(names) == 1 or all(name in unlike for name in names)]
    alone = {name: f"the only {name}" for names in apart for name in names}
    keys = function_keys({function.name: function for function in reached}, alone)
    first: dict[str, str] = {}
    for function in reached:
        first.setdefault(keys[function.name], function.name)
    return {function.name: first[keys[function.name]] for function in reached}


def share_equal_functions(functions: Mapping[str, Function], entry: str) -> tuple[Function, ...]:
    """Return the functions that the entry leads to, one for each set of equal ones: the first keeps its name."""
    first = equal_functions(functions, entry)
    return tuple(function.with_callees(first) for function in reachable_functions(functions, first[entry], first))

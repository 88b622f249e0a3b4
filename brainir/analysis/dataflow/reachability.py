"""Reachability: which of many values others depend on, or lead to, all at once as bit sets; what makes a value.

The simplest lattice, over one function: a fact is an integer with a bit for each seed, facts join by ``or``, and what
a node makes of its operands is their union. A node that runs functions is taken as a whole; where that is not enough,
calls are inlined first (:func:`inline_calls`), or :class:`ForwardAnalysis` follows them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import chain

from ...ir.node import Node
from ...ir.program import Function
from ...ir.types import is_literal

__all__ = ["nodes_behind", "reached", "reaching", "reused"]


def reached(
    function: Function,
    seeds: Mapping[str, int],
    stops: Callable[[Node, str], bool] | None = None,
) -> dict[str, int]:
    """Carry bit sets forward: return, for each value, the seeds that it depends on.

    Parameters
    ----------
    function : Function
    seeds : mapping of str to int
        For each value that the walk starts at, its bits; several can share one.
    stops : callable, optional
        ``stops(node, result)`` is true where dependence ends at a result of a node.

    Returns
    -------
    dict of str to int
        Values that depend on no seed are left out.
    """
    found = dict(seeds)
    for node in function.nodes:
        mask = 0
        for operand in node.inputs:
            if operand in found:
                mask |= found[operand]
        if mask:
            for name in node.outputs:
                if stops is None or not stops(node, name):
                    found[name] = found[name] | mask if name in found else mask
    return found


def reaching(function: Function, seeds: Mapping[str, int]) -> dict[str, int]:
    """Carry bit sets backward: return, for each value, the seeds that depend on it; see :func:`reached`.

    Parameters
    ----------
    function : Function
    seeds : mapping of str to int
        For each value that the walk starts at, its bits; several can share one.

    Returns
    -------
    dict of str to int
        Values that no seed depends on are left out.
    """
    found = dict(seeds)
    for node in reversed(function.nodes):
        mask = 0
        for name in node.outputs:
            if name in found:
                mask |= found[name]
        if mask:
            for operand in node.inputs:
                if operand in found:
                    # The same number where nothing is new: it can have as many digits as there are seeds.
                    if found[operand] | mask != found[operand]:
                        found[operand] |= mask
                elif not is_literal(operand):
                    found[operand] = mask
    return found


def nodes_behind(
    function: Function, names: Iterable[str], follows: Callable[[str], object] = lambda operand: True
) -> tuple[Node, ...]:
    """Return the nodes that make some values, those that make their operands, and so on, in order.

    Parameters
    ----------
    function : Function
    names : iterable of str
    follows : callable
        ``follows(operand)`` is true where the walk goes on to an operand of a node.
    """
    places: set[int] = set()
    pending = [*names]
    while pending:
        # Inputs, constants and literals have no place.
        place = function.places.get(pending.pop())
        if place is not None and place not in places:
            places.add(place)
            pending += filter(follows, function.nodes[place].inputs)
    return tuple(function.nodes[place] for place in sorted(places))


def reused(function: Function) -> set[str]:
    """Return the values that are used more than once, as an operand or as an output; most values are not."""
    uses = Counter(chain.from_iterable([*(node.inputs for node in function.nodes), function.outputs]))
    return {operand for operand, times in uses.items() if times > 1}

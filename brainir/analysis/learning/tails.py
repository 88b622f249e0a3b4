"""How a weight term reaches the hidden states of a group, and which groups share an exit."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Literal

import numpy as np

from ...ir.program import Program, Value
from ..dependence.element_maps import flow_from, input_maps
from ..dependence.index_maps import IndexMap
from ..dependence.joining import JoiningFlow
from ..dependence.lattice import Source
from ..facts import Facts
from ..groups import HiddenGroup, Partition
from ..jacobian import JacobianEntry, input_variations, structure_of
from ..slicing import extract
from ..states import HiddenLeaf
from ..weights.scan import WeightScan
from .terms import Term

__all__ = ["Derivative", "Pairing", "Tail", "Untraced", "clusters_of", "derivative_of", "find_tails"]

Pairing = Literal["same", "by_result", "by_position"]
Derivative = Literal["zero", "uniform", "any"] | float
"""What is known of a derivative: ``zero``; the number that it is at all positions and in all steps; ``uniform``, one
number for all positions; nothing."""
Untraced = Literal["mixing", "flat", "unseen"]
"""Why no trace follows a term: positions mix on the way; or it reaches only states without a derivative, or from which
nothing gets to the loss."""


class Tail(Facts):
    """How the result of a term reaches the new values of one hidden group, other than through another weight.

    Parameters
    ----------
    term, group : int
        Places in the lists of terms and groups.
    pairing : str
        ``same``: element j of the result reaches position j only; ``by_result``: each element of the result
        reaches at most one position; ``by_position``: each position sees at most one element.
    places : tuple of int
        For ``by_result``, the position of each element of the result; for ``by_position``, the element that each
        position sees; -1 for none. Empty for ``same``.
    program : Program
        From the result and what else is needed to the new values of the members that it reaches.
    invars : tuple of Value
        The values that its inputs stand for.
    members : tuple of int
        Places in the group of the members that it reaches.
    structure : tuple of tuples of str
        What is known of the derivative of each of these, for each state along the last axis of a grouped one.
    """

    term: int
    group: int
    pairing: Pairing
    places: tuple[int, ...]
    program: Program
    invars: tuple[Value, ...]
    members: tuple[int, ...]
    structure: tuple[tuple[Derivative, ...], ...]


def derivative_of(entry: JacobianEntry | None) -> Derivative:
    """Return what an entry of a Jacobian says."""
    if entry is None:
        return "zero"
    if entry.value is not None:
        return entry.value
    return "uniform" if entry.uniform else "any"


def clusters_of(scan: WeightScan, groups: Sequence[HiddenGroup]) -> tuple[tuple[int, ...], ...]:
    """Return sets of groups whose new values are independent of each other at the exit.

    Two groups are in one if a new value of the one is computed from a new value of the other element by
    element, within the step and not through a weight: the trace of a weight before both then covers both.
    """
    clusters = Partition(len(groups))
    for one in groups if len(groups) > 1 else ():
        for member in one.hidden_outvars:
            others = [(two.index, new) for two in groups if two is not one for new in two.hidden_outvars]
            if member.name not in scan.function.producers:
                continue
            program, _ = extract(
                "reach", scan.function, scan.program, [member.name], [new.name for _, new in others], cut=scan.cut
            )
            found = input_maps(program.entry_function, flow_from(program, Source(member.shape)))
            for (index, _), maps in zip(others, found, strict=True):
                if maps:
                    clusters.join(one.index, index)
    return tuple(map(tuple, clusters.parts()))


def find_tails(
    scan: WeightScan,
    groups: Sequence[HiddenGroup],
    clusters: Sequence[Sequence[int]],
    terms: Sequence[Term],
) -> Iterator[tuple[int, int, tuple[Tail, ...] | Untraced]]:
    """Yield, for each term and cluster that it reaches, its tails, or why no trace can follow it there."""
    news = [{new.name for index in cluster for new in groups[index].hidden_outvars} for cluster in clusters]
    # Other weights are terms of their own, even if they are made of the same parameters.
    stops = [{*scan.leaves}.union(*news) - mine for mine in news]
    for number, term in enumerate(terms):
        for place, cluster in enumerate(clusters):
            found = [_tail(scan, number, term, groups[index], stops[place]) for index in cluster]
            if "mixing" in found:
                yield number, place, "mixing"
            elif tails := tuple(each for each in found if isinstance(each, Tail)):
                yield number, place, tails
            elif "flat" in found:
                yield number, place, "flat"


def _tail(scan: WeightScan, number: int, term: Term, group: HiddenGroup, stop: set[str]) -> Tail | Untraced | None:
    """Return the tail of a term in a group, or why no trace can follow it; None if it does not reach the group."""
    y, members = term.y, [scan.states.hidden_at[path] for path in group.hidden_paths]
    name = f"tail_{number}_{group.index}"
    cut = scan.cut - {y.name}
    whole, _ = extract(name, scan.function, scan.program, [y.name], [each.new for each in members], cut=cut, stop=stop)
    found = input_maps(whole.entry_function, flow_from(whole, Source(y.shape)))
    reached = [place for place, maps in enumerate(found) if maps is None or maps]
    if not reached:
        return None
    # What reaches a counter, or a spike that is kept as a boolean, has no derivative there.
    reached = [place for place in reached if members[place].kind.is_inexact]
    if not reached:
        return "flat"
    pairs = _pairs(found, members, reached, y.aval.size) or _joined(whole, members, reached, y)
    if pairs is None:
        return "mixing"
    pairing, places = pairs
    if term.form == "product" and pairing == "by_position":
        return "mixing"
    ends = [members[place] for place in reached]
    program, invars = extract(
        name, scan.function, scan.program, [y.name], [each.new for each in ends], cut=cut, stop=stop
    )
    unknown: Derivative = "any"
    structure = tuple((unknown,) * each.state.num_state for each in ends)
    # What is known of a derivative is of a real or a complex one; that of real states by a complex result is neither.
    is_mixed = y.aval.is_complex and not all(each.kind.is_complex for each in ends)
    if pairing != "by_result" and not is_mixed:
        known = structure_of(program, input_variations(invars, scan.variations), [None], [each.state for each in ends])
        derivatives = (derivative_of(known.at(row, 0)) for row in range(len(known.states)))
        structure = tuple(tuple(islice(derivatives, each.state.num_state)) for each in ends)
    return Tail(
        term=number,
        group=group.index,
        pairing=pairing,
        places=places,
        program=program,
        invars=invars,
        members=tuple(reached),
        structure=structure,
    )


def _pairs(
    found: Sequence[tuple[IndexMap, ...] | None], members: Sequence[HiddenLeaf], reached: Sequence[int], size: int
) -> tuple[Pairing, tuple[int, ...]] | None:
    """Pair elements of a result with positions; None if both sides see several of the other."""
    pairs: set[tuple[int, int]] = set()
    positions = members[0].source.size
    for place in reached:
        maps = found[place]
        if maps is None:
            return None
        for each in maps:
            flat = each.reshape(-1)
            at = np.arange(flat.size) // members[place].state.num_state
            pairs.update(zip(flat[flat >= 0].tolist(), at[flat >= 0].tolist(), strict=True))
    elements, places = {j for j, _ in pairs}, {k for _, k in pairs}
    if size == positions and all(j == k for j, k in pairs):
        return "same", ()
    if len(pairs) == len(elements):
        table = dict(pairs)
        return "by_result", tuple(table.get(j, -1) for j in range(size))
    if len(pairs) == len(places):
        table = {k: j for j, k in pairs}
        return "by_position", tuple(table.get(k, -1) for k in range(positions))
    return None


def _joined(
    whole: Program, members: Sequence[HiddenLeaf], reached: Sequence[int], y: Value
) -> tuple[Pairing, tuple[int, ...]] | None:
    """Pair elements of a result with positions where several are combined on the way; None if some reach several.

    Examples are pools, and sums over what lies at one position, such as the members of a grouped state.
    """
    flow = JoiningFlow(whole, y.shape)
    found = input_maps(whole.entry_function, flow)
    seen: list[tuple[IndexMap, IndexMap]] = []
    for place in reached:
        maps = found[place]
        if maps is None:
            return None
        seen += [(each.reshape(-1), np.arange(each.size) // members[place].state.num_state) for each in maps]
    places = flow.places(seen)
    return None if places is None else ("by_result", tuple(places.tolist()))

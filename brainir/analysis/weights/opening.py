"""Control flow that is opened before weights are looked for: weights inside it become weights of the step."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ...ir.node import Node
from ...ir.ops import Cond, Scan
from ...ir.program import Function, Program
from ..dataflow.reachability import reached, reaching
from ..dataflow.sites import Site
from ..dependence.element_maps import local_maps
from ..diagnostics import Diagnostic, diagnostic, place_of
from ..facts import Facts
from ..inline import inline_calls
from ..passes.cond_to_select import CondToSelect
from ..passes.unroll_scans import UnrollScans
from ..states import StepStates

__all__ = ["UNROLLED_LENGTH", "OpenedProgram", "open_control_flow"]

UNROLLED_LENGTH = 16
"""Scans of at most this many steps are unrolled where weights are inside."""

_MAX_NODES = 100_000
_MAX_ROUNDS = 16


class OpenedProgram(Facts):
    """A program in which weights lie outside of control flow, where that is possible.

    Parameters
    ----------
    program : Program
        The rewritten program; the old one itself if there was nothing to open. Values of the old entry keep their
        names.
    rewrites : tuple of Diagnostic
        What was rewritten, each with its caveat, and what was left as it is.
    """

    program: Program
    rewrites: tuple[Diagnostic, ...] = ()

    def __repr__(self) -> str:
        return "\n".join(map(repr, self.rewrites)) or "nothing was rewritten"


def open_control_flow(program: Program) -> OpenedProgram:
    """Replace control flow in which parameters or hidden states are mixed by what it does.

    A ``cond`` becomes a selection among all of its branches, a ``scan`` of at most :data:`UNROLLED_LENGTH` steps as
    many copies of its body, but for what this makes of parameters alone, which is computed once. Only nodes on a way to
    the new value of a hidden state are opened, and of these only those into which a parameter goes, or which mix the
    positions of hidden states. Values stay the same; gradients stay the same up to rounding, but see the caveats.
    :func:`find_hidden_groups` and :func:`find_hidden_param_op_relations` do this first; doing it again changes nothing.

    Parameters
    ----------
    program : Program

    Returns
    -------
    OpenedProgram
    """
    rewrites: dict[Diagnostic, None] = {}
    for _ in range(_MAX_ROUNDS):
        opened, notes = _opened_once(program)
        rewrites.update(dict.fromkeys(notes))
        if opened is program:
            break
        program = opened
    return OpenedProgram(program=program, rewrites=tuple(rewrites))


def _opened_once(program: Program) -> tuple[Program, list[Diagnostic]]:
    """Open the control flow of the entry, but not what comes out of it; the program itself if none can be opened."""
    opened = _flat(program)
    notes: list[Diagnostic] = []
    if not any(isinstance(node, Cond | Scan) for node in opened.entry_function.nodes):
        return program, notes
    params = _from_params(opened)
    chosen = {id(node): node for node in _nodes_to_open(opened, params)}
    if not chosen:
        return program, notes

    def is_chosen(node: Node) -> bool:
        return id(node) in chosen

    for each in (
        CondToSelect(select=is_chosen, max_nodes=_MAX_NODES),
        UnrollScans(select=is_chosen, max_length=UNROLLED_LENGTH, max_nodes=_MAX_NODES, once=params),
    ):
        result = each.run(opened)
        opened = result.program
        notes += result.caveats
    left = {id(node) for node in opened.entry_function.nodes}
    done = [node for key, node in chosen.items() if key not in left]
    for node in done:
        if isinstance(node, Scan):
            message = f"{place_of(node)} became {node.length} copies of its body, each with weights of its own"
            notes.append(diagnostic("scan_unrolled", message, node=node))
    return opened if done else program, notes


def _flat(program: Program) -> Program:
    entry = inline_calls(program.entry_function, program, checkpoints=True)
    if entry is program.entry_function:
        return program
    return program.with_entry(entry)


def _from_params(program: Program) -> frozenset[str]:
    """Return the parameters, and the values that are made of parameters alone."""
    function = program.entry_function
    weights = {leaf.value.name: 1 for leaf in StepStates.of(program).params}
    data = reached(function, {name: 1 for name in function.inputs if name not in weights})
    return frozenset([name for name in reached(function, weights) if name not in data])


def _nodes_to_open(program: Program, params: Collection[str]) -> Iterator[Node]:
    """Yield the control flow that weights are inside of, or that mixes positions of hidden states."""
    function = program.entry_function
    states = StepStates.of(program)
    hidden = {leaf.old: 1 for leaf in states.hidden}
    from_hidden = reached(function, hidden)
    data = reached(function, {name: 1 for name in function.inputs if name not in params})
    to_hidden = reaching(function, {leaf.new: 1 for leaf in states.hidden})
    for node in function.nodes:
        if not isinstance(node, Cond | Scan) or not any(name in to_hidden for name in node.outputs):
            continue
        if isinstance(node, Scan) and node.length > UNROLLED_LENGTH:
            continue
        weighted = any(name in params for name in node.inputs) and any(name in data for name in node.inputs)
        coupling = any(name in from_hidden for name in node.inputs)
        if weighted or (coupling and _mixes(node, function, program, from_hidden)):
            yield node


def _mixes(node: Node, function: Function, program: Program, from_hidden: dict[str, int]) -> bool:
    """Whether a result of a node sees several positions of an operand that depends on hidden states."""
    site = Site.of(node, function)
    rows = local_maps(site, program)
    first = 1 if isinstance(node, Cond) else 0
    places = [place for place, name in enumerate(node.inputs) if name in from_hidden and place >= first]
    return any(row[place] is None for row in rows for place in places)

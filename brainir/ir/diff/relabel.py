"""A program with the names and the order of an older version of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from ..collector import collector_paused
from ..effects import runs_effects
from ..errors import BrainIRError
from ..ops import AnyNode
from ..program import Function, Program, require_program
from .naming import Names
from .program_matching import FunctionMatching, ProgramMatching

__all__ = ["relabel"]


@collector_paused()
def relabel(program: Program, *, like: Program, lines: Literal["old", "new"] = "old") -> Program:
    """Write a program with the names and the order of another version of it, so that little differs between the two.

    Functions, values and constants that correspond take their old names. Where the order is free, nodes, constants and
    functions take their old order. The program means the same as before, and has the same fingerprint.

    Parameters
    ----------
    program : Program
    like : Program
        The version that gives the names.
    lines : {"old", "new"}
        Where the source of a node differs in line numbers only, which to keep. A line that is inserted high up in a
        file moves all others; with ``"old"``, that does not touch the nodes.

    Returns
    -------
    Program

    Raises
    ------
    BrainIRError
        If `lines` is neither.
    """
    require_program(program, like)
    if lines not in ("old", "new"):
        raise BrainIRError(f"lines must be 'old' or 'new', not {lines!r}")
    matching = ProgramMatching(like, program)
    return _relabel_matched(matching, Names(matching), lines)


def _relabel_matched(matching: ProgramMatching, names: Names, lines: Literal["old", "new"]) -> Program:
    """Do what :func:`relabel` does for programs that have been matched."""
    program = matching.new
    written = {
        function.name: _relabel_function(function, matching, names, lines == "old") for function in program.functions
    }
    old_order = {function.name: index for index, function in enumerate(matching.old.functions)}
    places = {
        new: old_order[pair.old.name] for new, pair in matching.of_new.items() if matching.of_old[pair.old.name] is pair
    }
    order = _in_old_order([function.name for function in program.functions], places)
    return Program(
        entry=names.functions[program.entry],
        interface=program.interface,
        functions=tuple(written[name] for name in order),
        metadata=program.metadata,
    )


def _relabel_function(function: Function, matching: ProgramMatching, names: Names, old_lines: bool) -> Function:
    pair, values = matching.of_new.get(function.name), names.values[function.name]
    nodes: Iterable[int] = range(len(function.nodes))
    constants = function.constants
    if pair is not None:
        effects = [index for index in nodes if runs_effects(function.nodes[index], matching.new_effects)]
        nodes = _node_order(pair, effects)
        order = {constant.name: index for index, constant in enumerate(pair.old.constants)}
        places = {after.name: order[before.name] for before, after in pair.constants}
        by_name = {constant.name: constant for constant in constants}
        constants = tuple(by_name[name] for name in _in_old_order(list(by_name), places))
    written: list[AnyNode] = []
    for index in nodes:
        node = function.nodes[index]
        partner = pair.old.nodes[pair.old_nodes[index]] if pair is not None and pair.old_nodes[index] >= 0 else node
        kept = old_lines and partner.place == node.place
        changes = {
            "inputs": tuple([values.get(name, name) for name in node.inputs]),
            "outputs": tuple([values[name] for name in node.outputs]),
            "source": partner.source if kept else node.source,
        }
        renamed = node.model_copy(update=changes)
        written.append(renamed.with_callees(names.functions) if node.reference_names() else renamed)
    return Function(
        name=names.functions[function.name],
        inputs=tuple(values[name] for name in function.inputs),
        types=function.types,
        # Equal constants may have got one name.
        constants=tuple({values[each.name]: each.replace(name=values[each.name]) for each in constants}.values()),
        nodes=tuple(written),
        outputs=tuple(values.get(name, name) for name in function.outputs),
    )


def _in_old_order(names: list[str], places: dict[str, int]) -> list[str]:
    """Sort what has an old place by it; what has none follows what came before it."""
    followers: dict[str | None, list[str]] = {}
    leader: str | None = None
    for name in names:
        if name in places:
            leader = name
        else:
            followers.setdefault(leader, []).append(name)
    ordered = followers.get(None, []) if names and names[0] not in places else []
    for name in sorted(places, key=places.__getitem__):
        ordered += [name, *followers.get(name, [])]
    return ordered


def _node_order(pair: FunctionMatching, effects: list[int]) -> list[int]:
    """Order new nodes like their partners; others come right before the first node that needs them, or last."""
    nodes = pair.new.nodes
    producer = {name: index for index, node in enumerate(nodes) for name in node.outputs}
    previous = dict(zip(effects[1:], effects, strict=False))
    done = bytearray(len(nodes))
    ordered: list[int] = []

    def visit(root: int) -> None:
        stack = [root]
        while stack:
            index = stack[-1]
            if done[index]:
                stack.pop()
                continue
            needed = [producer[name] for name in nodes[index].inputs if name in producer]
            if index in previous:
                needed.append(previous[index])
            missing = [each for each in needed if not done[each]]
            if missing:
                stack.extend(reversed(missing))
            else:
                done[index] = 1
                ordered.append(stack.pop())

    for index in pair.nodes:
        if index >= 0:
            visit(index)
    for index in range(len(nodes)):
        visit(index)
    return ordered

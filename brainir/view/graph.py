"""The graph of a function: what is drawn, and what leads where."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from ..ir.interface import State
from ..ir.node import Node
from ..ir.printer import format_path
from ..ir.program import Function, Program
from ..ir.types import is_literal

__all__ = ["COLOURS", "Box", "Edge", "Kind", "boxes", "edges"]

Kind = Literal["hidden", "param", "other", "argument", "constant", "node", "output"]

COLOURS: dict[Kind, str] = {
    "hidden": "#bfdbfe",
    "param": "#fde68a",
    "other": "#e5e7eb",
    "argument": "#d1fae5",
    "constant": "#f3f4f6",
    "node": "#ffffff",
    "output": "#ede9fe",
}
"""What fills a box, in graphs for other tools."""


@dataclass(frozen=True, slots=True)
class Box:
    """Something that is drawn as a box: an input, a constant, a node, or an output.

    Parameters
    ----------
    key : str
        Unique in the function: the name of its first result, or a place for one without results.
    kind : str
    title : str
        What stands in it: an operation, or the name of an input or output.
    detail : str
        Types of its results.
    groups : tuple of str
        The groups around it, outermost first.
    node : Node or None
    """

    key: str
    kind: Kind
    title: str
    detail: str
    groups: tuple[str, ...] = ()
    node: Node | None = None


@dataclass(frozen=True, slots=True)
class Edge:
    """A value that goes from one box into another."""

    source: str
    target: str
    value: str


def _roles_of_inputs(program: Program, function: Function) -> dict[str, tuple[Kind, str]]:
    """Return what each input is, and its name for people; only the entry has states."""
    roles: dict[str, tuple[Kind, str]] = {name: ("argument", name) for name in function.inputs}
    if function.name == program.entry:
        for name, (owner, keys, _) in zip(function.inputs, program.interface.input_leaves(), strict=True):
            if isinstance(owner, State):
                roles[name] = (owner.role, format_path((*owner.path, *keys)))
    return roles


def _states_of_outputs(program: Program, function: Function) -> list[tuple[Kind, str]]:
    """Return the role and the name of each output: a new state, or part of the result."""
    if function.name != program.entry:
        return [("output", f"out {index}") for index in range(len(function.outputs))]
    return [
        (state.role, f"new {format_path((*state.path, *keys))}")
        if state is not None
        else ("output", format_path(("result", *keys)))
        for state, keys, _ in program.interface.output_leaves()
    ]


def _groups_of_node(node: Node) -> tuple[str, ...]:
    """Return the name scopes around a node."""
    return tuple(part for part in node.scope.split("/") if part)


def boxes(program: Program, function: Function) -> Iterator[Box]:
    """Yield every box of a function: inputs, constants, nodes in order, outputs."""
    for name, (kind, title) in _roles_of_inputs(program, function).items():
        yield Box(name, kind, title, function.value_types[name])
    for constant in function.constants:
        yield Box(constant.name, "constant", constant.name, constant.type)
    for index, node in enumerate(function.nodes):
        yield Box(_key(index, node), "node", node.op, ", ".join(node.types), _groups_of_node(node), node)
    for index, (operand, (_, title)) in enumerate(
        zip(function.outputs, _states_of_outputs(program, function), strict=True)
    ):
        yield Box(f"={index}", "output", title, str(function.type_of(operand)))


def edges(function: Function) -> Iterator[Edge]:
    """Yield an edge for each use of a value; a value that is used twice by a node gives one."""
    homes = {name: name for name in (*function.inputs, *(constant.name for constant in function.constants))}
    for index, node in enumerate(function.nodes):
        key = _key(index, node)
        homes.update(dict.fromkeys(node.outputs, key))
        for operand in dict.fromkeys(node.inputs):
            if not is_literal(operand):
                yield Edge(homes[operand], key, operand)
    for index, operand in enumerate(function.outputs):
        if not is_literal(operand):
            yield Edge(homes[operand], f"={index}", operand)


def _key(index: int, node: Node) -> str:
    return node.outputs[0] if node.outputs else f"@{index}"

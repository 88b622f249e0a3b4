"""What the bodies of loops and branches, and what they take, are called in the model.

JAX does not pass these names on. But the model's line of a node ends in the function that it stands in, and constants
of a body are values of the function around it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..ir.node import Node
from ..ir.ops import Cond, CustomJvp, Scan, While
from ..ir.program import Function, Program
from ..ir.types import TensorType, is_literal

__all__ = ["input_names", "written_name"]

_GENERIC = re.compile(r"(body|cond|branch_[0-9]+)(_[0-9]+)?")
_NAMELESS = re.compile(r"[vxc][0-9]+")
_WITHIN = re.compile(r"\(([A-Za-z][A-Za-z0-9_]*)\)$")


def written_name(function: Function) -> str:
    """Return what a body or branch is called in the model, if all its nodes stand in one function; else its name."""
    if not _GENERIC.fullmatch(function.name):
        return function.name
    found = {match and match[1] for match in (_WITHIN.search(node.source) for node in function.nodes)}
    (name,) = found if len(found) == 1 else (None,)
    return name or function.name


def input_names(program: Program) -> dict[str, dict[str, str]]:
    """Return names for inputs of bodies and branches, by function: those of the values that all callers pass there.

    A carry has the name of the value that it starts with. What is the only input of a function is ``x``, and a tangent
    has the name of what it belongs to, with ``_dot`` behind it.
    """
    names: dict[str, dict[str, str]] = {function.name: {} for function in program.functions}
    starts: dict[str, set[str]] = {function.name: set() for function in program.functions}
    for function in program.functions:
        outer = names[function.name]
        for node in function.nodes:
            for callee, constants, carry in _passed(node):
                inputs = program.function(callee).inputs
                starts[callee].update(inputs[len(constants) : len(constants) + len(carry)])
                for given, operand in zip(inputs, (*constants, *carry), strict=False):
                    name = "" if is_literal(operand) else outer.get(operand, operand)
                    if names[callee].setdefault(given, name) != name or _NAMELESS.fullmatch(name):
                        names[callee][given] = ""
    for function in program.functions:
        if function.name != program.entry and len(function.inputs) == 1 and _NAMELESS.fullmatch(function.inputs[0]):
            names[function.name] = {function.inputs[0]: names[function.name].get(function.inputs[0]) or "x"}
    _name_tangents(program, names)
    return {function: _distinct(found, starts[function]) for function, found in names.items()}


def _name_tangents(program: Program, names: dict[str, dict[str, str]]) -> None:
    for node in (node for function in program.functions for node in function.nodes):
        if isinstance(node, CustomJvp) and not node.cases:
            function, rule = program.function(node.function), program.function(node.jvp)
            primals, tangents = rule.inputs[: len(function.inputs)], rule.inputs[len(function.inputs) :]
            found = {
                given: names[function.name].get(name) or given
                for given, name in zip(primals, function.inputs, strict=True)
            }
            moving = [given for given, kind in zip(primals, function.types, strict=True) if _is_inexact(kind)]
            found |= {tangent: f"{found[given]}_dot" for tangent, given in zip(tangents, moving, strict=False)}
            names[rule.name] = found


def _is_inexact(kind: str) -> bool:
    return TensorType.parse(kind).is_inexact


def _distinct(names: dict[str, str], starts: set[str]) -> dict[str, str]:
    """Return the names that only one input has; a constant has more right to one than a carry."""
    constants = [name for given, name in names.items() if given not in starts]
    return {
        given: name
        for given, name in names.items()
        if name and (constants if given not in starts else [*names.values()]).count(name) == 1
    }


def _passed(node: Node) -> Iterator[tuple[str, Sequence[str], Sequence[str]]]:
    """Yield the bodies and branches of a node, what they take as it is, and what their carry starts with."""
    match node:
        case Cond():
            for branch in node.branches:
                yield branch, node.inputs[1:], ()
        case Scan():
            end = node.num_consts + node.num_carry
            yield node.body, node.inputs[: node.num_consts], node.inputs[node.num_consts : end]
        case While():
            split, first = node.cond_nconsts, node.cond_nconsts + node.body_nconsts
            yield node.cond, node.inputs[:split], node.inputs[first:]
            yield node.body, node.inputs[split:first], node.inputs[first:]

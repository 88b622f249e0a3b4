"""Products with a derivative rule of their own, as event-driven and sparse operations have: what they compute.

A rule may say that a result depends on the data in another way than the computation does, such as through a surrogate
of a spike. If it says of the weight only that the result is linear in it, the computation itself is the derivative with
respect to the weight, and a trace can be made of its parts.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

from ...ir.node import Node
from ...ir.ops import ConvertElementType, CustomJvp, DotGeneral, Gather, Scatter
from ...ir.program import Function, Program
from ...ir.types import is_literal, literal_array
from ..dataflow.reachability import reached
from ..inline import inline_calls

__all__ = ["product_behind_rule"]


def product_behind_rule(node: Node, weight: int, data: int, program: Program) -> Literal["dot", "sum"] | None:
    """Return which product a node with a derivative rule computes, if it is linear in the weight.

    Parameters
    ----------
    node : Node
    weight, data : int
        Places of the weight and of the data among the operands; the others do not change with time.
    program : Program

    Returns
    -------
    str or None
        ``dot``: one ``dot_general``. ``sum``: products of elements that are summed afterwards, each weight in one
        product, and each product in at most one sum.
    """
    if not isinstance(node, CustomJvp) or len(node.outputs) != 1 or not _is_linear(node, weight, program):
        return None
    body = inline_calls(program.function(node.function), program, keep_rules=False)
    seen = reached(body, {body.inputs[data]: 1}).keys()
    last = body.producers.get(body.outputs[0])
    if isinstance(last, DotGeneral) and body.inputs[weight] in last.inputs:
        (x,) = (operand for operand in last.inputs if operand != body.inputs[weight])
        return "dot" if x == body.inputs[data] else None
    return "sum" if _is_sum(body, body.inputs[weight], body.inputs[data], seen) else None


def _is_linear(node: CustomJvp, weight: int, program: Program) -> bool:
    """Whether the rule takes a tangent of the weight through the function itself, and adds what it makes of others."""
    if node.cases or node.closed_over:
        return False
    rule, function = program.function(node.jvp), program.function(node.function)
    primals = rule.inputs[: len(node.inputs)]
    inexact = [place for place, name in enumerate(function.inputs) if function.type_of(name).is_inexact]
    if weight not in inexact:
        return False
    name = rule.inputs[len(primals) + inexact.index(weight)]
    operands = tuple(name if place == weight else primal for place, primal in enumerate(primals))
    uses = rule.users.get(name, ())
    if len(uses) != 1 or not isinstance(uses[0], CustomJvp) or uses[0].inputs != operands:
        return False
    if (uses[0].function, uses[0].jvp) != (node.function, node.jvp):
        return False
    name = uses[0].outputs[0]
    while name != rule.outputs[1]:
        uses = rule.users.get(name, ())
        if len(uses) != 1 or uses[0].op not in ("add", "add_any") or uses[0].inputs.count(name) != 1:
            return False
        name = uses[0].outputs[0]
    return name not in rule.users


def _is_data(body: Function, name: str, data: str, seen: Collection[str]) -> bool:
    """Whether a value is the data, converted, compared with zero, or moved: one where the data is one."""
    while name != data:
        node = body.producers.get(name)
        if node is None or node.inputs[0] not in seen or any(operand in seen for operand in node.inputs[1:]):
            return False
        moves = isinstance(node, Gather) or (node.traits.structural and len(node.inputs) == 1)
        if not (moves or isinstance(node, ConvertElementType) or _is_event(node)):
            return False
        name = node.inputs[0]
    return True


def _is_event(node: Node) -> bool:
    """Whether a node says where its operand is positive, or not zero."""
    return node.op in ("gt", "ne") and is_literal(node.inputs[1]) and not literal_array(node.inputs[1]).any()


def _is_sum(body: Function, weight: str, data: str, seen: Collection[str]) -> bool:
    name, multiplied = weight, False
    while True:
        uses = body.users.get(name, ())
        if len(uses) != 1 or uses[0].inputs.count(name) != 1 or len(uses[0].outputs) != 1:
            return False
        (node,) = uses
        if node.op == "mul" and not multiplied:
            (other,) = (operand for operand in node.inputs if operand != name)
            multiplied = body.type_of(name).size == body.type_of(node.outputs[0]).size and _is_data(
                body, other, data, seen
            )
            if not multiplied:
                return False
        elif node.op == "reduce_sum" or isinstance(node, Scatter):
            return multiplied and node.outputs == body.outputs and _adds(node, name, seen, body)
        elif not _moves_each(node, name, body):
            return False
        name = node.outputs[0]


def _moves_each(node: Node, name: str, body: Function) -> bool:
    if not node.traits.structural or len(node.inputs) != 1:
        return False
    return body.type_of(node.outputs[0]).size == body.type_of(name).size


def _adds(node: Node, name: str, seen: Collection[str], body: Function) -> bool:
    if not isinstance(node, Scatter):
        return True
    start, places, added = node.inputs
    if node.op != "scatter_add" or added != name or places in seen:
        return False
    zeros = body.producers.get(start)
    if zeros is None or zeros.op != "broadcast_in_dim" or not is_literal(zeros.inputs[0]):
        return False
    return not literal_array(zeros.inputs[0]).any()

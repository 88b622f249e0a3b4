"""Kinds of weight operations, by what the node does in which a weight meets data."""

from __future__ import annotations

from typing import Literal

from ...ir.node import Node
from ...ir.ops import CustomJvp, CustomVjp, DotGeneral
from ...ir.program import Function, Program
from ...ir.types import TensorType
from ..inline import inline_calls

__all__ = ["Kind", "weight_kind"]

Kind = Literal[
    "dense", "grouped", "einsum", "conv", "lora", "embedding", "elementwise", "bias", "sparse", "event", "custom",
    "other",
]  # fmt: skip
"""What each is: :class:`~brainir.analysis.HiddenParamOpRelation`."""

_KIND_OF: dict[str, Kind] = {"conv_general_dilated": "conv", "dynamic_slice": "embedding", "gather": "embedding"}


def weight_kind(node: Node, weight: str, function: Function, program: Program) -> Kind:
    """Name the kind of a weight operation that mixes positions.

    Parameters
    ----------
    node : Node
    weight : str
        The operand that is made of parameters.
    function : Function
        The function that the node is in.
    program : Program
        Holds the functions of a node with a derivative rule.
    """
    if isinstance(node, DotGeneral):
        (left, _), (batch, _) = node.dimension_numbers
        if batch:
            return "grouped"
        return "dense" if len(left) == 1 and function.type_of(weight).ndim == 2 else "einsum"
    if isinstance(node, CustomJvp | CustomVjp):
        return _custom_kind(node, weight, program)
    return _KIND_OF.get(node.op, "other")


def _custom_kind(node: CustomJvp | CustomVjp, weight: str, program: Program) -> Kind:
    """Name the kind of an operation with a derivative rule of its own, by what its function does with the weight.

    Products of sparse matrices are written so (brainevent's, and those of ``jax.experimental.sparse``), and the
    embedding of brainstate.
    """
    body = inline_calls(program.function(node.function), program, keep_rules=False)
    if any(each.op == "scatter_add" and TensorType.parse(each.types[0]).is_inexact for each in body.nodes):
        return "sparse"
    inside = body.inputs[node.inputs.index(weight)]
    users = body.users.get(inside, ())
    picked = bool(users) and all(_KIND_OF.get(user.op) == "embedding" and user.inputs[0] == inside for user in users)
    return "embedding" if picked else "custom"

"""Linear solves in generated source, of which some have another transpose than JAX would derive."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from ..ir.node import Node
from ..ir.ops import CustomJvp, CustomLinearSolve
from ..ir.program import Function
from ..ir.sharing import reachable_functions
from .expressions import Apply, Expression, FunctionOf, Name, Tuple
from .rules import expression_of
from .rules.registry import Types, as_operands

__all__ = ["source_expression"]


def source_expression(node: Node, types: Types, table: Mapping[str, Function]) -> Expression:
    """Return the JAX call that a node is in generated source."""
    if isinstance(node, CustomLinearSolve) and node.vecmat and _has_rules(node.matvec, table):
        return _with_transpose(node)
    return expression_of(node, types)


def _has_rules(name: str, table: Mapping[str, Function]) -> bool:
    """Whether a function runs one with a derivative rule, which JAX leaves out of what it transposes."""
    reached = reachable_functions(table, name)
    return any(isinstance(node, CustomJvp) for function in reached for node in function.nodes)


def _with_transpose(node: CustomLinearSolve) -> Expression:
    functions = [FunctionOf(name) for name in (node.matvec, node.vecmat, node.solve, node.transpose_solve) if name]
    *ends, last = itertools.accumulate(node.const_lengths)
    operands = as_operands(node.inputs)
    constants = [Tuple(operands[first:end]) for first, end in zip((0, *ends), (*ends, last), strict=True)]
    arguments = Tuple(tuple(functions)), Tuple(tuple(constants)), Tuple(operands[last:])
    return Apply(Name("prelude.solve_with_transpose"), arguments)

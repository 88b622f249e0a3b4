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

__all__ = ["WITH_TRANSPOSE", "source_expression"]

WITH_TRANSPOSE = '''
def _solve_with_transpose(functions, constants, vector):
    """Run lax.custom_linear_solve with a product of the transpose that is given; alone, it would derive that."""
    solve = jax.make_jaxpr(lambda x: lax.custom_linear_solve(lambda y: y, x, lambda _, y: y))(jnp.float32(0)).eqns[0]
    traced = [jax.make_jaxpr(function)(*own, *vector) for function, own in zip(functions, constants)]
    jaxprs = type(solve.params["jaxprs"])(*traced)
    lengths = type(solve.params["const_lengths"])(*map(len, constants))
    operands = [operand for own in constants for operand in own]
    return solve.primitive.bind(*operands, *vector, const_lengths=lengths, jaxprs=jaxprs)
'''
"""A function of generated modules; what it needs of JAX has no public name."""


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
    return Apply(Name("solves.with_transpose"), arguments)

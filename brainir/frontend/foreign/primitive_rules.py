"""Tracing of what computes a primitive of another package, and of its derivative rules.

Like :mod:`..jax_compat`, it reads what JAX may rename or move between versions.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..jax_compat import Equation, moves, spec_of
from ..jax_rules import avals, operand_specs, rule_specs, with_float0
from ..tracing import make_jaxpr
from ..weak_types import as_weak_as
from .implementations import implementation

__all__ = [
    "solve_linear",
    "trace_implementation_jvp",
    "trace_primitive",
    "trace_primitive_jvp",
    "trace_primitive_jvp_case",
]


def trace_primitive(equation: Equation) -> Any:
    """Trace the implementation of a primitive that is defined outside JAX.

    Raises
    ------
    Exception
        Whatever the implementation raises when it cannot be traced.
    """
    compute = implementation(equation)

    def run(*operands: Any) -> list[Any]:
        found = compute(*operands)
        results = found if equation.primitive.multiple_results else [found]
        return [as_weak_as(result, var.aval) for result, var in zip(results, equation.outvars, strict=True)]

    return make_jaxpr(run)(*operand_specs(equation))


def trace_primitive_jvp(equation: Equation) -> Any:
    """Trace the derivative rule of a primitive: operands and inexact tangents to results and inexact tangents.

    Raises
    ------
    NotImplementedError
        If the primitive has no such rule.
    """
    return _trace_jvp(equation, functools.partial(equation.primitive.bind, **equation.params))


def trace_implementation_jvp(equation: Equation) -> Any:
    """Trace the derivative of a primitive's implementation; signature as in :func:`trace_primitive_jvp`.

    Raises
    ------
    Exception
        Whatever JAX or the implementation raises when it cannot be differentiated.
    """
    return _trace_jvp(equation, implementation(equation))


def trace_primitive_jvp_case(equation: Equation, perturbed: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    """Trace the derivative rule of a primitive where only some operands are perturbed; as :func:`trace_jvp_case`."""
    kinds, outputs = avals(equation)

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        def run(*moving: Any) -> list[Any]:
            operands = {**dict(enumerate(primals)), **dict(zip(perturbed, moving, strict=True))}
            results = equation.primitive.bind(*operands.values(), **equation.params)
            return list(results) if equation.primitive.multiple_results else [results]

        results, moved = jax.jvp(run, tuple(primals[place] for place in perturbed), tuple(tangents))
        return results, [tangent for tangent, kind in zip(moved, outputs, strict=True) if moves(kind)]

    closed = make_jaxpr(rule)([spec_of(kind) for kind in kinds], [spec_of(kinds[place]) for place in perturbed])
    return closed, tuple(place for place, kind in enumerate(outputs) if moves(kind))


def _trace_jvp(equation: Equation, function: Any) -> Any:
    kinds, outputs = avals(equation)

    def run(*operands: Any) -> list[Any]:
        results = function(*operands)
        return list(results) if equation.primitive.multiple_results else [results]

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        results, moved = jax.jvp(run, tuple(primals), tuple(with_float0(tangents, kinds)))
        return results, [tangent for tangent, kind in zip(moved, outputs, strict=True) if moves(kind)]

    return make_jaxpr(rule)(*rule_specs(kinds))


def solve_linear(functions: Sequence[Any], constants: Sequence[Any], vector: Any) -> Any:
    """Solve a linear system as ``jax.lax.custom_linear_solve`` does, with a product of the transpose that is given.

    Parameters
    ----------
    functions : sequence of callable
        Products of a vector with the matrix and with its transpose, and solvers of both systems. Each takes the
        constants and a vector.
    constants : sequence of array
    vector : array
        The right-hand side.
    """
    template = _template_of_solve()
    operands = [jax.ShapeDtypeStruct(kind.shape, kind.dtype) for kind in map(jax.typeof, (*constants, vector))]
    jaxprs = type(template["jaxprs"])(*(make_jaxpr(function)(*operands) for function in functions))
    lengths = type(template["const_lengths"])(*[len(constants)] * len(functions))
    (solution,) = jax.lax.linear_solve_p.bind(
        *[*constants] * len(functions), vector, const_lengths=lengths, jaxprs=jaxprs
    )
    return solution


@functools.cache
def _template_of_solve() -> Mapping[str, Any]:
    """Return the parameters of a linear solve, which are of classes that JAX does not export."""
    with jax.disable_jit(False):
        traced = make_jaxpr(lambda x: jax.lax.custom_linear_solve(lambda y: y, x, lambda _, y: y))(np.float32(0))
    return dict(traced.jaxpr.eqns[0].params)

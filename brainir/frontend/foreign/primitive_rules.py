"""Tracing of what computes a primitive of another package, and of its derivative rules.

Like :mod:`..jax_compat`, it reads what JAX may rename or move between versions.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from ..derivatives.jax_rules import avals, operand_specs
from ..jax_compat import Equation, bind, moving_places
from ..tracing import make_jaxpr
from ..weak_types import as_weak_as
from . import hijax
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
    compute = _computing(equation)

    def run(*operands: Any) -> list[Any]:
        return [as_weak_as(result, var.aval) for result, var in zip(compute(*operands), equation.outvars, strict=True)]

    return make_jaxpr(run)(*operand_specs(equation))


def trace_primitive_jvp(equation: Equation) -> Any:
    """Trace the derivative rule of a primitive: operands and inexact tangents to results and inexact tangents.

    Raises
    ------
    NotImplementedError
        If the primitive has no such rule.
    """
    held = hijax.held_by(equation)
    if held is not None and not hijax.has_rule_apart(held):
        raise NotImplementedError(f"{equation.primitive.name} has no rule for forward mode")
    return _trace_jvp(equation, functools.partial(bind, equation), moving_places(avals(equation)[0]))


def trace_implementation_jvp(equation: Equation) -> Any:
    """Trace the derivative of a primitive's implementation; signature as in :func:`trace_primitive_jvp`.

    Raises
    ------
    Exception
        Whatever JAX or the implementation raises when it cannot be differentiated.
    """
    return _trace_jvp(equation, _computing(equation), moving_places(avals(equation)[0]))


def trace_primitive_jvp_case(equation: Equation, perturbed: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    """Trace the derivative rule of a primitive where only some operands are perturbed; as :func:`trace_jvp_case`."""
    return _trace_jvp(equation, functools.partial(bind, equation), perturbed), moving_places(avals(equation)[1])


def _computing(equation: Equation) -> Callable[..., list[Any]]:
    """Return what computes the results of a primitive, as a list."""
    compute = implementation(equation)

    def run(*operands: Any) -> list[Any]:
        results = compute(*operands)
        return list(results) if equation.primitive.multiple_results else [results]

    return run


def _trace_jvp(equation: Equation, run: Callable[..., list[Any]], perturbed: Sequence[int]) -> Any:
    """Trace the derivative of a function that computes an equation, for the tangents of these operands."""
    specs, outputs = operand_specs(equation), moving_places(avals(equation)[1])

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        def of_perturbed(*moving: Any) -> list[Any]:
            operands = {**dict(enumerate(primals)), **dict(zip(perturbed, moving, strict=True))}
            return run(*operands.values())

        results, moved = jax.jvp(of_perturbed, tuple(primals[place] for place in perturbed), tuple(tangents))
        return results, [moved[place] for place in outputs]

    return make_jaxpr(rule)(specs, [specs[place] for place in perturbed])


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

"""Tracing of the rules of ``jax.custom_jvp``.

Like :mod:`.jax_rules`, it reads what JAX may rename or move between versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax

from ..jax_compat import Equation, as_closed, moves, spec_of
from ..tracing import evaluated, make_jaxpr, without_source
from .jax_rules import avals, instantiate, operand_specs, traced_again, with_float0
from .residuals import trace_forward

__all__ = ["trace_custom_jvp", "trace_jvp_case", "trace_transposed_jvp"]


def trace_custom_jvp(equation: Equation) -> Any:
    """Trace the rule of a ``custom_jvp_call``; signature as in :func:`~.primitive_rules.trace_primitive_jvp`."""
    kinds, outputs = avals(equation)
    own = equation.params["num_consts"]
    operands = kinds[own:]
    symbolic = [equation.params["symbolic_zeros"] and not moves(kind) for kind in operands]
    jaxpr, consts, zero_tangents = traced_again(equation.params["jvp_jaxpr_fun"], symbolic)
    takes_all = not own and [var.aval for var in jaxpr.invars] == [*kinds, *kinds] and all(map(moves, kinds))
    if takes_all and all(map(moves, outputs)) and not any(zero_tangents):
        return as_closed(without_source(jaxpr), consts)

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        closed_over = sum(map(moves, kinds[:own]))
        all_tangents = with_float0(tangents[closed_over:], operands)
        taken = [tangent for tangent, zero in zip(all_tangents, symbolic, strict=True) if not zero]
        results = jax.core.eval_jaxpr(jaxpr, consts, *primals[own:], *taken)
        given = iter(results[len(outputs) :])
        full = [None if zero else next(given) for zero in zero_tangents]
        moved = [instantiate(tangent, kind) for tangent, kind in zip(full, outputs, strict=True) if moves(kind)]
        return results[: len(outputs)], moved

    return make_jaxpr(rule)(operand_specs(equation), [spec_of(kind) for kind in kinds if moves(kind)])


def trace_transposed_jvp(equation: Equation, jvp: Any) -> tuple[Any, Any]:
    """Trace the rule of a ``custom_jvp_call`` as rules for reverse mode.

    Their signatures are those of :func:`~.jax_vjp_rules.trace_vjp_rules`.
    A rule that linearizes a function with ``custom_vjp`` can be transposed and nothing else: JAX has no tangents of it.

    Parameters
    ----------
    equation
    jvp : closed jaxpr
        The rule, as :func:`trace_custom_jvp` traces it.
    """
    kinds, outputs = avals(equation)
    call = equation.params["call_jaxpr"]
    function = jax.custom_jvp(lambda *operands: evaluated(call, *operands))

    @function.defjvp
    def _rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        moving = [tangent for tangent, kind in zip(tangents, kinds, strict=True) if moves(kind)]
        values = evaluated(jvp, *primals, *moving)
        return values[: len(outputs)], with_float0(values[len(outputs) :], outputs)

    structures: list[Any] = []

    def run_fwd(*operands: Any) -> list[Any]:
        results, back = jax.vjp(function, *operands)
        left, structure = jax.tree.flatten(back)
        structures.append(structure)
        return [*results, *left]

    fwd, residuals = trace_forward(run_fwd, operand_specs(equation), len(outputs))

    def run_bwd(given: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        back = jax.tree.unflatten(structures[-1], residuals.filled(given))
        returned = back(with_float0(cotangents, outputs))
        return [cotangent for cotangent, kind in zip(returned, kinds, strict=True) if moves(kind)]

    return fwd, make_jaxpr(run_bwd)(residuals.specs, [spec_of(kind) for kind in outputs if moves(kind)])


def trace_jvp_case(equation: Equation, perturbed: Sequence[int]) -> tuple[Any, tuple[int, ...]]:
    """Trace the rule of a ``custom_jvp_call`` where the tangents of the other operands are symbolic zeros.

    Returns
    -------
    closed jaxpr, tuple of int
        From operands that are not closed over, and the tangents, to results and the tangents of those that move; and
        which these are.
    """
    kinds, outputs = avals(equation)
    kinds = kinds[equation.params["num_consts"] :]
    zeros = [place not in perturbed for place in range(len(kinds))]
    jaxpr, consts, still = traced_again(equation.params["jvp_jaxpr_fun"], zeros)
    moved = [place for place, zero in enumerate(still) if not zero and moves(outputs[place])]

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[list[Any], list[Any]]:
        results = jax.core.eval_jaxpr(jaxpr, consts, *primals, *tangents)
        given = iter(results[len(outputs) :])
        full = [None if zero else next(given) for zero in still]
        return results[: len(outputs)], [full[place] for place in moved]

    closed = make_jaxpr(rule)([spec_of(kind) for kind in kinds], [spec_of(kinds[place]) for place in perturbed])
    return closed, tuple(moved)

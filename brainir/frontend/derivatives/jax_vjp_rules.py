"""Tracing of the rules of ``jax.custom_vjp``.

Like :mod:`.jax_rules`, it reads what JAX may rename or move between versions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.interpreters import ad

from ..jax_compat import Equation, moves, spec_of
from ..tracing import make_jaxpr
from .jax_rules import avals, float0, forget, instantiate, zeros
from .residuals import Residuals, trace_forward

__all__ = ["trace_vjp_case", "trace_vjp_rules"]


def trace_vjp_rules(equation: Equation, own: int) -> tuple[Any, Any]:
    """Trace the rules of a ``custom_vjp_call``, whose function closes over the first `own` operands.

    Returns
    -------
    fwd, bwd : closed jaxprs
        ``fwd`` takes the operands and returns results, then residuals; ``bwd`` takes residuals and inexact cotangents
        and returns inexact cotangents of the operands, zero for those that the user's function closed over.
    """
    kinds, outputs = avals(equation)
    symbolic = equation.params["symbolic_zeros"]
    forward, residuals = _trace_forward(
        equation, list(map(moves, kinds[own:])) if symbolic else [True] * (len(kinds) - own)
    )
    still = _symbolic_zero if symbolic else float0

    def run_bwd(given: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        values = iter(cotangents)
        full = [next(values) if moves(kind) else still(kind) for kind in outputs]
        returned = _backward(equation, own, residuals.filled(given), full)
        pairs = zip(returned, kinds[own:], strict=True)
        closed_over = [zeros(_cotangent(kind)) for kind in kinds[:own] if moves(kind)]
        return [*closed_over, *(instantiate(found, _cotangent(kind)) for found, kind in pairs if moves(kind))]

    bwd = make_jaxpr(run_bwd)(residuals.specs, [spec_of(kind) for kind in outputs if moves(kind)])
    return forward, bwd


def trace_vjp_case(
    equation: Equation, own: int, perturbed: Sequence[int], asked: Sequence[int]
) -> tuple[Any, Any, tuple[int, ...]]:
    """Trace the rules of a ``custom_vjp_call`` where only some operands are perturbed, and some cotangents not zero.

    Returns
    -------
    fwd, bwd : closed jaxprs
        As of :func:`trace_vjp_rules`, for the operands that are not closed over and the cotangents that are not zero.
    returned : tuple of int
        The operands that ``bwd`` gives a cotangent for.
    """
    kinds, outputs = avals(equation)
    seen = kinds[own:]
    forget(equation.params["fwd_jaxpr_thunk"])
    forward, residuals = _trace_forward(equation, [place in perturbed for place in range(len(seen))], own)
    returned: list[int] = []

    def run_bwd(given: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        values = iter(cotangents)
        full = [next(values) if place in asked else _symbolic_zero(kind) for place, kind in enumerate(outputs)]
        found = _backward(equation, own, residuals.filled(given), full)
        zeros = [cotangent is None or isinstance(cotangent, ad.Zero) for cotangent in found]
        returned[:] = [place for place, kind in enumerate(seen) if moves(kind) and not zeros[place]]
        return [found[place] for place in returned]

    bwd = make_jaxpr(run_bwd)(residuals.specs, [spec_of(outputs[place]) for place in asked])
    return forward, bwd, tuple(returned)


def _trace_forward(equation: Equation, perturbed: Sequence[bool], first: int = 0) -> tuple[Any, Residuals]:
    """Trace a forward rule from the operands after the `first` to results and residuals that are not fixed."""
    params = equation.params
    own = params["num_consts"]
    kinds, outputs = avals(equation)
    unperturbed = [False] * (len(kinds) - own - len(perturbed))
    jaxpr, consts = params["fwd_jaxpr_thunk"].call_wrapped(*unperturbed, *perturbed)
    # A residual that is an operand is not computed: the third tree entry names the operand instead.
    forwarded = params["out_trees"]()[2]

    def run(*operands: Any) -> list[Any]:
        # It has no use for what its function closes over.
        unused = [np.zeros(kind.shape, kind.dtype) for kind in kinds[own:first]]
        computed = jax.core.eval_jaxpr(jaxpr, consts, *unused, *operands[max(own - first, 0) :])
        split = len(computed) - len(outputs)
        fresh, results = iter(computed[:split]), computed[split:]
        return [*results, *(next(fresh) if index is None else operands[index - first] for index in forwarded)]

    return trace_forward(run, [spec_of(kind) for kind in kinds[first:]], len(outputs))


def _backward(equation: Equation, own: int, residuals: Sequence[Any], cotangents: Sequence[Any]) -> Sequence[Any]:
    for store in equation.params["bwd"].stores:
        if store is not None:
            store.reset()  # what JAX before 0.10 notes of one call must be the same in the next
    returned = equation.params["bwd"].call_wrapped(*residuals, *cotangents)
    # JAX 0.12 returns the cotangents and a log.
    paired = len(returned) == 2 and isinstance(returned[0], list | tuple)
    found: Sequence[Any] = returned[0] if paired else returned
    return found[len(found) - (len(equation.invars) - own) :]  # without zeros for what the function closes over


def _symbolic_zero(kind: Any) -> Any:
    return jax.custom_derivatives.SymbolicZero(_cotangent(kind))


def _cotangent(kind: Any) -> Any:
    """Return the abstract value of the cotangent of a value."""
    return getattr(kind, "to_ct_aval", kind.to_tangent_aval)()

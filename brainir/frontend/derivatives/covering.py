"""Derivative rules for the one case that covers all that occur in a program.

A rule that asks which tangents and cotangents are zero (``symbolic_zeros=True``, or the rule of a primitive) can have
more cases than can be stored, and can refuse cases that never occur. What is stored then is the rule for all that can
be perturbed, which takes zeros for what is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
from jax import numpy as jnp

from ...ir.ops import JvpCase, VjpCase
from ..jax_compat import moves, moving_places, spec_of
from ..tracing import evaluated, make_jaxpr
from .cases import TracedRules
from .jax_jvp_rules import trace_jvp_case
from .jax_rules import avals, num_closed_over
from .jax_vjp_rules import trace_vjp_case

__all__ = ["covering_jvp", "covering_rule", "covering_vjp"]

TraceCase: TypeAlias = Callable[[Any, Sequence[int]], tuple[Any, tuple[int, ...]]]


def covering_jvp(equation: Any, perturbed: Sequence[int], asked: Sequence[int]) -> TracedRules:
    """Trace the rule of a ``custom_jvp_call`` for the tangents of these operands, whatever is asked."""
    return covering_rule(equation, perturbed, trace_jvp_case, num_closed_over(equation, perturbed))


def covering_rule(equation: Any, perturbed: Sequence[int], trace: TraceCase, own: int = 0) -> TracedRules:
    """Trace the JVP rule of an equation for the tangents of these operands; it does not see the first `own` ones."""
    seen = tuple(place - own for place in perturbed if place >= own)
    closed, moved = trace(equation, seen)
    kinds, results = avals(equation)

    def whole(primals: Sequence[Any], tangents: Sequence[Any]) -> list[Any]:
        given = dict(zip(moving_places(kinds), tangents, strict=True))
        values = evaluated(closed, *primals[own:], *(given[own + at] for at in seen))
        found = dict(zip(moved, values[len(results) :], strict=True))
        return [*values[: len(results)], *_all_moving(found, results)]

    jvp = make_jaxpr(whole)(_specs(kinds), [spec for spec in _specs(kinds) if moves(spec)])
    attributes = {"closed_over": own, "cases": (JvpCase(perturbed=seen, moved=moved),), "covering": True}
    several = {"jvps": [("jvp_covering", closed)]}
    return TracedRules({"jvp": jvp}, several, attributes, len(kinds), _others(kinds, own, seen))


def covering_vjp(equation: Any, perturbed: Sequence[int], asked: Sequence[int]) -> TracedRules:
    """Trace the rules of a ``custom_vjp_call`` for the cotangents of these results, to those of these operands."""
    own = num_closed_over(equation, perturbed)
    kinds, results = avals(equation)
    seen = tuple(place - own for place in perturbed if place >= own)
    forward, backward, returned = trace_vjp_case(equation, own, seen, asked)
    residuals = forward.out_avals[len(results) :]

    def fwd(*operands: Any) -> list[Any]:
        return evaluated(forward, *operands[own:])

    def bwd(held: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        given = dict(zip(moving_places(results), cotangents, strict=True))
        values = evaluated(backward, *held, *(given[place] for place in asked))
        return _all_moving({own + place: value for place, value in zip(returned, values, strict=True)}, kinds)

    moving = [spec for spec in _specs(results) if moves(spec)]
    whole = {"fwd": make_jaxpr(fwd)(*_specs(kinds)), "bwd": make_jaxpr(bwd)(_specs(residuals), moving)}
    case = VjpCase(perturbed=seen, asked=tuple(asked), returned=returned)
    several = {"fwds": [("fwd_covering", forward)], "bwds": [("bwd_covering", backward)]}
    attributes = {"closed_over": own, "cases": (case,), "covering": True}
    return TracedRules(whole, several, attributes, still=_others(kinds, own, seen))


def _others(kinds: Sequence[Any], own: int, seen: Sequence[int]) -> frozenset[int]:
    """Return the operands that are never perturbed."""
    return frozenset(range(len(kinds))) - {own + place for place in seen}


def _specs(kinds: Sequence[Any]) -> list[jax.ShapeDtypeStruct]:
    return [spec_of(kind) for kind in kinds]


def _all_moving(found: dict[int, Any], kinds: Sequence[Any]) -> list[Any]:
    """Return a tangent for each type that has one, zeros where none was found."""
    return [
        found[place] if place in found else jnp.zeros(kind.shape, kind.dtype)
        for place, kind in enumerate(kinds)
        if moves(kind)
    ]

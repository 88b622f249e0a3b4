"""Primitives of other packages that are linear in some operands, and have a rule to transpose them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax.custom_derivatives import linear_call
from jax.interpreters import ad

from .jax_compat import moves, spec_of
from .jax_rules import instantiate

__all__ = ["can_be_transposed", "has_transpose", "trace_with_transpose"]

# What JAX raises for a function that it cannot transpose.
_REFUSALS = (NotImplementedError, TypeError, ValueError, AssertionError)


def has_transpose(primitive: Any) -> bool:
    """Whether a primitive has a rule for cotangents of its operands."""
    return primitive in ad.primitive_transposes


def can_be_transposed(closed: Any, linear: Sequence[int]) -> bool:
    """Whether JAX can transpose a function that is linear in these operands, by the rules of what it consists of."""
    kinds = [spec_of(aval) for aval in closed.in_avals]

    def transposed(operands: Sequence[Any], cotangents: Sequence[Any]) -> Any:
        def run(*moving: Any) -> list[Any]:
            values = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *_with(operands, linear, moving))
            return [value for value, aval in zip(values, closed.out_avals, strict=True) if moves(aval)]

        return jax.linear_transpose(run, *(kinds[place] for place in linear))(list(cotangents))

    try:
        jax.make_jaxpr(transposed)(kinds, [spec_of(aval) for aval in closed.out_avals if moves(aval)])
    except _REFUSALS:
        return False
    return True


def trace_with_transpose(equation: Any, closed: Any, linear: Sequence[int]) -> Any:
    """Trace a primitive as an operation that is linear in some operands, with the transpose that its rule gives.

    What it computes was traced before. Where the results look like these operands it becomes a ``custom_linear_solve``,
    which JAX can batch; elsewhere a ``linear_call``, which it cannot. What the former is the inverse of
    is not known, and is asked for derivatives along the other operands only, which :func:`once` refuses.
    """
    kinds = [atom.aval for atom in equation.invars]
    outputs = [var.aval for var in equation.outvars]
    inexact = [place for place, kind in enumerate(outputs) if moves(kind)]

    def results(operands: Sequence[Any]) -> list[Any]:
        values: list[Any] = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *operands)
        return values

    fixed = [place for place in range(len(kinds)) if place not in linear]

    def joined(given: Sequence[Any], moving: Sequence[Any]) -> list[Any]:
        return _with(_with([None] * len(kinds), fixed, given), linear, moving)

    def forward(given: Sequence[Any], moving: Sequence[Any]) -> list[Any]:
        values = results(joined(given, moving))
        return [values[place] for place in inexact]

    def backward(given: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        known = dict(zip(inexact, cotangents, strict=True))
        full = [known.get(place, ad.Zero(kind.to_tangent_aval())) for place, kind in enumerate(outputs)]
        asked = full if equation.primitive.multiple_results else full[0]
        undefined = [ad.UndefinedPrimal(kinds[place]) for place in linear]
        rule = ad.primitive_transposes[equation.primitive]
        found = rule(asked, *joined(given, undefined), **equation.params)
        return [instantiate(found[place], kinds[place]) for place in linear]

    def run(*operands: Any) -> list[Any]:
        moving = [operands[place] for place in linear]
        given = [once(operands[place]) if moves(kinds[place]) else operands[place] for place in fixed]
        if [_kind(kinds[place]) for place in linear] == [_kind(outputs[place]) for place in inexact]:
            solve, back = (lambda _, b, part=part: part(given, b) for part in (forward, backward))
            moved = lax.custom_linear_solve(lambda x: x, moving, solve, back)
        else:
            moved = linear_call(forward, backward, given, moving)
        others = iter(moved)
        still = results(operands) if len(inexact) < len(outputs) else []
        return [next(others) if place in inexact else still[place] for place in range(len(outputs))]

    return jax.make_jaxpr(run)(*map(spec_of, kinds))


@jax.custom_jvp
def once(value: Any) -> Any:
    """Return a value along which there is no derivative.

    In a transposed operation JAX has lost the rule of the primitive, and knows none for the operands that it was not
    linear in.
    """
    return value


@once.defjvp
def _once_jvp(primals: Any, tangents: Any) -> Any:
    raise RuntimeError("what is transposed by a rule of its own is not differentiated again; differentiate it forwards")


def _kind(aval: Any) -> tuple[Any, Any]:
    return aval.shape, aval.dtype


def _with(operands: Sequence[Any], places: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """Return the operands with other values at some places."""
    changed = dict(zip(places, values, strict=True))
    return [changed.get(place, operand) for place, operand in enumerate(operands)]

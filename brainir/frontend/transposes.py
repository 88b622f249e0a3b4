"""Primitives of other packages that are linear in some operands, and have a rule to transpose them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
from jax import lax
from jax.custom_derivatives import linear_call

from .jax_compat import moves, spec_of

__all__ = ["transposed"]

Results: TypeAlias = Callable[..., list[Any]]

# What JAX raises for a function that it cannot transpose.
_REFUSALS = (NotImplementedError, TypeError, ValueError, AttributeError, AssertionError)


def transposed(equation: Any, closed: Any, linear: Sequence[int]) -> Any:
    """Return what computes a primitive, as something that JAX can transpose in these operands if there is any.

    That is what was traced of its implementation, if JAX can transpose that by the rules of what it consists of; else
    it is traced again with the transpose that the rule of the primitive gives.
    """

    def implementation(*operands: Any) -> list[Any]:
        values: list[Any] = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *operands)
        return values

    if _has_transpose(equation, implementation, linear) or not _has_transpose(equation, _bound(equation), linear):
        return closed
    return _with_transpose(equation, implementation, linear)


def _bound(equation: Any) -> Results:
    """Return a primitive as a function of its operands."""

    def results(*operands: Any) -> list[Any]:
        found = equation.primitive.bind(*operands, **equation.params)
        return list(found) if equation.primitive.multiple_results else [found]

    return results


def _transpose(equation: Any, function: Results, linear: Sequence[int]) -> Callable[..., list[Any]]:
    """Return a function of operands and cotangents of the inexact results, to those of the operands it is linear in."""
    specs = [spec_of(equation.invars[place].aval) for place in linear]

    def back(operands: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        def run(*moving: Any) -> list[Any]:
            values = function(*_with(operands, linear, moving))
            return [value for value, var in zip(values, equation.outvars, strict=True) if moves(var.aval)]

        return list(jax.linear_transpose(run, *specs)(list(cotangents)))

    return back


def _has_transpose(equation: Any, function: Results, linear: Sequence[int]) -> bool:
    operands = [spec_of(atom.aval) for atom in equation.invars]
    cotangents = [spec_of(var.aval) for var in equation.outvars if moves(var.aval)]
    try:
        jax.make_jaxpr(_transpose(equation, function, linear))(operands, cotangents)
    except _REFUSALS:
        return False
    return True


def _with_transpose(equation: Any, results: Results, linear: Sequence[int]) -> Any:
    """Trace what computes a primitive as an operation that is linear in some operands.

    Where the results look like these operands it becomes a ``custom_linear_solve``, which JAX can batch; elsewhere a
    ``linear_call``, which it cannot. What the former is the inverse of is not known, and is asked for derivatives along
    the other operands only, which :func:`once` refuses.
    """
    kinds = [atom.aval for atom in equation.invars]
    outputs = [var.aval for var in equation.outvars]
    inexact = [place for place, kind in enumerate(outputs) if moves(kind)]

    transpose = _transpose(equation, _bound(equation), linear)
    fixed = [place for place in range(len(kinds)) if place not in linear]

    def joined(given: Sequence[Any], moving: Sequence[Any]) -> list[Any]:
        return _with(_with([None] * len(kinds), fixed, given), linear, moving)

    def forward(given: Sequence[Any], moving: Sequence[Any]) -> list[Any]:
        values = results(*joined(given, moving))
        return [values[place] for place in inexact]

    def backward(given: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        return transpose(joined(given, [None] * len(linear)), cotangents)

    def run(*operands: Any) -> list[Any]:
        moving = [operands[place] for place in linear]
        given = [once(operands[place]) if moves(kinds[place]) else operands[place] for place in fixed]
        if [_kind(kinds[place]) for place in linear] == [_kind(outputs[place]) for place in inexact]:
            solve, back = (lambda _, b, part=part: part(given, b) for part in (forward, backward))
            moved = lax.custom_linear_solve(lambda x: x, moving, solve, back)
        else:
            moved = linear_call(forward, backward, given, moving)
        others = iter(moved)
        still = results(*operands) if len(inexact) < len(outputs) else []
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

"""Primitives of other packages that are linear in some operands, and have a rule to transpose them."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import jax
from jax import lax
from jax import numpy as jnp

from . import batching, jax_compat, primitive_rules
from .derivatives import UNTRACEABLE
from .jax_compat import moves, spec_of
from .rules import RULES

__all__ = ["transposed"]

Results: TypeAlias = Callable[..., list[Any]]

# What JAX raises for a function that it cannot transpose, and rules that are there to say that there is no transpose.
_REFUSALS = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError)


def transposed(equation: Any, closed: Any, linear: Sequence[int]) -> Any:
    """Return what computes a primitive, as something that JAX transposes in these operands by the primitive's own rule.

    That rule need not give the transpose of what was traced of the implementation. Where there is none, what was traced
    is left as it is, and is transposed by the rules of what it consists of.

    The results y = f(x) become the solution of a linear system, (x, y - f(x)) = (x, 0). JAX solves it by what was
    traced, and its transpose by the primitive's rule; it differentiates the system, along the operands that are not x.
    Where JAX cannot transpose what was traced, there is no system to differentiate, and :func:`once` refuses that.
    """
    transpose = _transpose(equation, _bound(equation), linear)
    if not _can_be_traced(equation, transpose):
        return closed
    kinds = [atom.aval for atom in equation.invars]
    outputs = [var.aval for var in equation.outvars]
    inexact = [place for place, kind in enumerate(outputs) if moves(kind)]

    def computed(*operands: Any) -> list[Any]:
        values: list[Any] = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *operands)
        return values

    is_system = _can_be_traced(equation, _transpose(equation, computed, linear))
    whole, parts = _vector([kinds[place] for place in linear], [outputs[place] for place in inexact])

    def run(*operands: Any) -> list[Any]:
        moving = [operands[place] for place in linear]
        fixed = list(operands)
        if not is_system:
            fixed = [once(part) if moves(kind) else part for part, kind in zip(operands, kinds, strict=True)]

        def f(x: Sequence[Any]) -> list[Any]:
            values = computed(*_with(fixed, linear, x))
            return [values[place] for place in inexact]

        def system(vector: Any) -> Any:
            x, y = parts(vector)
            return whole(x, [part - value for part, value in zip(y, f(x), strict=True)]) if is_system else vector

        def solve(_: Any, vector: Any) -> Any:
            x, y = parts(vector)
            return whole(x, _sums(f(x), y))

        def solve_transposed(_: Any, vector: Any) -> Any:
            x, y = parts(vector)
            traced = jax.make_jaxpr(transpose)(fixed, y)
            return whole(_sums(_without_rules(traced, jax.tree.leaves((fixed, y))), x), y)

        zeros = [jnp.zeros(outputs[place].shape, outputs[place].dtype) for place in inexact]
        _, moved = parts(lax.custom_linear_solve(system, whole(moving, zeros), solve, solve_transposed))
        others = iter(moved)
        still = computed(*operands) if len(inexact) < len(outputs) else []
        return [next(others) if place in inexact else still[place] for place in range(len(outputs))]

    return jax.make_jaxpr(run)(*map(spec_of, kinds))


def _without_rules(closed: Any, operands: Sequence[Any]) -> list[Any]:
    """Run a jaxpr with what computes the primitives of other packages in their place.

    What solves a linear system is never differentiated, and the rules of those would lead to more transposes.
    """
    jaxpr = jax_compat.open_jaxpr(closed)
    values = dict(zip((*jaxpr.constvars, *jaxpr.invars), (*jaxpr.consts, *operands), strict=True))

    def read(atom: Any) -> Any:
        return atom.val if jax_compat.is_literal(atom) else values[atom]

    for equation in jaxpr.equations:
        given = [read(atom) for atom in equation.invars]
        inside = _inside(equation)
        found = jax_compat.bind(equation, given) if inside is None else _without_rules(inside, given)
        values.update(zip(equation.outvars, found, strict=True))
    return [read(atom) for atom in jaxpr.outvars]


def _inside(equation: Any) -> Any:
    """Return what an equation of another package's primitive, or a nested jit with such equations, computes.

    None for others, and where that cannot be traced.
    """
    if equation.primitive.name == "jit":
        closed = equation.params["jaxpr"]
        return closed if any(map(_inside, jax_compat.open_jaxpr(closed).equations)) else None
    if not _is_foreign(equation):
        return None
    try:
        return primitive_rules.trace_primitive(equation)
    except UNTRACEABLE:
        return None


def _is_foreign(equation: Any) -> bool:
    name = equation.primitive.name
    return name not in RULES and name not in batching.RULES and primitive_rules.implementation(equation) is not None


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


def _bound(equation: Any) -> Results:
    """Return a primitive as a function of its operands."""
    return lambda *operands: jax_compat.bind(equation, operands)


def _transpose(equation: Any, function: Results, linear: Sequence[int]) -> Callable[..., list[Any]]:
    """Return a function of operands and cotangents of the inexact results, to those of the operands it is linear in."""
    specs = [spec_of(equation.invars[place].aval) for place in linear]

    def back(operands: Sequence[Any], cotangents: Sequence[Any]) -> list[Any]:
        def run(*moving: Any) -> list[Any]:
            values = function(*_with(operands, linear, moving))
            return [value for value, var in zip(values, equation.outvars, strict=True) if moves(var.aval)]

        return list(jax.linear_transpose(run, *specs)(list(cotangents)))

    return back


def _can_be_traced(equation: Any, transpose: Callable[..., list[Any]]) -> bool:
    operands = [spec_of(atom.aval) for atom in equation.invars]
    cotangents = [spec_of(var.aval) for var in equation.outvars if moves(var.aval)]
    try:
        jax.make_jaxpr(transpose)(operands, cotangents)
    except RecursionError:
        raise  # that Python's stack is full says nothing of the rule
    except _REFUSALS:
        return False
    return True


def _sums(values: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    """Return sums in which zeros of the others are left out: -0.0 plus 0.0 is 0.0."""
    return [jnp.where(other == 0, value, value + other) for value, other in zip(values, others, strict=True)]


def _vector(*kinds: Sequence[Any]) -> tuple[Callable[..., Any], Callable[[Any], list[list[Any]]]]:
    """Return what makes lists of arrays of these types one vector, and what takes it apart.

    JAX transposes a solve along a whole right-hand side only, and differentiates it where all of it has a tangent.
    """
    dtype = jnp.result_type(*(kind.dtype for each in kinds for kind in each))
    sizes = [math.prod(kind.shape) for each in kinds for kind in each]

    def whole(*lists: Sequence[Any]) -> Any:
        return lax.concatenate([part.reshape(-1).astype(dtype) for each in lists for part in each], 0)

    def parts(vector: Any) -> list[list[Any]]:
        pieces = iter(lax.split(vector, sizes))
        return [[_cast(next(pieces), kind.dtype).reshape(kind.shape) for kind in each] for each in kinds]

    return whole, parts


def _cast(value: Any, dtype: Any) -> Any:
    is_complex = jnp.issubdtype(dtype, jnp.complexfloating)
    return (value if is_complex or not jnp.iscomplexobj(value) else value.real).astype(dtype)


def _with(operands: Sequence[Any], places: Sequence[int], values: Sequence[Any]) -> list[Any]:
    """Return the operands with other values at some places."""
    changed = dict(zip(places, values, strict=True))
    return [changed.get(place, operand) for place, operand in enumerate(operands)]

"""Primitives of other packages that are linear in some operands, and have a rule to transpose them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from ..derivatives.jax_rules import avals, operand_specs
from ..jax_compat import bind, moves, moving_places, spec_of
from ..tracing import evaluated, make_jaxpr
from . import primitive_rules

__all__ = ["transposed"]

# What JAX raises for a function that it cannot transpose, and rules that are there to say that there is no transpose.
_REFUSALS = (RuntimeError, TypeError, ValueError, AttributeError, AssertionError)


def transposed(equation: Any, closed: Any, linear: Sequence[int]) -> Any:
    """Return what computes a primitive, as something that JAX transposes in these operands by the primitive's own rule.

    That rule need not give the transpose of what was traced of the implementation. Where there is none, what was traced
    is left as it is, and is transposed by the rules of what it consists of.

    The results y = f(x) become the solution of a linear system, (x, y - f(x)) = (x, 0). JAX solves it by what was
    traced, and its transpose by the primitive's rule. It differentiates the products of the system and of its transpose
    along the operands that are not x: those are written with the primitive itself, and so by its derivative rule.
    """
    back = _traced_transpose(equation, linear)
    if back is None:
        return closed
    kinds, outputs = avals(equation)
    fixed = [place for place in range(len(kinds)) if place not in linear]
    inexact = moving_places(outputs)
    whole, parts = _vector([kinds[place] for place in linear], [outputs[place] for place in inexact])

    def forwards(compute: Callable[..., Sequence[Any]], constants: Sequence[Any], x: Sequence[Any]) -> list[Any]:
        operands = dict(zip((*fixed, *linear), (*constants, *x), strict=True))
        values = compute(*(operands[place] for place in range(len(kinds))))
        return [values[place] for place in inexact]

    def product(*operands: Any) -> Any:
        x, y = parts(operands[-1])
        return whole(x, _differences(y, forwards(functools.partial(bind, equation), operands[:-1], x)))

    def product_of_transpose(*operands: Any) -> Any:
        x, y = parts(operands[-1])
        return whole(_differences(x, evaluated(back, *operands[:-1], *y)), y)

    def solve(*operands: Any) -> Any:
        x, y = parts(operands[-1])
        return whole(x, _sums(forwards(functools.partial(evaluated, closed), operands[:-1], x), y))

    def solve_transposed(*operands: Any) -> Any:
        x, y = parts(operands[-1])
        return whole(_sums(evaluated(back, *operands[:-1], *y), x), y)

    def run(*operands: Any) -> list[Any]:
        zeros = [jnp.zeros(outputs[place].shape, outputs[place].dtype) for place in inexact]
        vector = whole([operands[place] for place in linear], zeros)
        functions = product, product_of_transpose, solve, solve_transposed
        _, moved = parts(primitive_rules.solve_linear(functions, [operands[place] for place in fixed], vector))
        others = iter(moved)
        still = evaluated(closed, *operands) if len(inexact) < len(outputs) else []
        return [next(others) if place in inexact else still[place] for place in range(len(outputs))]

    return make_jaxpr(run)(*map(spec_of, kinds))


def _traced_transpose(equation: Any, linear: Sequence[int]) -> Any:
    """Trace the transpose of a primitive by its rule, from the other operands and cotangents of the inexact results.

    None if it has no such rule.
    """
    kinds, (_, outputs) = operand_specs(equation), avals(equation)
    fixed = [place for place in range(len(kinds)) if place not in linear]
    cotangents = [spec_of(kind) for kind in outputs if moves(kind)]

    def back(*operands: Any) -> list[Any]:
        given = dict(zip(fixed, operands, strict=False))

        def run(*moving: Any) -> list[Any]:
            every = {**given, **dict(zip(linear, moving, strict=True))}
            values = bind(equation, *(every[place] for place in range(len(kinds))))
            return [value for value, kind in zip(values, outputs, strict=True) if moves(kind)]

        return list(jax.linear_transpose(run, *(kinds[place] for place in linear))([*operands[len(fixed) :]]))

    try:
        return make_jaxpr(back)(*(kinds[place] for place in fixed), *cotangents)
    except RecursionError:
        raise  # that Python's stack is full says nothing of the rule
    except _REFUSALS:
        return None


def _differences(values: Sequence[Any], others: Sequence[Any]) -> list[Any]:
    return [value - other for value, other in zip(values, others, strict=True)]


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

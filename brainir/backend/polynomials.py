"""Polynomials as ``jax.lax.polynomial`` has them, for JAX before 0.12, where that is no primitive."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

__all__ = ["polynomial"]


def polynomial(x: Any, *coefficients: Any, unroll: int = 8) -> Any:
    """Evaluate a polynomial by Horner's rule; its derivative is a polynomial again.

    Parameters
    ----------
    x : array
    *coefficients : array
        That of the lowest power first. Each is a number, or has the shape of `x` but for axes of size 1.
    unroll : int
        Up to how many coefficients are written out; more are those of a loop.

    Returns
    -------
    array
        Of the shape that all have together.
    """

    @jax.custom_jvp
    def value(x: Any, *coefficients: Any) -> Any:
        return _horner(x, coefficients, unroll)

    def rule(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[Any, Any]:
        (x, *held), (dx, *moved) = primals, tangents
        along = []
        if not _is_zero(dx):
            slopes = [lax.mul(lax.full_like(each, power), each) for power, each in enumerate(held)][1:]
            along.append(lax.mul(dx, polynomial(x, *slopes, unroll=unroll)))
        if not all(map(_is_zero, moved)):
            full = [lax.full_like(of, 0) if _is_zero(by) else by for of, by in zip(held, moved, strict=True)]
            # JAX writes out the transpose of a long one, too, and before 0.10 it has none of such a loop.
            along.append(polynomial(x, *full, unroll=len(full)))
        result = value(*primals)
        return result, jnp.broadcast_to(along[0] if len(along) == 1 else lax.add(*along), result.shape)

    value.defjvp(rule, symbolic_zeros=True)
    return value(*map(jnp.asarray, (x, *coefficients)))


def _horner(x: Any, coefficients: Sequence[Any], unroll: int) -> Any:
    shape = jnp.broadcast_shapes(x.shape, *(each.shape for each in coefficients))

    def advance(total: Any, coefficient: Any) -> Any:
        return lax.add(lax.mul(total, x), coefficient)

    if unroll < len(coefficients):
        several = jnp.stack(jnp.broadcast_arrays(*reversed(coefficients)))
        zero = lax.full_like(x, 0, shape=shape)
        return lax.scan(lambda total, each: (advance(total, each), None), zero, several, unroll=unroll)[0]
    *rest, total = coefficients or (lax.full_like(x, 0),)
    for each in reversed(rest):
        total = advance(total, each)
    return jnp.broadcast_to(total, shape)


def _is_zero(tangent: Any) -> bool:
    return isinstance(tangent, jax.custom_derivatives.SymbolicZero)

"""Primitives that public functions trace to and that have no public name."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

__all__ = ["empty2", "geqp3", "geqrf"]


def empty2(dtype: Any, memory_space: Any) -> Any:
    """Return a number that nothing sets, one for all under ``jax.vmap``; JAX 0.8 has it beside ``lax.empty`` only."""
    return jax.lax.empty.__globals__["empty2_p"].bind(dtype=dtype, memory_space=memory_space)


def geqrf(matrix: Any) -> Any:
    """Return a QR decomposition as LAPACK gives it."""
    return _primitive("geqrf", _raw)(matrix)


def geqp3(matrix: Any, pivots: Any, use_magma: bool | None) -> Any:
    """Return a QR decomposition with pivots as LAPACK gives it."""
    return _primitive("geqp3", _pivoted)(matrix, pivots, use_magma=use_magma)


def _raw(matrix: Any) -> Any:
    return jnp.linalg.qr(matrix, mode="raw")


def _pivoted(matrix: Any) -> Any:
    return jax.scipy.linalg.qr_multiply(matrix, matrix, pivoting=True)


@functools.cache
def _primitive(name: str, function: Callable[[Any], Any]) -> Any:
    """Return what binds a primitive that a function of a matrix traces to."""
    traced = jax.make_jaxpr(function)(np.eye(2, dtype=np.float32))
    return next(equation.primitive for equation in _equations(traced.jaxpr) if equation.primitive.name == name).bind


def _equations(jaxpr: Any) -> Iterator[Any]:
    for equation in jaxpr.eqns:
        yield equation
        for held in equation.params.values():
            if hasattr(held, "jaxpr"):
                yield from _equations(held.jaxpr)

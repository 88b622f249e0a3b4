"""Backward rules that give cotangents of another type than the operands have, such as a number."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import brainir
from tests.compare import assert_same_bits

X = jnp.array([0.5, -2.0, 3.0])
W = jnp.array([1.5, 0.25, -1.0], jnp.bfloat16)


@jax.custom_vjp
def mixed(x: Any, w: Any) -> Any:
    return jnp.sin(x) * w.astype(jnp.float32)


mixed.defvjp(lambda x, w: (mixed(x, w), x), lambda x, ct: (ct * jnp.cos(x) * 1.1, ct * jnp.sin(x) / 3))


@jax.custom_vjp
def scaled(x: Any, scale: Any) -> Any:
    return jnp.sum(x) * scale


scaled.defvjp(lambda x, scale: (scaled(x, scale), (x, scale)), lambda given, ct: (ct * given[1] * given[0], 0))


def gradient(fn: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(jax.grad(lambda *operands: jnp.sum(fn(*operands) ** 2), argnums=(0, 1)))


@pytest.mark.parametrize(("fn", "operands"), [(mixed, (X, W)), (scaled, (X, 0.75))])
def test_cotangents_keep_the_types_that_the_rule_gives_them(fn: Callable[..., Any], operands: tuple[Any, ...]) -> None:
    program = brainir.loads(brainir.dumps(brainir.lower(fn, *operands)))
    scope: dict[str, Any] = {}
    exec(brainir.to_source(program), scope)
    expected = gradient(fn)(*operands)
    for regenerated in (brainir.to_callable(program), scope[program.entry]):
        found = gradient(regenerated)(*operands)
        assert [value.dtype for value in found] == [value.dtype for value in expected]
        assert_same_bits(found, expected)
        assert brainir.fingerprint(brainir.lower(regenerated, *operands)) == brainir.fingerprint(program)

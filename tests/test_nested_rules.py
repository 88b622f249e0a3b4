"""Second derivatives of functions with derivative rules in each other, in control flow and in transformed functions."""

from collections.abc import Callable
from random import Random
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from jax import lax

import brainir
from tests.compare import assert_same_bits

X, Y = jnp.array([0.3, -0.7, 1.1]), jnp.array([0.9, 0.2, -0.4])
WEIGHTS = jnp.array([0.3, 0.6, 0.9])

Binary = Callable[[Any, Any], Any]


def product(x: Any, y: Any) -> Any:
    return jnp.tanh(x) * y


def ruled_forward(inner: Binary) -> Binary:
    """Give a function a JVP rule that is not its derivative, calls the function, and closes over an array."""
    made = jax.custom_jvp(inner)
    made.defjvp(lambda xs, ts: (made(*xs), ts[0] * jnp.exp(-(xs[0] ** 2)) * WEIGHTS + ts[1] * inner(xs[0], xs[0])))
    return made


def ruled_for_zeros(inner: Binary) -> Binary:
    """Give a function a JVP rule that does another thing where a tangent is a symbolic zero."""
    made = jax.custom_jvp(inner)

    def rule(xs: Any, ts: Any) -> Any:
        moved = [
            1.5 * t * x for t, x in zip(ts, xs, strict=True) if not isinstance(t, jax.custom_derivatives.SymbolicZero)
        ]
        return inner(*xs), sum(moved, jnp.zeros_like(xs[0]))

    made.defjvp(rule, symbolic_zeros=True)
    return made


def ruled_backward(inner: Binary) -> Binary:
    """Give a function rules for reverse mode that are not its derivative, with an argument that is no array."""

    def whole(power: int, x: Any, y: Any) -> Any:
        return inner(x, y) * x**power

    made = jax.custom_vjp(whole, nondiff_argnums=(0,))
    made.defvjp(
        lambda power, x, y: (made(power, x, y), (x, y)),
        lambda power, res, ct: (ct * power / (1 + res[0] ** 2), ct * inner(*res)),
    )
    return lambda x, y: made(2, x, y)


RULED = (ruled_forward, ruled_for_zeros, ruled_backward)
AROUND: tuple[Callable[[Binary], Binary], ...] = (
    jax.jit,
    jax.checkpoint,
    lambda fn: lambda x, y: lax.scan(lambda c, i: (fn(c, y + i) * 0.5 + x, c), x, jnp.arange(2.0))[0],
    lambda fn: lambda x, y: lax.cond(x.sum() > 0, fn, jnp.multiply, x, y),
    lambda fn: lambda x, y: lax.fori_loop(0, 2, lambda _, c: fn(c, y), x),
    lambda fn: lambda x, y: jax.vmap(fn, (0, None))(jnp.stack([x, 2 * x]), y).sum(0),
    lambda fn: lambda x, y: fn(fn(x, y), y),
)


def nest(random: Random) -> Binary:
    """Return a function with rules, two deep, each in something else."""
    fn: Binary = product
    for _ in range(2):
        fn = random.choice(AROUND)(random.choice(RULED)(fn))
    return fn


def total(fn: Binary) -> Binary:
    return lambda x, y: jnp.sum(jnp.sin(fn(x, y)))


SECOND: dict[str, Callable[[Binary], Callable[[], Any]]] = {
    "hessian": lambda fn: lambda: jax.hessian(total(fn), (0, 1))(X, Y),
    "grad of grad": lambda fn: lambda: jax.grad(lambda y: jnp.sum(jax.grad(total(fn))(X, y) ** 2))(Y),
    "jacfwd of jacrev": lambda fn: lambda: jax.jacfwd(jax.jacrev(fn, 1))(X, Y),
    "jvp of vjp": lambda fn: lambda: jax.jvp(lambda x: jax.vjp(fn, x, Y)[1](Y), (X,), (Y,)),
    "vmap of hessian": lambda fn: lambda: jax.vmap(jax.hessian(total(fn)))(jnp.stack([X, Y]), jnp.stack([Y, X])),
}


def outcome(derivative: Callable[[], Any]) -> Any:
    """Return a derivative, or that JAX has none: forward mode through rules for reverse mode."""
    try:
        return jax.jit(derivative)()
    except (TypeError, ValueError):
        return None


@pytest.mark.parametrize("seed", range(6))
def test_second_derivatives_through_rules_in_rules_are_those_of_the_original(seed: int) -> None:
    random = Random(seed)
    fn = nest(random)
    ours = brainir.to_callable(brainir.loads(brainir.dumps(brainir.lower(fn, X, Y))))
    for derive in (SECOND["grad of grad"], random.choice([*SECOND.values()])):
        got, wanted = outcome(derive(ours)), outcome(derive(fn))
        assert (got is None) == (wanted is None)
        assert_same_bits(got, wanted)

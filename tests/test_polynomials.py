"""Polynomials that JAX 0.12 stores as one primitive, under every JAX: Horner's rule, and so their derivatives."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.backend.prelude import prelude
from brainir.ir.interface import Argument, Interface
from brainir.ir.ops import Polynomial
from brainir.ir.program import Function, Program
from brainir.ir.trees import LeafTree
from tests.compare import assert_same_bits

X = jnp.array([0.3, -1.2, 2.0])
COEFFICIENTS = (jnp.float32(0.7), X[::-1], jnp.float32(-0.4), X + 0.5, jnp.float32(1.5))


def horner(x: Any, coefficients: Sequence[Any]) -> Any:
    total = coefficients[-1]
    for each in coefficients[-2::-1]:
        total = total * x + each
    return total


def slopes(coefficients: Sequence[Any]) -> list[Any]:
    return [power * each for power, each in enumerate(coefficients)][1:]


def program(unroll: int | None) -> Program:
    """Return a program of a polynomial, as JAX 0.12 writes it."""
    names = ("x", *(f"c{power}" for power in range(len(COEFFICIENTS))))
    types = tuple("f32[3]" if value.ndim else "f32[]" for value in (X, *COEFFICIENTS))
    node = Polynomial(inputs=names, outputs=("y",), types=("f32[3]",), unroll=unroll)
    function = Function(name="value", inputs=names, types=types, nodes=(node,), outputs=("y",))
    arguments = tuple(Argument(name=name, tree=LeafTree()) for name in names)
    interface = Interface(kind="function", arguments=arguments, result=LeafTree())
    return Program(entry="value", interface=interface, functions=(function,))


def emitted(form: str, unroll: int | None) -> Callable[..., Any]:
    if form == "written out":  # also where JAX has the primitive
        return lambda *values: prelude.polynomial(*values, **({} if unroll is None else {"unroll": unroll}))
    if form == "callable":
        return brainir.to_callable(program(unroll))
    module: dict[str, Any] = {}
    exec(brainir.to_source(program(unroll)), module)
    return module["value"]


@pytest.mark.parametrize("unroll", [None, 2])
@pytest.mark.parametrize("form", ["callable", "source", "written out"])
def test_a_polynomial_is_horners_rule_and_its_derivatives_are_polynomials(form: str, unroll: int | None) -> None:
    ours, first = emitted(form, unroll), slopes(COEFFICIENTS)

    def moved(x: Any) -> Any:
        return ours(x, *COEFFICIENTS)

    def along(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
        return lambda x: jax.jvp(f, (x,), (jnp.ones_like(x),))[1]

    assert_same_bits(jax.jit(moved)(X), jax.jit(horner)(X, COEFFICIENTS))
    assert_same_bits(jax.jit(along(moved))(X), jax.jit(horner)(X, first))
    assert_same_bits(jax.jit(along(along(moved)))(X), jax.jit(horner)(X, slopes(first)))
    assert_same_bits(jax.jit(jax.grad(lambda x: moved(x).sum()))(X), jax.jit(horner)(X, first))
    assert_same_bits(jax.jit(jax.vmap(moved))(jnp.stack([X, X])), jnp.stack([jax.jit(moved)(X)] * 2))


@pytest.mark.parametrize("unroll", [None, 2])
@pytest.mark.parametrize("form", ["callable", "source", "written out"])
def test_a_polynomial_is_linear_in_its_coefficients(form: str, unroll: int | None) -> None:
    ours = emitted(form, unroll)
    gradients = jax.grad(lambda *values: ours(*values).sum(), range(1, 6))(X, *COEFFICIENTS)
    for power, (gradient, coefficient) in enumerate(zip(gradients, COEFFICIENTS, strict=True)):
        wanted = np.float64(X) ** power
        np.testing.assert_allclose(gradient, wanted if coefficient.ndim else wanted.sum(), rtol=1e-5)


def test_operands_that_do_not_move_have_no_part_in_a_derivative() -> None:
    x = jnp.array([np.inf])
    assert (
        jax.jvp(lambda c: prelude.polynomial(x, c, jnp.float32(0.0)), (jnp.float32(1.0),), (jnp.float32(0.0),))[1] != 0
    )
    slope = jax.jvp(lambda x: prelude.polynomial(x, jnp.float32(1.0), jnp.float32(2.0)), (x,), (jnp.ones(1),))[1]
    np.testing.assert_array_equal(slope, [2.0])

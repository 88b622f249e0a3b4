"""The first node at which two programs have different values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

X = jnp.asarray([0.1, -0.4, 0.9], dtype=jnp.float32)


def lower(fn: Callable[..., Any], *args: Any) -> brainir.Program:
    return brainir.lower(fn, *(args or (X,)))


def test_equal_programs_do_not_diverge() -> None:
    program = lower(lambda x: jnp.sin(x) * 2)
    assert brainir.first_divergence(program, program, X) is None
    nan = jnp.full(3, jnp.nan, dtype=jnp.float32)
    assert brainir.first_divergence(program, program, nan) is None


def test_the_first_node_whose_values_differ_is_named_with_both_values() -> None:
    old = lower(lambda x: jnp.tanh(jnp.sin(x) * 0.5) + 1)
    new = lower(lambda x: jnp.tanh(jnp.sin(x) * 0.25) + 1)
    found = brainir.first_divergence(old, new, X)
    assert found is not None
    assert "mul" in found.first
    assert "mul" in found.second
    np.testing.assert_allclose(found.first_value, jnp.sin(X) * 0.5, rtol=1e-6)
    np.testing.assert_allclose(found.second_value, jnp.sin(X) * 0.25, rtol=1e-6)
    assert found.max_abs_difference == pytest.approx(float(jnp.max(jnp.abs(jnp.sin(X) * 0.25))), rel=1e-6)
    assert "<lambda>" in found.first_source
    assert str(found).startswith("the values part in ")


def test_an_inserted_node_shows_where_it_is_used_first() -> None:
    old, new = lower(lambda x: jnp.tanh(x + 1) * 2), lower(lambda x: jnp.tanh(jnp.square(x + 1)) * 2)
    found = brainir.first_divergence(old, new, X)
    assert found is not None
    assert "tanh" in found.first
    assert "tanh" in found.second


def test_tolerances_pass_over_small_differences() -> None:
    old, new = lower(lambda x: x * 0.5), lower(lambda x: x * 0.50001)
    assert brainir.first_divergence(old, new, X) is not None
    assert brainir.first_divergence(old, new, X, rtol=1e-3) is None
    assert brainir.first_divergence(old, new, X, atol=1e-3) is None


def test_a_value_that_is_returned_in_place_of_another_is_named() -> None:
    old, new = lower(lambda x: (jnp.sin(x), jnp.cos(x))), lower(lambda x: (jnp.sin(x), jnp.sin(x) * 1))
    found = brainir.first_divergence(old, new, X)
    assert found is not None
    np.testing.assert_array_equal(found.first_value, jnp.cos(X))


def test_calls_and_custom_rules_are_entered() -> None:
    def build(gain: float) -> brainir.Program:
        @jax.custom_jvp
        def spike(x: Any) -> Any:
            return jnp.where(x * gain > 0.2, 1.0, 0.0)

        @spike.defjvp
        def spike_jvp(primals: Any, tangents: Any) -> Any:
            return spike(*primals), tangents[0]

        def inner(x: Any) -> Any:
            return spike(x) + 1

        return lower(lambda x: jax.jit(inner)(x) * 3)

    found = brainir.first_divergence(build(0.1), build(2.0), X)
    assert found is not None
    assert found.trail[1:] == ("inner", "spike")
    assert "mul" in found.first


def test_the_iteration_of_a_scan_is_named() -> None:
    def build(limit: int) -> brainir.Program:
        def body(carry: Any, x: Any) -> Any:
            count, total = carry
            total = jnp.where(count < limit, total + x, total * 0.5)
            return (count + 1, total), total

        return lower(lambda xs: jax.lax.scan(body, (0, jnp.float32(0)), xs), jnp.ones(6))

    found = brainir.first_divergence(build(3), build(4), jnp.ones(6))
    assert found is not None
    assert found.trail[1] == "iteration 3 of 6"
    assert "lt" in found.first
    assert not found.first_value
    assert found.second_value


def test_the_iteration_of_a_while_and_the_branch_of_a_cond_are_named() -> None:
    def build(gain: float) -> brainir.Program:
        def body(carry: Any) -> Any:
            count, x = carry
            return count + 1, jax.lax.cond(count == 2, lambda x: x * gain, lambda x: x + 1, x)

        return lower(lambda x: jax.lax.while_loop(lambda carry: carry[0] < 5, body, (0, x)))

    found = brainir.first_divergence(build(2.0), build(3.0), X)
    assert found is not None
    assert found.trail[1] == "iteration 2"
    assert "mul" in found.first
    np.testing.assert_array_equal(found.second_value, (X + 2) * 3)


def test_states_of_a_step_are_taken_as_its_callable_takes_them() -> None:
    def build(decay: float) -> brainir.Program:
        def step(params: Any, hidden: Any, x: Any) -> Any:
            h = decay * hidden["h"] + x @ params["w"]
            return {"h": h}, jnp.tanh(h)

        return brainir.lower_step(step, *arguments)

    arguments = ({"w": jnp.ones((3, 2))}, {"h": jnp.ones(2)}, X)
    found = brainir.first_divergence(build(0.5), build(0.75), *arguments)
    assert found is not None
    np.testing.assert_array_equal(found.first_value, [0.5, 0.5])
    np.testing.assert_array_equal(found.second_value, [0.75, 0.75])
    with pytest.raises(brainir.BrainIRError, match="hidden"):
        brainir.first_divergence(build(0.5), build(0.75), arguments[0], {}, X)


def test_keys_and_narrow_floats_are_compared() -> None:
    def build(fold: int) -> brainir.Program:
        return lower(lambda key, x: (jax.random.fold_in(key, fold), x * fold), *arguments)

    arguments = (jax.random.key(0), jnp.ones(2, jnp.bfloat16))
    found = brainir.first_divergence(build(1), build(2), *arguments)
    assert found is not None
    assert "random_fold_in" in found.first
    assert brainir.first_divergence(build(1), build(1), *arguments) is None

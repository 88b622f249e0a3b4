"""Online gradients against reverse differentiation of models written by hand."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

from .online_models import ONLINE_MODELS, OnlineModel, loss, plain_step, reference_gradients

STEPS = 50


def _learned(case: OnlineModel, dtype: Any, **options: Any) -> Any:
    params, hidden = case.start(dtype)
    xs = case.inputs(STEPS, dtype)
    step = plain_step(case)
    out = jax.eval_shape(step, params, hidden, xs[0])[1]
    targets = jnp.asarray(np.random.default_rng(3).normal(0, 1, (STEPS, *out.shape)), dtype)
    learner = brainir.compile_learner(brainir.lower_step(step, params, hidden, xs[0]), loss=loss, **options)
    return learner, params, hidden, xs, targets


def _close(found: Any, expected: Any, tolerance: float) -> None:
    for name, reference in expected.items():
        scale = float(jnp.max(jnp.abs(reference)))
        error = float(jnp.max(jnp.abs(found[name] - reference)))
        assert error <= tolerance * max(scale, 1e-3), (name, error, scale)


@pytest.mark.parametrize("name", ONLINE_MODELS)
def test_gradient_of_every_step_is_that_of_cut_backpropagation(name: str) -> None:
    case = ONLINE_MODELS[name]
    learner, params, hidden, xs, targets = _learned(case, jnp.float32)

    def body(carry: Any, given: Any) -> Any:
        carry, value, grads = learner.step(params, carry, *given)
        return carry, (value, grads)

    _, (_, found) = jax.jit(lambda carry: jax.lax.scan(body, carry, (xs, targets)))(learner.init(hidden))
    _close(found, jax.jit(lambda p: reference_gradients(case, p, hidden, xs, targets))(params), 1e-5)


@pytest.mark.parametrize("name", ONLINE_MODELS)
def test_run_sums_the_gradients_of_its_steps(name: str) -> None:
    case = ONLINE_MODELS[name]
    learner, params, hidden, xs, targets = _learned(case, jnp.float32)

    def body(carry: Any, given: Any) -> Any:
        carry, value, grads = learner.step(params, carry, *given)
        return carry, (value, grads)

    start = learner.init(hidden)
    last, (values, grads) = jax.jit(lambda carry: jax.lax.scan(body, carry, (xs, targets)))(start)
    carry, losses, total = jax.jit(learner.run)(params, start, xs, targets)
    _close({"losses": losses}, {"losses": values}, 1e-5)
    _close(total, jax.tree.map(lambda leaf: leaf.sum(axis=0), grads), 2e-5)
    for found, expected in zip(jax.tree.leaves(carry), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)

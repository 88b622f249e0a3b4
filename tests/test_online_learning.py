"""Online gradients against reverse differentiation of models written by hand."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from tests.online_models import ONLINE_MODELS, OnlineModel, loss, plain_step, reference_gradients, window_reference

STEPS = 50
# Compiling takes most of the time of these tests; the numbers are as good without optimisation.
QUICK = {"xla_backend_optimization_level": 0}


def _learned(case: OnlineModel, dtype: Any, **options: Any) -> Any:
    params, hidden = case.start(dtype)
    xs = case.inputs(STEPS, dtype)
    step = plain_step(case)
    out = jax.eval_shape(step, params, hidden, xs[0])[1]
    targets = jnp.asarray(np.random.default_rng(3).normal(0, 1, (STEPS, *out.shape)), dtype)
    learner = brainir.compile_learner(brainir.lower_step(step, params, hidden, xs[0]), loss=loss, **options)
    return learner, params, hidden, xs, targets


def _compiled(function: Callable[..., Any], *args: Any) -> Any:
    return jax.tree.map(np.asarray, jax.jit(function, compiler_options=QUICK)(*args))


def _close(found: Any, expected: Any, tolerance: float) -> None:
    for name, reference in expected.items():
        scale = np.max(np.abs(reference))
        error = np.max(np.abs(found[name] - reference))
        assert error <= tolerance * max(scale, 1e-3), (name, error, scale)


def _step_by_step(learner: Any, params: Any, carry: Any, xs: Any, targets: Any) -> Any:
    def body(carry: Any, given: Any) -> Any:
        carry, value, grads = learner.step(params, carry, *given)
        return carry, (value, grads)

    return jax.lax.scan(body, carry, (xs, targets))


def _compare(case: OnlineModel, dtype: Any, tolerance: float) -> None:
    learner, params, hidden, xs, targets = _learned(case, dtype)

    def everything(params: Any, hidden: Any, xs: Any, targets: Any) -> Any:
        start = learner.init(hidden)
        return (
            _step_by_step(learner, params, start, xs, targets),
            learner.run(params, start, xs, targets),
            reference_gradients(case, params, hidden, xs, targets, cut=not case.exact_bptt),
        )

    (last, (values, found)), (carry, losses, total), expected = _compiled(everything, params, hidden, xs, targets)
    _close(found, expected, tolerance)
    _close({"losses": losses}, {"losses": values}, tolerance)
    _close(total, jax.tree.map(lambda leaf: leaf.sum(axis=0), expected), 3 * tolerance)
    for one, two in zip(jax.tree.leaves(carry), jax.tree.leaves(last), strict=True):
        np.testing.assert_allclose(one, two, rtol=20 * tolerance, atol=20 * tolerance)


@pytest.mark.parametrize("name", ONLINE_MODELS)
def test_gradients_of_each_step_and_of_a_run_are_those_of_cut_backpropagation(name: str) -> None:
    with jax.enable_x64(True):
        _compare(ONLINE_MODELS[name], jnp.float64, 1e-10)


@pytest.mark.parametrize("name", ["adaptive_plastic", "long_short_term"])
def test_gradients_in_single_precision_are_those_of_cut_backpropagation(name: str) -> None:
    _compare(ONLINE_MODELS[name], jnp.float32, 1e-5)


@pytest.mark.parametrize("name", ["leaky", "linear_recurrent_unit", "adaptive_plastic", "gated", "two_layers"])
def test_gradients_of_windows_are_those_of_their_definition(name: str) -> None:
    case = ONLINE_MODELS[name]
    with jax.enable_x64(True):
        learner, params, hidden, xs, targets = _learned(case, jnp.float64, window=4)

        def everything(params: Any, hidden: Any, xs: Any, targets: Any) -> Any:
            carry, value, first = learner.step(params, learner.init(hidden), xs[:4], targets[:4])
            carry, losses, rest = learner.run(params, carry, xs[4:10], targets[4:10])
            starts = ((0, 4), (4, 8), (8, 10))
            expected = [window_reference(case, params, hidden, xs, targets, *each) for each in starts]
            return (value, losses), (first, rest), expected

        (value, losses), (first, rest), expected = _compiled(everything, params, hidden, xs, targets)
    assert losses.shape == (6,)
    assert value.shape == ()
    _close(first, expected[0], 1e-10)
    _close(rest, jax.tree.map(np.add, expected[1], expected[2]), 1e-10)

"""Grouped states whose members act on each other at their own position are learned exactly."""

from typing import Any

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from tests.analysis_cases import array

COUPLING = np.array([[0.9, 0.1], [-0.2, 0.5]], np.float32)
UPDATES = {
    "product": lambda h, i: jnp.tanh(h @ COUPLING + i * jnp.array([1.0, 0.3])),
    "sum": lambda h, i: 0.9 * h - 0.1 * jnp.sum(h, -1, keepdims=True) + i,
    "running sum": lambda h, i: 0.5 * jnp.cumsum(h, -1) + i,
    "normalisation": lambda h, i: h / (1.0 + jnp.sqrt(jnp.sum(h**2, -1, keepdims=True) + 0.1)) + jnp.tanh(i),
}


class Grouped(brainstate.nn.Module):
    """Two states at each of four positions, behind a dense layer."""

    def __init__(self, update: Any) -> None:
        super().__init__()
        self.weight = brainstate.ParamState(array(3, 4, seed=1))
        self.h = brainstate.HiddenGroupState(jnp.zeros((4, 2)))
        self.rule = update

    def update(self, x: Any) -> Any:
        """Drive both members, and show the first."""
        self.h.value = self.rule(self.h.value, (x @ self.weight.value)[:, None])
        return self.h.value[:, 0]


class Compartments(Grouped):
    """Two compartments of each of four neurons, each with a drive of its own, whose sum a further state sees."""

    def __init__(self, update: Any) -> None:
        super().__init__(update)
        self.weight = brainstate.ParamState(array(3, 8, seed=1))
        self.v = brainstate.HiddenState(jnp.zeros(4))

    def update(self, x: Any) -> Any:
        """Drive the compartments, and show what they add up to."""
        self.h.value = self.rule(self.h.value, (x @ self.weight.value).reshape(4, 2))
        self.v.value = 0.9 * self.v.value + jnp.sum(self.h.value, axis=-1)
        return jnp.tanh(self.v.value)


@pytest.mark.parametrize("kind", [Grouped, Compartments])
@pytest.mark.parametrize("name", UPDATES)
def test_coupled_members_are_learned_as_by_backpropagation_through_time(name: str, kind: type[Grouped]) -> None:
    module = kind(UPDATES[name])
    program = brainir.lower_module(module, jnp.ones(3))
    learner = brainir.compile_learner(program, "d_rtrl", loss=lambda out, target: jnp.sum((out - target) ** 2))
    states = brainir.read_states(module, program)
    params = {("weight",): states["weight",]}
    xs, targets = array(5, 3, seed=2), array(5, 4, seed=3)
    _, _, grads = learner.run(params, learner.init(states), xs, targets)
    step = brainir.to_callable(program)

    def unrolled(params: Any) -> Any:
        current, total = {**states, **params}, 0.0
        for x, target in zip(xs, targets, strict=True):
            new, out = step(current, x)
            current = {**current, **new}
            total = total + jnp.sum((out - target) ** 2)
        return total

    expected = jax.jit(jax.grad(unrolled))(params)["weight",]
    np.testing.assert_allclose(grads["weight",], expected, rtol=1e-4, atol=1e-5)

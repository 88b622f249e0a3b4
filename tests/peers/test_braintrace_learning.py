"""ES-D-RTRL gives braintrace's ``pp_prop`` gradients where a group has one state."""

from typing import Any

import brainstate
import braintrace
import jax
import jax.numpy as jnp
import numpy as np

import brainir

N_IN, N, STEPS, DECAY = 3, 4, 8, 0.9


class Leaky(brainstate.nn.Module):
    """Leaky units behind one dense layer on input and old state."""

    def __init__(self) -> None:
        super().__init__()
        weight = jnp.asarray(np.random.default_rng(0).normal(0, 0.5, (N_IN + N, N)), jnp.float32)
        self.layer = braintrace.nn.Linear(N_IN + N, N, w_init=weight, b_init=jnp.zeros(N))

    def init_state(self, **kwargs: Any) -> None:
        self.h = brainstate.HiddenState(jnp.zeros(N))

    def update(self, x: jax.Array) -> jax.Array:
        self.h.value = 0.8 * self.h.value + jnp.tanh(self.layer(jnp.concatenate([x, self.h.value])))
        return self.h.value


def loss(out: Any, target: Any) -> Any:
    return jnp.sum((out - target) ** 2)


def test_gradients_of_each_step_are_those_of_pp_prop() -> None:
    rng = np.random.default_rng(1)
    xs = jnp.asarray(rng.normal(size=(STEPS, N_IN)), jnp.float32)
    targets = jnp.asarray(rng.normal(size=(STEPS, N)), jnp.float32)
    peer = Leaky()
    theirs = braintrace.compile(peer, "pp_prop", xs[0], decay_or_rank=DECAY)
    params = peer.states(brainstate.ParamState)
    model = Leaky()
    brainstate.nn.init_all_states(model)
    program = brainir.lower_module(model, xs[0])
    states = brainir.read_states(model, program)
    (path,) = (state.path for state in program.interface.states if state.role == "param")
    learner = brainir.compile_learner(program, "es_d_rtrl", loss=loss, decay=DECAY)
    carry, step = learner.init(states), jax.jit(learner.step)
    for x, target in zip(xs, targets, strict=True):
        expected = brainstate.transform.grad(lambda x=x, target=target: loss(theirs(x), target), params)()
        carry, _, found = step({path: states[path]}, carry, x, target)
        for one, two in zip(jax.tree.leaves(found[path]), jax.tree.leaves(expected[path]), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)

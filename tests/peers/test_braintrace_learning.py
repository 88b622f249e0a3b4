"""ES-D-RTRL gives braintrace's ``pp_prop`` gradients where a group has one state; its operators are learned."""

import functools
from collections.abc import Callable
from typing import Any

import brainscale
import brainstate
import braintrace
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from tests.quick_compile import quick_options

N_IN, N, STEPS, DECAY = 3, 4, 5, 0.9


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


class FeedForward(brainstate.nn.Module):
    """Leaky units behind a layer of braintrace, whose operators are primitives of its own."""

    def __init__(self, layer: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.shape = layer, shape

    def init_state(self, **kwargs: Any) -> None:
        self.h = brainstate.HiddenState(jnp.zeros(self.shape))

    def update(self, x: jax.Array) -> jax.Array:
        self.h.value = 0.8 * self.h.value + jnp.tanh(self.layer(x))
        return self.h.value


class Gain(brainstate.nn.Module):
    """A weight that meets data element by element, through braintrace's operator."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = brainstate.ParamState(jnp.asarray([0.5, -1.0, 2.0]))

    def update(self, x: jax.Array) -> jax.Array:
        return braintrace.element_wise(self.gain.value) * x


class Stacked(brainstate.nn.Module):
    """A layer on a layer."""

    def __init__(self) -> None:
        super().__init__()
        self.low = FeedForward(braintrace.nn.Linear(N_IN, N), (N,))
        self.high = FeedForward(braintrace.nn.Linear(N, 2), (2,))

    def update(self, x: jax.Array) -> jax.Array:
        return self.high(self.low(x))


def _ready(make: Callable[[], brainstate.nn.Module]) -> brainstate.nn.Module:
    brainstate.random.seed(3)
    model = make()
    brainstate.nn.init_all_states(model)
    return model


def _close(found: Any, expected: Any) -> None:
    for path, tree in expected.items():
        for one, two in zip(jax.tree.leaves(found[path]), jax.tree.leaves(tree), strict=True):
            np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5 * float(jnp.abs(two).max()))


@pytest.mark.parametrize(
    "make",
    [
        Leaky,
        Stacked,
        lambda: FeedForward(braintrace.nn.LoRA(N_IN, 2, N), (N,)),
        lambda: FeedForward(Gain(), (N_IN,)),
    ],
    ids=["recurrent", "stacked", "low rank", "element by element"],
)
def test_gradients_of_each_step_are_those_of_pp_prop(make: Callable[[], brainstate.nn.Module]) -> None:
    rng = np.random.default_rng(1)
    xs = jnp.asarray(rng.normal(size=(STEPS, N_IN)), jnp.float32)
    peer, model = _ready(make), _ready(make)
    theirs = braintrace.compile(peer, "pp_prop", xs[0], decay_or_rank=DECAY)
    params = peer.states(brainstate.ParamState)
    program = brainir.lower_module(model, xs[0])
    targets = jnp.asarray(
        rng.normal(size=(STEPS, *program.entry_function.type_of(program.entry_function.outputs[-1]).shape)), jnp.float32
    )
    states = brainir.read_states(model, program)
    learner = brainir.compile_learner(program, "es_d_rtrl", loss=loss, decay=DECAY)
    carry, step = learner.init(states), jax.jit(learner.step, compiler_options=quick_options())

    @functools.partial(brainstate.transform.jit, compiler_options=quick_options())
    def their_step(x: jax.Array, target: jax.Array) -> Any:
        return brainstate.transform.grad(lambda: loss(theirs(x), target), params)()

    for x, target in zip(xs, targets, strict=True):
        carry, _, found = step({path: states[path] for path in params}, carry, x, target)
        _close(found, their_step(x, target))


LAYERS: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...]]] = {
    "Linear": (lambda: braintrace.nn.Linear(3, 4), (3,), (4,)),
    "LoRA": (lambda: braintrace.nn.LoRA(3, 2, 4), (3,), (4,)),
    "Conv1d": (lambda: braintrace.nn.Conv1d((6, 2), 4, 3), (6, 2), (6, 4)),
    "GroupedLinear": (lambda: braintrace.nn.GroupedLinear(2, 3, 4), (2, 3), (2, 4)),
    "element_wise": (Gain, (3,), (3,)),
    "brainscale Linear": (lambda: brainscale.nn.Linear(3, 4), (3,), (4,)),
    "brainscale LoRA": (lambda: brainscale.nn.LoRA(3, 2, 4), (3,), (4,)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_the_peers_are_learned_as_backpropagation_learns_them(name: str) -> None:
    make, shape, hidden = LAYERS[name]
    model = _ready(lambda: FeedForward(make(), hidden))
    rng = np.random.default_rng(1)
    xs = jnp.asarray(rng.normal(size=(STEPS, *shape)), jnp.float32)
    targets = jnp.asarray(rng.normal(size=(STEPS, *hidden)), jnp.float32)
    program = brainir.lower_module(model, xs[0])
    states = brainir.read_states(model, program)
    learner = brainir.compile_learner(program, loss=loss)
    assert not learner.report().excluded
    params = model.states(brainstate.ParamState)
    given = {path: states[path] for path in params}
    run = jax.jit(learner.run, compiler_options=quick_options())
    _, _, found = run(given, learner.init({("h",): states["h",]}), xs, targets)

    def losses() -> Any:
        model.h.value = jnp.zeros(hidden)
        return brainstate.transform.for_loop(lambda x, target: loss(model.update(x), target), xs, targets).sum()

    backward = brainstate.transform.grad(losses, params)
    expected = brainstate.transform.jit(backward, compiler_options=quick_options())()
    _close(found, expected)

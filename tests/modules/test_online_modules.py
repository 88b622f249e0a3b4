"""Online learning of brainstate modules: units, layers, low-rank weights, grouped states."""

import sys
from typing import Any

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.brainscale import ALIF_STPExpCu_Dense_Layer
from tests.models.cases import MODELS
from tests.quick_compile import quick_options

STEPS = 12


def loss(out: Any, target: Any) -> Any:
    """Return a loss that is not symmetric in the outputs."""
    return jnp.sum((out - target) ** 2 * (1 + jnp.arange(out.size).reshape(out.shape)))


def _split(program: brainir.Program, states: Any) -> tuple[Any, Any]:
    params = {state.path for state in program.interface.states if state.role == "param"}
    return {path: states[path] for path in params}, {path: states[path] for path in states if path not in params}


def _losses(program: brainir.Program, states: Any, xs: Any, targets: Any) -> Any:
    """Return the losses of all steps as a function of the parameters, and the parameters."""
    params, hidden = _split(program, states)
    step = brainir.to_callable(program)

    def losses(params: Any) -> Any:
        def body(now: Any, given: Any) -> Any:
            x, target = given
            new, out = step({**params, **now}, x)
            return {path: new[path] for path in now}, loss(out, target)

        return jax.lax.scan(body, hidden, (xs, targets))[1]

    return losses, params


class FeedForward(brainstate.nn.Module):
    """Leaky units behind a layer, without recurrence through a weight."""

    def __init__(self, layer: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer, self.shape = layer, shape
        self.out = brainstate.nn.Linear(shape[-1], 2)

    def init_state(self, **kwargs: Any) -> None:
        self.v = brainstate.HiddenState(jnp.zeros(self.shape))

    def update(self, x: Any) -> Any:
        self.v.value = 0.8 * self.v.value + jnp.tanh(self.layer(x))
        return self.out(self.v.value)


def _ready(module: Any) -> Any:
    brainstate.environ.set(dt=0.1 * u.ms)
    brainstate.random.seed(3)
    brainstate.nn.init_all_states(module)
    return module


LAYERS: dict[str, tuple[Any, tuple[int, ...], tuple[int, ...]]] = {
    "Linear": (lambda: brainstate.nn.Linear(3, 4), (3,), (4,)),
    "LoRA": (lambda: brainstate.nn.LoRA(3, 2, 4), (3,), (4,)),
    "LoRA on a base": (lambda: brainstate.nn.LoRA(3, 2, 4, base_module=brainstate.nn.Linear(3, 4)), (3,), (4,)),
    "ScaledWSLinear": (lambda: brainstate.nn.ScaledWSLinear(3, 4), (3,), (4,)),
    "Conv1d": (lambda: brainstate.nn.Conv1d((6, 2), 4, 3), (6, 2), (6, 4)),
    "SignedWLinear": (lambda: brainstate.nn.SignedWLinear(3, 4), (3,), (4,)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_gradients_behind_a_layer_are_those_of_backpropagation(name: str) -> None:
    make, shape, hidden = LAYERS[name]
    module = _ready(FeedForward(make(), hidden))
    rng = np.random.default_rng(1)
    xs = jnp.asarray(rng.normal(size=(STEPS, *shape)), jnp.float32)
    program = brainir.lower_module(module, xs[0])
    states = brainir.read_states(module, program)
    targets = jnp.asarray(rng.normal(size=(STEPS, *hidden[:-1], 2)), jnp.float32)
    learner = brainir.compile_learner(program, loss=loss)
    losses, params = _losses(program, states, xs, targets)

    def everything(params: Any) -> Any:
        def body(carry: Any, given: Any) -> Any:
            carry, _, grads = learner.step(params, carry, *given)
            return carry, grads

        return jax.lax.scan(body, learner.init(states), (xs, targets))[1], jax.jacrev(losses)(params)

    found, expected = jax.jit(everything, compiler_options=quick_options())(params)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5 * float(jnp.max(jnp.abs(two))) + 1e-7)


class TwoInARow(brainstate.nn.Module):
    """Two weights in a row, ``x @ one @ two``, each a state of its own."""

    def __init__(self) -> None:
        super().__init__()
        weights = np.random.default_rng(2).normal(0, 0.6, (2, 4, 4)).astype(np.float32)
        self.one, self.two = (brainstate.ParamState(jnp.asarray(weight)) for weight in weights)

    def update(self, x: Any) -> Any:
        return x @ self.one.value @ self.two.value


def test_of_two_weights_in_a_row_the_last_has_a_trace_and_the_first_the_gradient_of_the_step() -> None:
    module = _ready(FeedForward(TwoInARow(), (4,)))
    rng = np.random.default_rng(1)
    xs = jnp.asarray(rng.normal(size=(STEPS, 4)), jnp.float32)
    targets = jnp.asarray(rng.normal(size=(STEPS, 2)), jnp.float32)
    program = brainir.lower_module(module, xs[0])
    states = brainir.read_states(module, program)
    learner = brainir.compile_learner(program, loss=loss)
    first, last = ("layer", "one"), ("layer", "two")
    assert [(each.paths, each.form) for each in learner.report().learned] == [((last,), "dot")]
    reasons = {each.path: each.reason for each in learner.report().excluded}
    assert "only through another weight" in reasons[first]
    assert last not in reasons
    losses, params = _losses(program, states, xs, targets)
    step = brainir.to_callable(program)

    def everything(params: Any) -> Any:
        def body(carry: Any, given: Any) -> Any:
            now = jax.lax.stop_gradient(carry["states"])

            def of_the_step(params: Any) -> Any:
                return loss(step({**params, **now}, given[0])[1], given[1])

            after, _, grads = learner.step(params, carry, *given)
            return after, (grads, jax.grad(of_the_step)(params)[first])

        return jax.lax.scan(body, learner.init(states), (xs, targets))[1], jax.jacrev(losses)(params)

    (found, at_once), through_time = jax.jit(everything, compiler_options=quick_options())(params)
    for one, two in ((found[first], at_once), (found[last], through_time[last])):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-5 * float(jnp.abs(two).max()))
    assert float(jnp.abs(at_once - through_time[first]).max()) > 1e-2


def test_the_guide_network_learns_with_units_from_spikes() -> None:
    module = _ready(ALIF_STPExpCu_Dense_Layer(5, 6))
    program = brainir.lower_module(module, jnp.ones(5))
    states = brainir.read_states(module, program)
    params, hidden = _split(program, states)
    learner = brainir.compile_learner(program, loss=loss)
    carry = learner.init(hidden)
    xs = 4.0 * jax.random.bernoulli(jax.random.key(0), 0.5, (40, 5)).astype(jnp.float32)
    run = jax.jit(learner.run, compiler_options=quick_options())
    carry, losses, grads = run(params, carry, xs, jnp.zeros((40, 6)))
    (path,) = params
    assert grads[path]["weight"].unit == u.mS
    assert jax.tree.structure(grads) == jax.tree.structure(params)
    assert float(losses.max()) > 0
    assert float(jnp.abs(grads[path]["weight"].mantissa).max()) > 0
    assert set(carry["states"]) == set(hidden)


@pytest.mark.parametrize("name", ["GroupedALIF_ExpCu", "two_layer_LIF", "batched_LIF_ExpCu", "observed_ALIF", "LRU"])
def test_a_run_gives_what_its_steps_give(name: str) -> None:
    case = MODELS[name]
    module = case.build()
    inputs = [case.inputs(t) for t in range(STEPS)]
    program = brainir.lower_module(module, *inputs[0])
    states = brainir.read_states(module, program)
    params, hidden = _split(program, states)

    def squared(out: Any, target: Any) -> Any:
        return sum(jnp.sum((u.get_mantissa(leaf) - target) ** 2) for leaf in jax.tree.leaves(out))

    learner = brainir.compile_learner(program, loss=squared)
    xs = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[x if len(x) > 1 else x[0] for x in inputs])
    targets = jnp.full(STEPS, 0.3)

    def everything(params: Any) -> Any:
        def body(state: Any, given: Any) -> Any:
            carry, total = state
            carry, value, grads = learner.step(params, carry, *given)
            return (carry, jax.tree.map(jnp.add, total, grads)), value

        start = (learner.init(hidden), jax.tree.map(jnp.zeros_like, params))
        (_, total), values = jax.lax.scan(body, start, (xs, targets))
        _, losses, grads = learner.run(params, learner.init(hidden), xs, targets)
        return (total, values), (grads, losses)

    expected, found = jax.jit(everything, compiler_options=quick_options())(params)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(found[0])) > 0
    for one, two in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-4, atol=1e-5 * float(jnp.max(jnp.abs(two))) + 1e-7)


@pytest.mark.parametrize("missing", ["brainpy", "braintools"])
def test_the_network_of_the_guide_says_what_to_install(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(brainir.BrainIRError, match=rf"needs {missing}, which is not installed: pip install"):
        ALIF_STPExpCu_Dense_Layer(3, 4)

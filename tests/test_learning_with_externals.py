"""Steps that call functions on the host learn online, and say to the host what the model says, once in each step."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import io_callback

import brainir

SEEN: list[float] = []
PARAMS = {"w": jnp.linspace(-1.0, 1.0, 12).reshape(3, 4), "out": jnp.ones((4, 2))}
HIDDEN = {"v": jnp.zeros(4)}
XS = jnp.sin(jnp.arange(15.0)).reshape(5, 3)
TARGETS = jnp.cos(jnp.arange(10.0)).reshape(5, 2)
OPTIONS: list[dict[str, Any]] = [{}, {"window": 2}, {"algorithm": "es_d_rtrl", "decay": 0.5}]


def assert_close(found: Any, expected: Any) -> None:
    jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6), found, expected)


def loss(out: Any, target: Any) -> Any:
    return jnp.sum((out - target) ** 2)


def watch(value: Any) -> None:
    SEEN.append(float(value))


def silent(params: Any, hidden: Any, x: Any) -> Any:
    v = 0.9 * hidden["v"] + x @ params["w"]
    return {"v": v}, jnp.tanh(v) @ params["out"]


def watched(params: Any, hidden: Any, x: Any) -> Any:
    """Look on from the step itself, and from a branch whose result the loss reads."""

    def seen(v: Any) -> Any:
        jax.debug.callback(watch, v[1])
        return jnp.tanh(v)

    v = 0.9 * hidden["v"] + x @ params["w"]
    jax.debug.callback(watch, v[0], ordered=True)
    return {"v": v}, jax.lax.cond(x.sum() < 100, seen, jnp.tanh, v) @ params["out"]


def learner(step: Any, externals: Any = None, **options: Any) -> brainir.Learner:
    program = brainir.lower_step(step, PARAMS, HIDDEN, XS[0])
    return brainir.compile_learner(program, loss=loss, externals=externals, **options)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_a_step_that_is_watched_learns_as_it_does_unwatched_and_is_seen_once_in_each_step(options: Any) -> None:
    SEEN.clear()
    found = learner(watched, {"watch": watch}, **options)
    carry, losses, grads = jax.jit(found.run)(PARAMS, found.init(HIDDEN), XS, TARGETS)
    jax.block_until_ready(losses)
    jax.effects_barrier()
    plain = learner(silent, **options)
    assert_close((carry["states"], losses, grads), _states_and_gradients(plain))
    states = [HIDDEN["v"]]
    for x in XS:
        states.append(0.9 * states[-1] + x @ PARAMS["w"])
    np.testing.assert_allclose(sorted(SEEN), sorted(float(v[place]) for v in states[1:] for place in (0, 1)), rtol=1e-6)


def _states_and_gradients(found: brainir.Learner) -> Any:
    carry, losses, grads = found.run(PARAMS, found.init(HIDDEN), XS, TARGETS)
    return carry["states"], losses, grads


def test_the_program_of_a_learner_names_its_externals_again() -> None:
    found = learner(watched, {"watch": watch})
    loaded = brainir.loads(brainir.dumps(found.program))
    step = brainir.to_callable(loaded, externals={"watch": watch})
    ours = step(PARAMS, found.init(HIDDEN), XS[0], TARGETS[0])
    assert_close(ours, found.step(PARAMS, found.init(HIDDEN), XS[0], TARGETS[0]))


def test_a_learner_without_the_functions_says_which() -> None:
    with pytest.raises(brainir.BrainIRError, match=r"it calls 'watch' on the host; give the functions: externals="):
        learner(watched)


def test_a_loss_that_depends_on_what_the_host_returns_in_order_is_refused() -> None:
    def told(params: Any, hidden: Any, x: Any) -> Any:
        scale = io_callback(_scale, jax.ShapeDtypeStruct((), jnp.float32), x[0], ordered=True)
        new, out = silent(params, hidden, x)
        return new, scale * out

    with pytest.raises(brainir.BrainIRError, match=r"io_callback.* twice in a step.*give it as an input"):
        learner(told, {"_scale": _scale})


def _scale(x: Any) -> Any:
    return np.float32(2.0)

"""Ten models whose generated source is kept in ``tests/snapshots``, for people to read.

``python tests/snapshot_models.py`` writes the stored programs and the sources anew.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import brainir

SNAPSHOTS = Path(__file__).with_name("snapshots")


def _array(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


@jax.custom_jvp
def spike(v):
    return (v > 0).astype(v.dtype)


@spike.defjvp
def spike_jvp(primals, tangents):
    (v,), (dv,) = primals, tangents
    return spike(v), jnp.maximum(0.0, 1.0 - jnp.abs(v)) * dv


@jax.custom_vjp
def clip_gradient(x, bound):
    return x


def _clip_forward(x, bound):
    return x, (bound,)


def _clip_backward(residuals, cotangent):
    (bound,) = residuals
    return jnp.clip(cotangent, -bound, bound), None


clip_gradient.defvjp(_clip_forward, _clip_backward)


def leaky(params, hidden, x):
    h = 0.9 * hidden["h"] + params["w"] @ x
    return {"h": h}, jnp.tanh(h)


def gru(params, hidden, x):
    h = hidden["h"]
    xh = jnp.concatenate([x, h])
    z = jax.nn.sigmoid(xh @ params["z"]["w"] + params["z"]["b"])
    r = jax.nn.sigmoid(xh @ params["r"]["w"] + params["r"]["b"])
    c = jnp.tanh(jnp.concatenate([x, r * h]) @ params["c"]["w"] + params["c"]["b"])
    h = (1.0 - z) * h + z * c
    return {"h": h}, h


def adaptive_lif(params, hidden, x):
    v, a, z = hidden["v"], hidden["a"], hidden["z"]
    current = x @ params["w_in"] + z @ params["w_rec"]
    v = 0.95 * v + current - z
    a = 0.99 * a + 0.07 * z
    z = spike(v - 1.0 - a)
    return {"v": v, "a": a, "z": z}, z @ params["w_out"]


def rnn(params, xs):
    def step(h, x):
        h = jnp.tanh(params["w"] @ h + params["u"] @ x)
        return h, h.sum()

    h, sums = lax.scan(step, jnp.zeros(4), xs)
    return params["v"] @ h, sums


def gated(x, threshold):
    def active(x):
        return x * jnp.exp(-x)

    def silent(x):
        return jnp.zeros_like(x)

    return lax.cond(x.sum() > threshold, active, silent, x)


def newton(a):
    def far(state):
        x, steps = state
        return (jnp.abs(x * x - a) > 1e-4) & (steps < 20)

    def improve(state):
        x, steps = state
        return 0.5 * (x + a / x), steps + 1

    return lax.while_loop(far, improve, (a, 0))


def clipped_loss(w, x, y):
    error = clip_gradient(x @ w, jnp.float32(0.1)) - y
    return jnp.mean(error**2)


def attention(params, x):
    q, k, v = x @ params["q"], x @ params["k"], x @ params["v"]
    return jax.nn.softmax(q @ k.T / jnp.sqrt(8.0), axis=-1) @ v


def embedding(table, w, tokens):
    return jax.nn.relu(table[tokens] @ w)


def noisy(key, x):
    kept, scaled = jax.random.split(key)
    mask = jax.random.bernoulli(kept, 0.8, x.shape)
    return jnp.where(mask, x / 0.8, 0.0) * jax.random.normal(scaled, x.shape)


GATE = {"w": _array(7, 4), "b": _array(4)}
ADAPTIVE = {name: np.zeros(4, np.float32) for name in ("v", "a", "z")}
STEPS: dict[Callable[..., Any], tuple[Any, ...]] = {
    leaky: ({"w": _array(4, 3)}, {"h": _array(4)}, _array(3)),
    gru: ({"z": GATE, "r": GATE, "c": GATE}, {"h": _array(4)}, _array(3)),
    adaptive_lif: (
        {"w_in": _array(3, 4), "w_rec": _array(4, 4), "w_out": _array(4, 2)},
        ADAPTIVE,
        _array(3),
    ),
}
FUNCTIONS: dict[Callable[..., Any], tuple[Any, ...]] = {
    rnn: ({"w": _array(4, 4), "u": _array(4, 3), "v": _array(2, 4)}, _array(5, 3)),
    gated: (_array(3), np.float32(0.5)),
    newton: (np.float32(2.0),),
    clipped_loss: (_array(3, 2), _array(5, 3), _array(5, 2)),
    attention: ({"q": _array(6, 8), "k": _array(6, 8), "v": _array(6, 8)}, _array(5, 6)),
    embedding: (_array(10, 4), _array(4, 3), np.array([3, 1, 4])),
    noisy: (jax.random.key(0), _array(4)),
}
INPUTS = {fn.__name__: inputs for fn, inputs in (STEPS | FUNCTIONS).items()}


def main() -> None:
    """Lower every model, and write the program and its source."""
    for fn, inputs in STEPS.items():
        _write(brainir.lower_step(fn, *inputs))
    for fn, inputs in FUNCTIONS.items():
        _write(brainir.lower(fn, *inputs))


def _write(program: brainir.Program) -> None:
    brainir.save(program, SNAPSHOTS / f"{program.entry}.json")
    (SNAPSHOTS / f"{program.entry}.py").write_text(brainir.to_source(program))


if __name__ == "__main__":
    main()

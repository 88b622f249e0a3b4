"""Recurrent models written by hand, with hooks at what an online rule has to tell apart.

``model(params, hidden, x, at) -> (hidden, out)`` with `at` a :class:`Hooks`. A model as it is learned has no hooks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental.sparse import BCOO

Hook = Callable[[Any], Any]


def identity(value: Any) -> Any:
    """Return a value as it is."""
    return value


def apply(name: str, rule: Callable[..., Any], x: Any, *weights: Any) -> Any:
    """Apply a weight operation to data; a weight that meets data element by element has none."""
    return rule(*weights) if x is None else rule(x, *weights)


@dataclass(frozen=True)
class Hooks:
    """What a model calls where an online rule has to tell paths apart.

    Attributes
    ----------
    cut : callable
        On what a recurrent weight is multiplied with: the path from a position to another.
    below : callable
        On a state of another group that goes into a weight.
    behind : callable
        On the result of a weight that goes into another weight in the same step.
    past : callable
        On an old state that is read other than by the new states of its group.
    weigh : callable
        ``weigh(name, rule, x, *weights)``: the use of a weight that reaches a hidden state.
    """

    cut: Hook = identity
    below: Hook = identity
    behind: Hook = identity
    past: Hook = identity
    weigh: Callable[..., Any] = apply


Model = Callable[[Any, Any, Any, Hooks], tuple[Any, Any]]

N_IN, N, BATCH = 3, 5, 2


@dataclass(frozen=True)
class OnlineModel:
    """A model with its parameters, its first hidden state and the shape of its inputs.

    Attributes
    ----------
    exact_bptt : bool
        Whether no path is cut, so that online gradients are those of backpropagation through time.
    integers : int
        Inputs are integers below this number, if it is not 0.
    """

    name: str
    model: Model
    params: dict[str, tuple[int, ...]]
    hidden: dict[str, tuple[int, ...]]
    x: tuple[int, ...] = (N_IN,)
    exact_bptt: bool = False
    integers: int = 0

    def start(self, dtype: Any) -> tuple[Any, Any]:
        """Return parameters and hidden states; the same numbers in single and double precision."""
        rng = np.random.default_rng(7)
        params = {name: _single(rng.normal(0, 0.6, shape), dtype) for name, shape in self.params.items()}
        return params, {name: jnp.zeros(shape, dtype) for name, shape in self.hidden.items()}

    def inputs(self, steps: int, dtype: Any) -> Any:
        """Return inputs for some steps."""
        rng = np.random.default_rng(11)
        if self.integers:
            return jnp.asarray(rng.integers(0, self.integers, (steps, *self.x)), jnp.int32)
        return _single(rng.normal(0, 1.5, (steps, *self.x)), dtype)

    def targets(self, steps: int, dtype: Any) -> Any:
        """Return targets for some steps."""
        out = jax.eval_shape(plain_step(self), *self.start(dtype), self.inputs(1, dtype)[0])[1]
        return _single(np.random.default_rng(3).normal(0, 1, (steps, *out.shape)), dtype)


def _single(values: Any, dtype: Any) -> Any:
    return jnp.asarray(np.asarray(values, np.float32), dtype)


@jax.custom_jvp
def spike(v: Any) -> Any:
    """Return 1 where v is positive, with a triangle as derivative."""
    return (v > 0).astype(v.dtype)


@spike.defjvp
def _spike_jvp(primals: Any, tangents: Any) -> Any:
    (v,), (dv,) = primals, tangents
    return spike(v), dv * 0.3 * jnp.maximum(1 - jnp.abs(v), 0)


@jax.custom_vjp
def backward_spike(v: Any) -> Any:
    """Return the same with a backward rule, as which many write it: JAX has no forward mode of it."""
    return (v > 0).astype(v.dtype)


backward_spike.defvjp(lambda v: (backward_spike(v), v), lambda v, ct: (0.3 * ct * jnp.maximum(1 - jnp.abs(v), 0),))


def _joined(x: Any, h: Any) -> Any:
    return jnp.concatenate([x, h], axis=-1)


def _product(x: Any, w: Any) -> Any:
    return x @ w


def leaky(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    y = at.weigh("w", _product, _joined(x, at.cut(jnp.tanh(h["v"]))), p["w"])
    v = 0.9 * h["v"] + y + at.weigh("b", identity, None, p["b"])
    return {"v": v}, jnp.tanh(v) @ p["out"]


def elementwise(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    decay = jax.nn.sigmoid(at.weigh("decay", identity, None, p["decay"]))
    v = decay * h["v"] + (1 - decay) * at.weigh("gain", identity, None, p["gain"]) * x
    return {"v": v}, v**2


def scalar_parameter(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    rate = at.weigh("rate", identity, None, p["rate"])
    v = jnp.exp(-(rate**2)) * h["v"] + jnp.tanh(at.weigh("w", _product, x, p["w"]))
    return {"v": v}, v


def parameter_state(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    """A state that is made of a parameter alone, and goes into another one in the same step."""
    gain = at.weigh("gain", jnp.tanh, None, p["gain"])
    v = 0.9 * h["v"] + gain * x
    return {"gain": gain, "v": v}, jnp.tanh(v) + gain


def linear_recurrent_unit(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    size = jnp.exp(-jnp.exp(at.weigh("nu", identity, None, p["nu"])))
    theta = at.weigh("theta", identity, None, p["theta"])
    a, b = size * jnp.cos(theta), size * jnp.sin(theta)
    gamma = jnp.sqrt(1 - size**2)
    re = a * h["re"] - b * h["im"] + gamma * at.weigh("b_re", _product, x, p["b_re"])
    im = b * h["re"] + a * h["im"] + gamma * at.weigh("b_im", _product, x, p["b_im"])
    return {"re": re, "im": im}, re @ p["c"] - im @ p["c"]


def complex_recurrence(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    """Compute with complex weights what is kept as real and imaginary parts."""
    nu, theta = at.weigh("nu", identity, None, p["nu"]), at.weigh("theta", identity, None, p["theta"])
    if at.weigh is apply:
        drive = x @ (p["b_re"] + 1j * p["b_im"])
    else:
        drive = at.weigh("b_re", _product, x, p["b_re"]) + 1j * at.weigh("b_im", _product, x, p["b_im"])
    z = jnp.exp(1j * theta - jnp.exp(nu)) * (h["re"] + 1j * h["im"]) + drive
    re, im = z.real, z.imag
    return {"re": re, "im": im}, jnp.tanh(re) * im


def low_rank(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    v = 0.8 * h["v"] + at.weigh("w", lambda x, down, up: 0.5 * (x @ down) @ up, x, p["down"], p["up"])
    return {"v": v}, jnp.tanh(v)


def low_rank_twice(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    """Use one factor in two products of low rank."""
    one = at.weigh("one", lambda x, down, up: (x @ down) @ up, x, p["down"], p["up"])
    two = at.weigh("two", lambda x, down, up: (x @ down) @ up, jnp.sin(x), p["down"], p["other"])
    v = jnp.tanh(0.8 * h["v"] + one - 2 * two)
    return {"v": v}, v


def embedding(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    if at.weigh is apply:
        row = p["table"][x]
    else:
        row = at.weigh("table", _product, jax.nn.one_hot(x, len(p["table"])), p["table"])
    v = 0.8 * h["v"] + row
    return {"v": v}, jnp.tanh(v)


def masked(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    mask = jnp.asarray(np.arange((N_IN + N) * N).reshape(N_IN + N, N) % 3 > 0, x.dtype)
    y = at.weigh("w", lambda x, w: x @ (mask * jnp.abs(w)), _joined(x, at.cut(h["v"])), p["w"])
    v = jnp.tanh(0.9 * h["v"] + y)
    return {"v": v}, v


def transposed(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    v = jnp.tanh(0.9 * h["v"] + at.weigh("w", lambda x, w: w @ x, _joined(x, at.cut(h["v"])), p["w"]))
    return {"v": v}, v


def einsum(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    v = 0.9 * h["v"] + at.weigh("w", lambda x, w: jnp.einsum("g i, g i o -> g o", x, w), x, p["w"])
    return {"v": v}, jnp.sin(v)


def convolution_by_hand(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    patches = jnp.stack([x[0:4], x[1:5], x[2:6]])
    v = 0.9 * h["v"] + at.weigh("w", lambda x, w: jnp.tensordot(x, w, axes=(0, 0)), patches, p["w"])
    return {"v": v}, jnp.tanh(v)


def convolution(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    def convolve(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(x, w, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))

    v = 0.9 * h["v"] + at.weigh("w", convolve, _joined(x, at.cut(jnp.tanh(h["v"]))), p["w"])
    return {"v": v}, jnp.tanh(v)


def strided_convolution(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    def convolve(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(x, w, (2, 1), ((1, 0), (2, 1)), (1, 1), (1, 2), feature_group_count=2)

    v = 0.9 * h["v"] + at.weigh("w", convolve, x, p["w"])
    return {"v": v}, jnp.tanh(v)


def pooled_convolution(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    def convolve(x: Any, w: Any) -> Any:
        return jax.lax.conv_general_dilated(x, w, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))

    y = at.weigh("w", convolve, x, p["w"])
    window = (1, 2, 2, 1)
    largest = jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, window, window, "VALID")
    batch, height, width, features = largest.shape
    mean = jnp.tanh(y).reshape(batch, height, 2, width, 2, features).mean((2, 4))
    v = 0.9 * h["v"] + 0.1 * largest * jnp.cos(h["v"]) + mean
    return {"v": v}, jnp.tanh(v)


def maxout(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    data = _joined(x, at.cut(jnp.tanh(h["v"])))
    y = at.weigh("w", _product, data, p["w"]) + at.weigh("b", identity, None, p["b"])
    v = 0.9 * h["v"] + y.reshape(3, -1).max(axis=0)
    return {"v": v}, jnp.tanh(v)


def written_out_sum(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    data = _joined(x, at.cut(jnp.tanh(h["v"])))
    v = 0.9 * h["v"] + at.weigh("w", lambda x, w: (x[:, None] * w).sum(axis=0), data, p["w"])
    return {"v": v}, jnp.tanh(v)


def repeated_in_a_sum(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    """Sum branches of a dendrite, each with one gain for all neurons."""
    branches = jnp.stack([x, x**2, jnp.sin(x)])
    v = 0.9 * h["v"] + at.weigh("gain", lambda x, gain: (x * gain[:, None]).sum(axis=0), branches, p["gain"])
    return {"v": v}, v


def repeated_before_a_sum(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    """Sum products of which each goes to all neurons."""
    y = at.weigh("w", lambda x, w: jnp.broadcast_to((w * x)[:, None], (N_IN, N)).sum(axis=0), x, p["w"])
    v = jnp.tanh((0.5 + 0.1 * jnp.arange(N)) * h["v"] + y)
    return {"v": v}, v


def partly_frozen(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    """Learn the difference to a weight that is learned only where no gradient is stopped."""
    v = 0.9 * h["v"] + at.weigh("w", _product, x, p["w"] + jax.lax.stop_gradient(p["base"]))
    return {"v": v}, jnp.tanh(v - x @ p["base"])


def sparse(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    rows, columns = np.array([0, 0, 1, 2, 2, 1]), np.array([0, 3, 1, 2, 0, 4])

    def multiply(x: Any, w: Any) -> Any:
        return jnp.zeros(N, x.dtype).at[columns].add(x[rows] * w)

    v = 0.9 * h["v"] + at.weigh("w", multiply, x, p["w"])
    return {"v": v}, jnp.tanh(v)


def sparse_matrix(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    places = jnp.asarray([[0, 0], [0, 3], [1, 1], [2, 2], [2, 0], [1, 4]])
    v = 0.9 * h["v"] + at.weigh("w", lambda x, w: x @ BCOO((w, places), shape=(N_IN, N)), x, p["w"])
    return {"v": v}, jnp.tanh(v)


@jax.custom_jvp
def event_product(w: Any, x: Any) -> Any:
    """Return a product whose rule has a derivative of its own for the data, as event-driven operations have."""
    return x @ w


@event_product.defjvp
def _event_product_jvp(primals: Any, tangents: Any) -> Any:
    (w, x), (dw, dx) = primals, tangents
    return event_product(w, x), event_product(dw, x) + 0.5 * (dx @ w)


_ROWS, _COLUMNS = np.asarray([0, 2, 1, 0, 1, 1]), np.asarray([4, 0, 2, 2, 1, 0])


def _scattered(w: Any, rows: Any, columns: Any, x: Any) -> Any:
    return jnp.zeros(N, w.dtype).at[columns].add(w * x[rows])


@jax.custom_jvp
def sparse_product(w: Any, rows: Any, columns: Any, x: Any) -> Any:
    """Return a product with a sparse matrix, with a rule of its own."""
    return _scattered(w, rows, columns, x)


@sparse_product.defjvp
def _sparse_product_jvp(primals: Any, tangents: Any) -> Any:
    (w, rows, columns, x), (dw, _, _, dx) = primals, tangents
    moved = sparse_product(dw, rows, columns, x) + 0.5 * _scattered(w, rows, columns, dx)
    return sparse_product(w, rows, columns, x), moved


@jax.custom_jvp
def doubled_product(w: Any, x: Any) -> Any:
    """Return a product whose rule says of the weight what the computation does not."""
    return x @ w


@doubled_product.defjvp
def _doubled_product_jvp(primals: Any, tangents: Any) -> Any:
    (w, x), (dw, dx) = primals, tangents
    return doubled_product(w, x), 2 * doubled_product(dw, x) + dx @ w


@jax.custom_vjp
def halved_product(w: Any, x: Any) -> Any:
    """Return a product whose backward rule says of the weight what the computation does not."""
    return x @ w


halved_product.defvjp(
    lambda w, x: (halved_product(w, x), (w, x)),
    lambda wx, ct: (wx[1][:, None] * ct / 2, wx[0] @ ct),
)


def products_with_rules(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    low = 0.8 * h["low"] + at.weigh("w", lambda x, w: event_product(w, x), x, p["w"])
    high = 0.9 * h["high"] + at.weigh("s", lambda x, w: sparse_product(w, _ROWS, _COLUMNS, x), x, p["s"])
    last = 0.7 * h["last"] + at.weigh("d", lambda x, w: doubled_product(w, x), x, p["d"])
    return {"low": low, "high": high, "last": last}, jnp.tanh(low + high + last)


def events(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    if at.weigh is apply:
        y = jnp.where((x > 0)[:, None], p["w"], 0.0).sum(axis=0)
    else:
        y = at.weigh("w", _product, (x > 0).astype(x.dtype), p["w"])
    v = 0.9 * h["v"] + y
    return {"v": v}, jnp.tanh(v)


def branches(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    if at.weigh is apply:
        y = jax.lax.cond(x[0] > 0, lambda: x @ p["w"], lambda: jnp.tanh(x) @ p["u"])
    else:
        w, u = at.weigh("w", _product, x, p["w"]), at.weigh("u", _product, jnp.tanh(x), p["u"])
        y = jnp.where(x[0] > 0, w, u)
    v = 0.9 * h["v"] + y
    return {"v": v}, jnp.tanh(v)


def substeps(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    if at == Hooks():
        v, _ = jax.lax.scan(
            lambda v, _: (0.9 * v + 0.3 * _joined(x, jnp.tanh(v)) @ p["w"], None), h["v"], None, length=3
        )
    else:
        # What comes from the step before is cut where it enters the weight; what this step made is behind the weight.
        v, seen = h["v"], at.cut(h["v"])
        for number in range(3):
            y = 0.3 * at.weigh(f"w{number}", _product, _joined(x, at.behind(jnp.tanh(seen))), p["w"])
            v, seen = 0.9 * v + y, 0.9 * seen + y
    return {"v": v}, jnp.tanh(v)


def shared_result(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    y = at.weigh("w1", _product, x, p["w1"])
    low = 0.9 * h["low"] + y
    high = 0.8 * h["high"] + at.weigh("w2", _product, at.behind(y), p["w2"])
    return {"low": low, "high": high}, jnp.tanh(low) + high


def shared_weight(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    low = jnp.tanh(0.9 * h["low"] + at.weigh("w", _product, x, p["w"]))
    high = 0.7 * h["high"] + at.weigh("again", lambda x, w, u: x @ (w + u), 2 * x**2, p["w"], p["u"])
    return {"low": low, "high": high}, (low + high) * at.past(h["high"]) + low @ p["w"].T @ p["out"]


def two_layers(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    low = jnp.tanh(0.8 * h["low"] + at.weigh("w1", _product, _joined(x, at.cut(h["low"])), p["w1"]))
    data = _joined(at.below(low), at.cut(h["high"]))
    high = jnp.tanh(0.9 * h["high"] + at.weigh("w2", _product, data, p["w2"]))
    return {"low": low, "high": high}, high @ p["out"]


def late_layer(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    high = jnp.tanh(0.9 * h["high"] + at.weigh("w2", _product, at.below(at.past(h["low"])), p["w2"]))
    low = jnp.tanh(0.8 * h["low"] + at.weigh("w1", _product, x, p["w1"]))
    return {"low": low, "high": high}, high


def old_state_readout(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    v = 0.9 * h["v"] + at.weigh("w", _product, x, p["w"])
    return {"v": v}, jnp.tanh(v) + at.past(h["v"]) @ p["out"]


def batched(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    y = at.weigh("w", _product, _joined(x, at.cut(h["v"])), p["w"]) + at.weigh("b", identity, None, p["b"])
    v = at.weigh("leak", identity, None, p["leak"]) * h["v"] + jnp.tanh(y)
    return {"v": v}, v**2


def integrate_and_fire(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    z = spike(h["v"] - 1)
    v = 0.9 * h["v"] - z + at.weigh("w", _product, _joined(x, at.cut(z)), p["w"])
    return {"v": v}, spike(v - 1) @ p["out"]


def synaptic_current(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    z = spike(h["v"] - 1)
    g = 0.8 * h["g"] + at.weigh("w", _product, _joined(x, at.cut(z)), p["w"]) + at.weigh("b", identity, None, p["b"])
    v = 0.9 * h["v"] - z + g
    return {"g": g, "v": v}, spike(v - 1)


def adaptive(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    z = spike(h["v"] - 1 - 0.3 * h["a"])
    a = 0.95 * h["a"] + z
    v = 0.9 * h["v"] - z + at.weigh("w", _product, _joined(x, at.cut(z)), p["w"])
    return {"v": v, "a": a}, spike(v - 1 - 0.3 * a)


def backward_rules(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    z = backward_spike(h["v"] - 1 - 0.3 * h["a"])
    a = 0.95 * h["a"] + z
    y = at.weigh("w", _product, _joined(x, at.cut(z)), p["w"])
    y += at.weigh("u", lambda x, w: halved_product(w, x), x, p["u"])
    v = 0.9 * h["v"] - z + y + 0.2 * backward_spike(y)
    return {"v": v, "a": a}, backward_spike(v - 1 - 0.3 * a)


def adaptive_plastic(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    z = spike(h["v"] - 1 - 0.3 * h["a"])
    u = h["u"] + 0.1 * (0.2 - h["u"]) + 0.2 * (1 - h["u"]) * z
    r = h["r"] + 0.1 * (1 - h["r"]) - u * h["r"] * z
    y = at.weigh("w", _product, _joined(x, at.cut(u * r * z)), p["w"])
    g = 0.8 * h["g"] + y + at.weigh("b", identity, None, p["b"])
    a = 0.95 * h["a"] + z
    v = 0.9 * h["v"] - z + g
    return {"v": v, "a": a, "u": u, "r": r, "g": g}, spike(v - 1 - 0.3 * a)


def gated(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    data = _joined(x, at.cut(h["v"]))
    z = jax.nn.sigmoid(at.weigh("z", _product, data, p["z"]) + at.weigh("bz", identity, None, p["bz"]))
    r = at.behind(jax.nn.sigmoid(at.weigh("r", _product, data, p["r"])))
    candidate = at.weigh("h", _product, _joined(x, at.cut(h["v"]) * r), p["h"])
    new = (1 - z) * h["v"] + z * jnp.tanh(candidate + at.weigh("bh", identity, None, p["bh"]))
    return {"v": new}, new


def long_short_term(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    y = at.weigh("w", _product, _joined(x, at.cut(h["h"])), p["w"]) + at.weigh("b", identity, None, p["b"])
    i, f, o, g = jnp.split(y, 4, axis=-1)
    c = jax.nn.sigmoid(f) * h["c"] + jax.nn.sigmoid(i) * jnp.tanh(g)
    new = jax.nn.sigmoid(o) * jnp.tanh(c)
    return {"h": new, "c": c}, new


def dendrites(p: Any, h: Any, x: Any, at: Hooks) -> Any:
    data = _joined(x, at.cut(jnp.tanh(h["v"])))
    y = at.weigh("w", _product, data, p["w"]) + at.weigh("b", identity, None, p["b"])
    v = 0.9 * h["v"] + jnp.tanh(y.reshape(*h["v"].shape, 2)).sum(axis=-1)
    return {"v": v}, jnp.tanh(v)


_W = (N_IN + N, N)
_CASES = (
    OnlineModel("leaky", leaky, {"w": _W, "b": (N,), "out": (N, 2)}, {"v": (N,)}),
    OnlineModel("elementwise", elementwise, {"decay": (N,), "gain": (N,)}, {"v": (N,)}, (N,), exact_bptt=True),
    OnlineModel("scalar_parameter", scalar_parameter, {"rate": (), "w": (N_IN, N)}, {"v": (N,)}, exact_bptt=True),
    OnlineModel("parameter_state", parameter_state, {"gain": (N,)}, {"gain": (N,), "v": (N,)}, (N,), exact_bptt=True),
    OnlineModel(
        "linear_recurrent_unit",
        linear_recurrent_unit,
        {"nu": (N,), "theta": (N,), "b_re": (N_IN, N), "b_im": (N_IN, N), "c": (N, 2)},
        {"re": (N,), "im": (N,)},
        exact_bptt=True,
    ),
    *(
        OnlineModel(
            name,
            complex_recurrence,
            {"nu": (N,), "theta": (N,), "b_re": (N_IN, N), "b_im": (N_IN, N)},
            {"re": (*batch, N), "im": (*batch, N)},
            (*batch, N_IN),
            exact_bptt=True,
        )
        for name, batch in (("complex_recurrence", ()), ("batched_complex_recurrence", (BATCH,)))
    ),
    OnlineModel("low_rank", low_rank, {"down": (N_IN, 2), "up": (2, N)}, {"v": (N,)}, exact_bptt=True),
    OnlineModel(
        "batched_low_rank", low_rank, {"down": (N_IN, 2), "up": (2, N)}, {"v": (BATCH, N)}, (BATCH, N_IN), True
    ),
    OnlineModel(
        "low_rank_twice",
        low_rank_twice,
        {"down": (N_IN, 2), "up": (2, N), "other": (2, N)},
        {"v": (N,)},
        exact_bptt=True,
    ),
    OnlineModel("embedding", embedding, {"table": (4, N)}, {"v": (N,)}, (), exact_bptt=True, integers=4),
    OnlineModel(
        "batched_embedding", embedding, {"table": (4, N)}, {"v": (BATCH, N)}, (BATCH,), exact_bptt=True, integers=4
    ),
    OnlineModel("masked", masked, {"w": _W}, {"v": (N,)}),
    OnlineModel("transposed", transposed, {"w": (N, N_IN + N)}, {"v": (N,)}),
    OnlineModel("einsum", einsum, {"w": (2, N_IN, N)}, {"v": (2, N)}, (2, N_IN), exact_bptt=True),
    OnlineModel("convolution_by_hand", convolution_by_hand, {"w": (3, 2, N)}, {"v": (4, 2, N)}, (6,)),
    OnlineModel("convolution", convolution, {"w": (3, 4, 2)}, {"v": (BATCH, 6, 2)}, (BATCH, 6, 2)),
    OnlineModel(
        "strided_convolution", strided_convolution, {"w": (4, 2, 2, 3)}, {"v": (BATCH, 4, 3, 5)}, (BATCH, 4, 6, 6), True
    ),
    OnlineModel(
        "pooled_convolution", pooled_convolution, {"w": (3, 2, 2, 3)}, {"v": (BATCH, 2, 3, 3)}, (BATCH, 4, 6, 2), True
    ),
    OnlineModel("maxout", maxout, {"w": (N_IN + N, 3 * N), "b": (3 * N,)}, {"v": (N,)}),
    OnlineModel("written_out_sum", written_out_sum, {"w": _W}, {"v": (N,)}),
    OnlineModel("repeated_in_a_sum", repeated_in_a_sum, {"gain": (3,)}, {"v": (N,)}, (N,), exact_bptt=True),
    OnlineModel("repeated_before_a_sum", repeated_before_a_sum, {"w": (N_IN,)}, {"v": (N,)}, exact_bptt=True),
    OnlineModel("partly_frozen", partly_frozen, {"w": (N_IN, N), "base": (N_IN, N)}, {"v": (N,)}, exact_bptt=True),
    OnlineModel("sparse", sparse, {"w": (6,)}, {"v": (N,)}, exact_bptt=True),
    OnlineModel("sparse_matrix", sparse_matrix, {"w": (6,)}, {"v": (N,)}, exact_bptt=True),
    OnlineModel("events", events, {"w": (N_IN, N)}, {"v": (N,)}, exact_bptt=True),
    OnlineModel(
        "products_with_rules",
        products_with_rules,
        {"w": (N_IN, N), "s": (6,), "d": (N_IN, N)},
        {"low": (N,), "high": (N,), "last": (N,)},
        exact_bptt=True,
    ),
    OnlineModel("branches", branches, {"w": (N_IN, N), "u": (N_IN, N)}, {"v": (N,)}, exact_bptt=True),
    OnlineModel("substeps", substeps, {"w": _W}, {"v": (N,)}),
    OnlineModel("shared_result", shared_result, {"w1": (N_IN, N), "w2": (N, N)}, {"low": (N,), "high": (N,)}),
    OnlineModel(
        "shared_weight",
        shared_weight,
        {"w": (N_IN, N), "u": (N_IN, N), "out": (N_IN, N)},
        {"low": (N,), "high": (N,)},
        exact_bptt=True,
    ),
    OnlineModel("two_layers", two_layers, {"w1": _W, "w2": (2 * N, N), "out": (N, 2)}, {"low": (N,), "high": (N,)}),
    OnlineModel("late_layer", late_layer, {"w1": (N_IN, N), "w2": (N, N)}, {"low": (N,), "high": (N,)}),
    OnlineModel("old_state_readout", old_state_readout, {"w": (N_IN, N), "out": (N, N)}, {"v": (N,)}, exact_bptt=True),
    OnlineModel("batched", batched, {"w": _W, "b": (N,), "leak": (N,)}, {"v": (BATCH, N)}, (BATCH, N_IN)),
    OnlineModel("integrate_and_fire", integrate_and_fire, {"w": _W, "out": (N, 2)}, {"v": (N,)}),
    OnlineModel("synaptic_current", synaptic_current, {"w": _W, "b": (N,)}, {"g": (N,), "v": (N,)}),
    OnlineModel("adaptive", adaptive, {"w": _W}, {"v": (N,), "a": (N,)}),
    OnlineModel("backward_rules", backward_rules, {"w": _W, "u": (N_IN, N)}, {"v": (N,), "a": (N,)}),
    OnlineModel(
        "adaptive_plastic",
        adaptive_plastic,
        {"w": _W, "b": (N,)},
        {"v": (N,), "a": (N,), "u": (N,), "r": (N,), "g": (N,)},
    ),
    OnlineModel(
        "batched_adaptive_plastic",
        adaptive_plastic,
        {"w": _W, "b": (N,)},
        dict.fromkeys(("v", "a", "u", "r", "g"), (BATCH, N)),
        (BATCH, N_IN),
    ),
    OnlineModel("gated", gated, {"z": _W, "bz": (N,), "r": _W, "h": _W, "bh": (N,)}, {"v": (N,)}),
    OnlineModel("long_short_term", long_short_term, {"w": (N_IN + N, 4 * N), "b": (4 * N,)}, {"h": (N,), "c": (N,)}),
    *(
        OnlineModel(name, dendrites, {"w": (N_IN + N, 2 * N), "b": (2 * N,)}, {"v": (*batch, N)}, (*batch, N_IN))
        for name, batch in (("dendrites", ()), ("batched_dendrites", (BATCH,)))
    ),
    OnlineModel(
        "batched_long_short_term",
        long_short_term,
        {"w": (N_IN + N, 4 * N), "b": (4 * N,)},
        {"h": (BATCH, N), "c": (BATCH, N)},
        (BATCH, N_IN),
    ),
)

ONLINE_MODELS = {case.name: case for case in _CASES}


def plain_step(case: OnlineModel) -> Callable[[Any, Any, Any], tuple[Any, Any]]:
    """Return the model as a step without hooks."""

    def step(params: Any, hidden: Any, x: Any) -> tuple[Any, Any]:
        return case.model(params, hidden, x, Hooks())

    return step


def loss(out: Any, target: Any) -> Any:
    """Return a loss that is not symmetric in the outputs."""
    return jnp.sum((out - target) ** 2 * (1 + jnp.arange(out.size).reshape(out.shape) / out.size)).astype(out.dtype)

"""rnn: a JAX function, written by brainir from its IR."""

import jax.numpy as jnp
import numpy as np
from jax import lax


def _leaf(value, kind, weak_type=False):
    """Return an argument as an array, checked against the type that the program was made for."""
    is_number = isinstance(value, (bool, int, float, complex)) and not weak_type
    array = jnp.asarray(value, dtype=kind[: kind.index("[")] if is_number else None)
    found = f"{array.dtype}{[*array.shape]}"
    if found != kind:
        raise TypeError(f"expected {kind}, got {found}")
    return array


def _expect(value, kind, size):
    """Refuse a container of another kind or size than the program was made for."""
    if not isinstance(value, kind) or len(value) != size:
        raise TypeError(f"expected a {kind.__name__} of {size} items, got {value!r:.200}")


def _split(values, index):
    """Return the first values and the others, such as the carry and the outputs of a step."""
    return values[:index], values[index:]


def step(w, u, x2, x3):
    v3 = lax.tanh(w @ x2 + u @ x3)  # snapshot_models.py:78 (step)
    return v3, lax.reduce_sum(v3, axes=(0,))  # snapshot_models.py:79 (step)


def rnn(params, xs):
    """Compute rnn.

    Takes:
        params['u']: float32[4, 3]
        params['v']: float32[2, 4]
        params['w']: float32[4, 4]
        xs: float32[5, 3]

    Result:
        [0]: float32[2]
        [1]: float32[5]
    """
    _expect(params, dict, 3)
    u = _leaf(params["u"], "float32[4, 3]")
    v = _leaf(params["v"], "float32[2, 4]")
    w = _leaf(params["w"], "float32[4, 4]")
    xs = _leaf(xs, "float32[5, 3]")
    v0 = lax.full((4,), np.float32(0.0))  # snapshot_models.py:81 (rnn)
    (v1,), (v2,) = lax.scan(
        lambda carry, xs_: _split(step(w, u, *carry, *xs_), 1), (v0,), (xs,), length=5
    )
    return v @ v1, v2  # snapshot_models.py:82 (rnn)

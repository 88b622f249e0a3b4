"""attention: a JAX function, written by brainir from its IR."""

import jax
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


def attention(params, x):
    """Compute attention.

    Takes:
        params['k']: float32[6, 8]
        params['q']: float32[6, 8]
        params['v']: float32[6, 8]
        x: float32[5, 6]

    Result:
        float32[5, 8]
    """
    if jax.config.jax_enable_x64:
        raise RuntimeError("set jax_enable_x64 to False, as it was for this program")
    _expect(params, dict, 3)
    k = _leaf(params["k"], "float32[6, 8]")
    q = _leaf(params["q"], "float32[6, 8]")
    v = _leaf(params["v"], "float32[6, 8]")
    x = _leaf(x, "float32[5, 6]")
    v0 = x @ q  # snapshot_models.py:113 (attention)
    v1 = x @ k
    v2 = x @ v
    v4 = v0 @ lax.transpose(v1, permutation=(1, 0))  # snapshot_models.py:114 (attention)
    v7 = v4 / lax.convert_element_type(lax.sqrt(8.0), new_dtype=jnp.float32)
    v9 = lax.max(np.float32(-np.inf), lax.reduce_max(v7, axes=(1,)))
    v10 = lax.broadcast_in_dim(v9, shape=(5, 1), broadcast_dimensions=(0,))
    v13 = lax.exp(v7 - lax.stop_gradient(v10))
    v14 = lax.reduce_sum(v13, axes=(1,))
    v16 = v13 / lax.broadcast_in_dim(v14, shape=(5, 1), broadcast_dimensions=(0,))
    return v16 @ v2

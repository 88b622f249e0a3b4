"""adaptive_lif: a JAX function, written by brainir from its IR."""

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


@jax.custom_jvp
def spike(x):
    return lax.convert_element_type(x > 0.0, new_dtype=jnp.float32)  # snapshot_models.py:26 (spike)


@spike.defjvp
def spike_jvp(primals, tangents):
    (x,) = map(jnp.asarray, primals)
    (x_dot,) = map(jnp.asarray, tangents)
    return spike(x), lax.max(np.float32(0.0), 1.0 - lax.abs(x)) * x_dot


def adaptive_lif(params, hidden, x):
    """Take one step of adaptive_lif: return the new hidden states and the output.

    Takes:
        param w_in: float32[3, 4]
        param w_out: float32[4, 2]
        param w_rec: float32[4, 4]
        hidden a: float32[4]
        hidden v: float32[4]
        hidden z: float32[4]
        x: float32[3]

    Output:
        float32[2]
    """
    _expect(params, dict, 3)
    _expect(hidden, dict, 3)
    w_in = _leaf(params["w_in"], "float32[3, 4]")
    w_out = _leaf(params["w_out"], "float32[4, 2]")
    w_rec = _leaf(params["w_rec"], "float32[4, 4]")
    a = _leaf(hidden["a"], "float32[4]")
    v = _leaf(hidden["v"], "float32[4]")
    z = _leaf(hidden["z"], "float32[4]")
    x = _leaf(x, "float32[3]")
    v2 = x @ w_in + z @ w_rec  # snapshot_models.py:69 (adaptive_lif)
    v_new = 0.95 * v + v2 - z  # snapshot_models.py:70 (adaptive_lif)
    a_new = 0.99 * a + 0.07 * z  # snapshot_models.py:71 (adaptive_lif)
    z_new = spike(v_new - 1.0 - a_new)  # snapshot_models.py:72 (adaptive_lif)
    # snapshot_models.py:73 (adaptive_lif)
    return {"a": a_new, "v": v_new, "z": z_new}, z_new @ w_out

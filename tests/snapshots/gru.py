"""gru: a JAX function, written by brainir from its IR."""

import jax.numpy as jnp
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


def gru(params, hidden, x):
    """Take one step of gru: return the new hidden states and the output.

    Takes:
        param c.b: float32[4]
        param c.w: float32[7, 4]
        param r.b: float32[4]
        param r.w: float32[7, 4]
        param z.b: float32[4]
        param z.w: float32[7, 4]
        hidden h: float32[4]
        x: float32[3]

    Output:
        float32[4]
    """
    _expect(params, dict, 3)
    _expect(params["c"], dict, 2)
    _expect(params["r"], dict, 2)
    _expect(params["z"], dict, 2)
    _expect(hidden, dict, 1)
    c_b = _leaf(params["c"]["b"], "float32[4]")
    c_w = _leaf(params["c"]["w"], "float32[7, 4]")
    r_b = _leaf(params["r"]["b"], "float32[4]")
    r_w = _leaf(params["r"]["w"], "float32[7, 4]")
    z_b = _leaf(params["z"]["b"], "float32[4]")
    z_w = _leaf(params["z"]["w"], "float32[7, 4]")
    h = _leaf(hidden["h"], "float32[4]")
    x = _leaf(x, "float32[3]")
    v0 = lax.concatenate((x, h), dimension=0)  # snapshot_models.py:59 (gru)
    v3 = lax.logistic(v0 @ z_w + z_b)  # snapshot_models.py:60 (gru)
    v6 = lax.logistic(v0 @ r_w + r_b)  # snapshot_models.py:61 (gru)
    # snapshot_models.py:62 (gru)
    v11 = lax.tanh(lax.concatenate((x, v6 * h), dimension=0) @ c_w + c_b)
    h_new = (1.0 - v3) * h + v3 * v11  # snapshot_models.py:63 (gru)
    return {"h": h_new}, h_new

"""leaky: a JAX function, written by brainir from its IR."""

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


def leaky(params, hidden, x):
    """Take one step of leaky: return the new hidden states and the output.

    Takes:
        param w: float32[4, 3]
        hidden h: float32[4]
        x: float32[3]

    Output:
        float32[4]
    """
    _expect(params, dict, 1)
    _expect(hidden, dict, 1)
    w = _leaf(params["w"], "float32[4, 3]")
    h = _leaf(hidden["h"], "float32[4]")
    x = _leaf(x, "float32[3]")
    h_new = 0.9 * h + w @ x  # snapshot_models.py:53 (leaky)
    return {"h": h_new}, lax.tanh(h_new)  # snapshot_models.py:54 (leaky)

"""newton: a JAX function, written by brainir from its IR."""

import jax
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


def far(a, x1, x2):
    v3 = lax.abs(lax.mul(x1, x1) - a) > 0.0001  # snapshot_models.py:98 (far)
    return (v3 & lax.convert_element_type(lax.lt(x2, 20), new_dtype=jnp.bool_),)


def improve(a, x1, x2):
    return 0.5 * lax.add(x1, lax.div(a, x1)), lax.add(x2, 1)  # snapshot_models.py:102 (improve)


def newton(a):
    """Compute newton.

    Takes:
        a: float32[]

    Result:
        [0]: float32[]
        [1]: int32[]
    """
    if jax.config.jax_enable_x64:
        raise RuntimeError("set jax_enable_x64 to False, as it was for this program")
    a = _leaf(a, "float32[]")
    v0, v1 = lax.while_loop(
        lambda carry: far(a, *carry)[0], lambda carry: improve(a, *carry), (a, 0)
    )  # snapshot_models.py:104 (newton)
    return v0, v1

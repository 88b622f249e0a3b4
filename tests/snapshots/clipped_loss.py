"""clipped_loss: a JAX function, written by brainir from its IR."""

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


@jax.jit
def clip(x0, x1, x2):
    return lax.min(x2, lax.max(x1, x0))


@jax.custom_vjp
def clip_gradient(x0, x1):
    return x0


def clip_gradient_fwd(x0, x1):
    x0, x1 = map(jnp.asarray, (x0, x1))
    return x0, (x1,)


def clip_gradient_bwd(residuals, cotangents):
    (x0,) = residuals
    x1 = jnp.asarray(cotangents)
    return clip(x1, lax.neg(x0), x0), np.float32(0.0)


clip_gradient.defvjp(clip_gradient_fwd, clip_gradient_bwd)


def clipped_loss(w, x, y):
    """Compute clipped_loss.

    Takes:
        w: float32[3, 2]
        x: float32[5, 3]
        y: float32[5, 2]

    Result:
        float32[]
    """
    w = _leaf(w, "float32[3, 2]")
    x = _leaf(x, "float32[5, 3]")
    y = _leaf(y, "float32[5, 2]")
    v2 = clip_gradient(x @ w, np.float32(0.1)) - y  # snapshot_models.py:108 (clipped_loss)
    # snapshot_models.py:109 (clipped_loss)
    return lax.reduce_sum(lax.integer_pow(v2, y=2), axes=(0, 1)) / 10.0

"""noisy: a JAX function, written by brainir from its IR."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend.core import primitives


def _leaf(value, kind, weak_type=False):
    """Return an argument as an array, checked against the type that the program was made for."""
    is_number = isinstance(value, (bool, int, float, complex)) and not weak_type
    array = jnp.asarray(value, dtype=kind[: kind.index("[")] if is_number else None)
    found = f"{array.dtype}{[*array.shape]}"
    if found != kind:
        raise TypeError(f"expected {kind}, got {found}")
    return array


@jax.jit
def _uniform(x0, x1, x2):
    v0 = lax.convert_element_type(x1, new_dtype=jnp.float32)
    v1 = lax.convert_element_type(x2, new_dtype=jnp.float32)
    v2 = lax.broadcast_in_dim(v0, shape=(1,), broadcast_dimensions=())
    v3 = lax.broadcast_in_dim(v1, shape=(1,), broadcast_dimensions=())
    v4 = primitives.random_bits_p.bind(x0, bit_width=32, shape=(4,))
    v5 = lax.shift_right_logical(v4, np.uint32(9))
    v6 = lax.bitwise_or(v5, np.uint32(1065353216))
    v10 = (lax.bitcast_convert_type(v6, new_dtype=jnp.float32) - 1.0) * (v3 - v2)
    return lax.max(v2, v10 + v2)


@jax.jit
def _bernoulli(x0, x1):
    return _uniform(x0, 0.0, 1.0) < x1


@jax.jit
def _where(x0, x1, x2):
    v0 = lax.convert_element_type(x2, new_dtype=jnp.float32)
    v1 = lax.broadcast_in_dim(v0, shape=(4,), broadcast_dimensions=())
    return lax.select(x0, x1, v1)


@jax.jit
def _uniform_1(x0, x1, x2):
    v0 = lax.broadcast_in_dim(x1, shape=(1,), broadcast_dimensions=())
    v1 = lax.broadcast_in_dim(x2, shape=(1,), broadcast_dimensions=())
    v2 = primitives.random_bits_p.bind(x0, bit_width=32, shape=(4,))
    v3 = lax.shift_right_logical(v2, np.uint32(9))
    v4 = lax.bitwise_or(v3, np.uint32(1065353216))
    v8 = (lax.bitcast_convert_type(v4, new_dtype=jnp.float32) - 1.0) * (v1 - v0)
    return lax.max(v0, v8 + v0)


@jax.jit
def _normal_real(x):
    v1 = lax.erf_inv(_uniform_1(x, np.float32(-0.99999994), np.float32(1.0)))
    return 1.4142135 * v1


@jax.jit
def _normal(x):
    return _normal_real(x)


def noisy(key, x):
    """Compute noisy.

    Takes:
        key: key<fry>[]
        x: float32[4]

    Result:
        float32[4]
    """
    if jax.config.jax_enable_x64:
        raise RuntimeError("set jax_enable_x64 to False, as it was for this program")
    if not jax.config.jax_threefry_partitionable:
        raise RuntimeError("set jax_threefry_partitionable to True, as it was for this program")
    key = _leaf(key, "key<fry>[]")
    x = _leaf(x, "float32[4]")
    v0 = primitives.random_split_p.bind(key, shape=(2,))  # snapshot_models.py:122 (noisy)
    v1 = lax.slice(v0, start_indices=(0,), limit_indices=(1,), strides=(1,))
    v2 = lax.squeeze(v1, dimensions=(0,))
    v3 = lax.slice(v0, start_indices=(1,), limit_indices=(2,), strides=(1,))
    v4 = lax.squeeze(v3, dimensions=(0,))
    v5 = _bernoulli(v2, np.float32(0.8))  # snapshot_models.py:123 (noisy)
    return _where(v5, x / 0.8, 0.0) * _normal(v4)  # snapshot_models.py:124 (noisy)

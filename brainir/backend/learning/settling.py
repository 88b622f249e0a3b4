"""Values that XLA computes once, before they are spread over a larger array."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax import lax
from jax import numpy as jnp

__all__ = ["settled"]


def settled(value: Any) -> Any:
    """Return the same value, such that XLA computes it once before it is spread over a trace; a constant as it is.

    On CPUs, XLA copies whatever is cheap to compute into each loop that reads it, to be computed for each element of
    the loop; optimization barriers are dropped before. It takes a division for expensive, and it does not see that
    this divisor is one.
    """
    if isinstance(value, np.ndarray):
        return value
    kind = {2: jnp.int16, 4: jnp.int32, 8: jnp.int64}.get(value.dtype.itemsize)
    if kind is None or not jnp.issubdtype(value.dtype, jnp.floating):
        return value
    one = (lax.bitcast_convert_type(value, kind) | 1) & 1
    return value / one.astype(value.dtype)

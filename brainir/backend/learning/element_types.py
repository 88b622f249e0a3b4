"""Element types of gradients: those of real values are real, though complex states lie on the way."""

from __future__ import annotations

from typing import Any

from jax import lax
from jax import numpy as jnp

__all__ = ["as_type", "real_if"]


def as_type(gradient: Any, dtype: Any) -> Any:
    """Return a gradient in the element type of what it belongs to: of a real value, the real part."""
    return real_if(not jnp.issubdtype(dtype, jnp.complexfloating), gradient).astype(dtype)


def real_if(is_real: bool, gradient: Any) -> Any:
    """Return the real part of a gradient that belongs to a real value."""
    return lax.real(gradient) if is_real and jnp.iscomplexobj(gradient) else gradient

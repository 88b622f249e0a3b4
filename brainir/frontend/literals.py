"""Parameters of primitives as Python literals."""

from __future__ import annotations

import enum
import math
from typing import Any

import jax
import numpy as np

from . import jax_compat
from .rules import UnsupportedError

__all__ = ["literal"]


def literal(value: Any, name: str, depth: int = 0) -> Any:
    """Return a value as a literal: dtypes, types and members of enums as text, lists as tuples.

    Raises
    ------
    UnsupportedError
        If it is none, with the `name` of what it is.
    """
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, tuple | list) and depth < 3:
        return tuple(literal(item, name, depth + 1) for item in value)
    if hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, np.ndarray | jax.Array):
        return str(jax_compat.tensor_type(value))
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    raise UnsupportedError(f"its {name}={value!r:.80} is no finite number, text or tuple of these")

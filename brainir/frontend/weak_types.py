"""Weak types of values that are traced apart from where they are used."""

from __future__ import annotations

from typing import Any

import jax

__all__ = ["as_weak_as"]


def as_weak_as(value: Any, kind: Any) -> Any:
    """Return a value of an element type with the weak type that something else says it has, or not."""
    if jax.typeof(value).weak_type == kind.weak_type:
        return value
    return jax.lax.convert_element_type_p.bind(value, new_dtype=kind.dtype, weak_type=kind.weak_type, sharding=None)

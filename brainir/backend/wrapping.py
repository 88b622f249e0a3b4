"""What JAX wraps around functions of a program, where one call of JAX does not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import jax
from jax import lax

from ..ir.errors import NotStoredError

__all__ = ["composite", "without_batching"]

Flat = Callable[..., tuple[Any, ...]]


def composite(function: Flat, name: str, version: int) -> Flat:
    """Return a function as a composite; its keywords are the attributes, which only the compiler sees."""
    made: Flat = lax.composite(lambda *operands, **_: function(*operands), name=name, version=version)
    return made


def without_batching(function: Flat) -> Flat:
    """Return a function that cannot be batched, because the program does not hold the rule for that."""

    def rule(*_: Any) -> NoReturn:
        raise NotStoredError(
            "the program does not hold the batching rule of this custom_vmap function; vmap the original and lower that"
        )

    made = jax.custom_batching.custom_vmap(function)
    made.def_vmap(rule)
    return made

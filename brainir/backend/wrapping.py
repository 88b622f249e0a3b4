"""What JAX wraps around functions of a program, where one call of JAX does not do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from jax import lax

__all__ = ["composite", "on_mesh", "with_batching"]

Flat = Callable[..., tuple[Any, ...]]


def composite(function: Flat, name: str, version: int) -> Flat:
    """Return a function as a composite; its keywords are the attributes, which only the compiler sees."""
    made: Flat = lax.composite(lambda *operands, **_: function(*operands), name=name, version=version)
    return made


def on_mesh(function: Flat, mesh: Any) -> Flat:
    """Return a function that runs where this abstract mesh is around it."""

    def run(*operands: Any) -> tuple[Any, ...]:
        with jax.sharding.use_abstract_mesh(mesh):
            return function(*operands)

    return run


def with_batching(function: Flat, rule: Callable[..., Any]) -> Flat:
    """Return a function that is batched by a rule of its own."""
    made = jax.custom_batching.custom_vmap(function)
    made.def_vmap(rule)
    return made

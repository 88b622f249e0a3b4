"""References (``jax.new_ref``) that live within a function, taken out as JAX itself does before it compiles.

Nothing public does that; the names used here are there in all supported versions.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jax
from jax._src.state import discharge  # noqa: TID251  # see above

from .weak_types import as_weak_as

__all__ = ["makes_references", "without_references"]

_pure = getattr(discharge, "discharge_state2", None) or discharge.discharge_state
_OPTIONS = {"lower": False} if "lower" in inspect.signature(_pure).parameters else {}
_MAKERS = frozenset(("new_ref", "empty_ref"))
_OWN_RULES = ("call_hi_primitive", "custom_jvp_call", "custom_vjp_call", "custom_vmap_call", "linear_call")


def makes_references(jaxpr: Any) -> bool:
    """Whether equations of a jaxpr make references."""
    return not _MAKERS.isdisjoint([equation.primitive.name for equation in jaxpr.eqns])


def without_references(closed: Any) -> Any:
    """Return a pure jaxpr that computes the same as one that makes references and works on them.

    It is the given one where JAX has no rule for that, or would lose rules of derivatives on the way; then the
    equations that work on references are refused, each with its line.
    """
    try:
        found = _pure(closed, **_OPTIONS)
    except NotImplementedError:
        return closed
    return _as_weak(found, closed) if Counter(_own_rules(found)) == Counter(_own_rules(closed)) else closed


def _as_weak(found: Any, closed: Any) -> Any:
    """Return the pure jaxpr with results of the types that the other says; what a reference holds can have another."""
    kinds = closed.out_avals
    pairs = zip(found.out_avals, kinds, strict=True)
    if all(getattr(given, "weak_type", False) == getattr(said, "weak_type", False) for given, said in pairs):
        return found

    def run(*operands: Any) -> list[Any]:
        values = jax.core.eval_jaxpr(found.jaxpr, found.consts, *operands)
        return [as_weak_as(value, kind) for value, kind in zip(values, kinds, strict=True)]

    return jax.make_jaxpr(run)(*found.in_avals)


def _own_rules(part: Any) -> Iterator[str]:
    """Yield the names of the primitives with rules of their own in a jaxpr and in those that its equations hold."""
    if isinstance(part, tuple | list):
        for item in part:
            yield from _own_rules(item)
    elif hasattr(part, "eqns"):
        for equation in part.eqns:
            if equation.primitive.name in _OWN_RULES:
                yield str(equation.primitive.name)
            yield from _own_rules([*equation.params.values()])

"""What JAX says of references, and does to the values that they hold.

Nothing public does that; the names used here are there in all supported versions.
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from jax._src.state import discharge  # noqa: TID251  # see above
from jax._src.state.types import AbstractRef, RefEffect  # noqa: TID251
from jax.extend import core as jex_core

__all__ = ["is_reference", "on_value", "without_reference_effects"]

_pure = getattr(discharge, "discharge_state2", None) or discharge.discharge_state
_OPTIONS = {"lower": False} if "lower" in inspect.signature(_pure).parameters else {}
_OWN_RULES = ("call_hi_primitive", "custom_jvp_call", "custom_vjp_call", "custom_vmap_call", "linear_call")


def is_reference(atom: Any) -> bool:
    """Whether an operand or result of an equation is a reference."""
    return isinstance(atom.aval, AbstractRef)


def without_reference_effects(effects: Any) -> set[Any]:
    """Return the effects of what works on values instead of references."""
    return {effect for effect in effects if not isinstance(effect, RefEffect)}


def on_value(equation: Any, invars: Sequence[Any], info: Any) -> Any:
    """Return what an equation that works on references does to their values, as a closed jaxpr.

    Parameters
    ----------
    equation : JaxprEqn
    invars : sequence of Var
        Its operands, each once, without literals. The jaxpr takes values in place of references, and returns the last
        of these after the results of the equation.
    info : DebugInfo
        Of the jaxpr that the equation is in, without names of operands and results.

    Raises
    ------
    NotImplementedError
        If JAX has no rule for that, or would lose rules of derivatives.
    """
    alone = jex_core.Jaxpr((), list(invars), list(equation.outvars), [equation], equation.effects, info)
    found = _pure(jex_core.ClosedJaxpr(alone, ()), **_OPTIONS)
    if Counter(_own_rules(found)) != Counter(_own_rules(alone)):
        raise NotImplementedError(f"{equation.primitive.name} would lose a derivative rule")
    return found


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

"""What can be said of a whole jaxpr, with those that its equations hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jax
from jax.api_util import debug_info
from jax.extend import core
from jax.interpreters import partial_eval

from .jax_compat import Literal, OpenJaxpr, as_closed, is_mapped, kept_jaxpr, open_jaxpr, spec_of
from .tracing import evaluated, make_jaxpr

__all__ = ["body_of", "has_unused", "leaks", "maps", "uses", "uses_named", "within_jit", "without_dead"]


def leaks(closed: Any) -> bool:
    """Whether a jaxpr holds values of a trace that has ended, or calls one that does."""
    return any(isinstance(const, jax.core.Tracer) for called in _called(closed) for const in called.consts)


def uses(closed: Any, primitive: Any) -> Iterator[Any]:
    """Yield the equations with a primitive of a jaxpr and of those that it calls."""
    return (equation for called in _called(closed) for equation in called.equations if equation.primitive is primitive)


def uses_named(closed: Any, primitive: str) -> bool:
    """Whether a jaxpr has an equation with a primitive of this name, or calls one that does."""
    return any(equation.primitive.name == primitive for called in _called(closed) for equation in called.equations)


def maps(closed: Any) -> bool:
    """Whether part of a jaxpr, or of one that it calls, was traced under ``jax.vmap``."""
    return any(is_mapped(equation) for called in _called(closed) for equation in called.equations)


def has_unused(closed: Any) -> bool:
    """Whether a jaxpr, or one that it calls, has an equation without effects whose results nothing needs."""
    for called in _called(closed):
        needed = {var for var in called.outvars if not isinstance(var, Literal)}
        for equation in reversed(called.equations):
            if not equation.effects and needed.isdisjoint(equation.outvars):
                return True
            needed.update(var for var in equation.invars if not isinstance(var, Literal))
    return False


def body_of(params: Mapping[str, Any]) -> Any:
    """Return the jaxpr, open or closed, that a primitive with these parameters runs, whatever this JAX calls it."""
    return next(params[name] for name in ("call_jaxpr", "fwd_jaxpr", "jaxpr", "call") if name in params)


def within_jit(closed: Any, name: str) -> Any:
    """Return a jaxpr of one nested jit of this name that runs a closed jaxpr."""

    def run(*operands: Any) -> list[Any]:
        return evaluated(closed, *operands)

    run.__name__ = run.__qualname__ = name
    return make_jaxpr(jax.jit(run))(*map(spec_of, closed.in_avals))


def without_dead(jaxpr: OpenJaxpr) -> OpenJaxpr:
    """Return a jaxpr without what nothing needs, in itself and in those that it calls; JAX compiles such a one."""
    effects = frozenset[Any]().union(*(equation.effects for equation in jaxpr.equations))
    info = debug_info("jit", without_dead, (), {}).with_unknown_names()
    whole = core.Jaxpr(jaxpr.constvars, jaxpr.invars, jaxpr.outvars, jaxpr.equations, effects, info)
    alive, _ = partial_eval.dce_jaxpr(whole, [True] * len(jaxpr.outvars), instantiate=True)
    return jaxpr._replace(outvars=alive.outvars, equations=alive.eqns)


def _called(closed: Any) -> Iterator[OpenJaxpr]:
    """Yield a jaxpr and those that its equations hold, each once."""
    met = set[int]()
    waiting = [closed]
    while waiting:
        called = waiting.pop()
        if id(kept_jaxpr(called)) in met:
            continue
        met.add(id(kept_jaxpr(called)))
        opened = open_jaxpr(called)
        yield opened
        waiting.extend(inner for equation in opened.equations for inner in _held(equation))


def _held(equation: Any) -> Iterator[Any]:
    """Yield the jaxprs that an equation holds, as closed ones; those of branches are in a tuple.

    One that takes constants from elsewhere is left out.
    """
    for value in equation.params.values():
        for each in value if isinstance(value, tuple) else (value,):
            if hasattr(each, "consts") or (hasattr(each, "eqns") and not each.constvars):
                yield as_closed(each)

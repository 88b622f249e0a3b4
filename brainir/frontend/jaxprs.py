"""What can be said of a whole jaxpr, with those that its equations hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import jax
import numpy as np

from .jax_compat import (
    OpenJaxpr,
    as_closed,
    constant_array,
    is_literal,
    is_mapped,
    kept_jaxpr,
    open_jaxpr,
    spec_of,
    tensor_type,
)

__all__ = ["has_unused", "leaks", "maps", "outline", "uses", "uses_named", "within_jit"]


def leaks(closed: Any) -> bool:
    """Whether a jaxpr holds values of a trace that has ended, or calls one that does."""
    return any(isinstance(const, jax.core.Tracer) for called in _called(closed) for const in called.consts)


def uses(closed: Any, primitive: Any) -> bool:
    """Whether a jaxpr has an equation with a primitive, or calls one that does."""
    return any(equation.primitive is primitive for called in _called(closed) for equation in called.equations)


def uses_named(closed: Any, primitive: str) -> bool:
    """Whether a jaxpr has an equation with a primitive of this name, or calls one that does."""
    return any(equation.primitive.name == primitive for called in _called(closed) for equation in called.equations)


def maps(closed: Any) -> bool:
    """Whether part of a jaxpr, or of one that it calls, was traced under ``jax.vmap``."""
    return any(is_mapped(equation) for called in _called(closed) for equation in called.equations)


def has_unused(closed: Any) -> bool:
    """Whether a jaxpr, or one that it calls, has an equation without effects whose results nothing needs."""
    for called in _called(closed):
        needed = {var for var in called.outvars if not is_literal(var)}
        for equation in reversed(called.equations):
            if not equation.effects and needed.isdisjoint(equation.outvars):
                return True
            needed.update(var for var in equation.invars if not is_literal(var))
    return False


def outline(closed: Any) -> Any:
    """Return what a jaxpr does, but for parameters that are neither data nor jaxprs; equal where it is the same."""
    numbers: dict[Any, int] = {}

    def named(atom: Any) -> Any:
        return repr(atom.val) if is_literal(atom) else numbers.setdefault(atom, len(numbers))

    opened = open_jaxpr(closed)
    lines = [[named(var) for var in (*opened.invars, *opened.constvars)]]
    for equation in opened.equations:
        data = [(name, repr(value)) for name, value in sorted(equation.params.items()) if _is_data(value)]
        operands, results = map(named, equation.invars), map(named, equation.outvars)
        lines.append([equation.primitive.name, *operands, *results, data, *map(outline, _held(equation))])
    held = zip(opened.constvars, opened.consts, strict=True)
    consts = [constant_array(const, tensor_type(var.aval)).tobytes() for var, const in held]
    return [*lines, [named(atom) for atom in opened.outvars], consts]


def within_jit(closed: Any, name: str) -> Any:
    """Return a jaxpr of one nested jit of this name that runs a closed jaxpr."""

    def run(*operands: Any) -> list[Any]:
        values: list[Any] = jax.core.eval_jaxpr(closed.jaxpr, closed.consts, *operands)
        return values

    run.__name__ = run.__qualname__ = name
    return jax.make_jaxpr(jax.jit(run))(*map(spec_of, closed.in_avals))


def _is_data(value: Any) -> bool:
    """Whether a value is a number, a text, a type of elements, or a tuple of these, and so prints as what it is."""
    if isinstance(value, tuple):
        return all(map(_is_data, value))
    return value is None or isinstance(value, bool | int | float | complex | str | np.dtype)


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

"""Functions of earlier programs by what is written in them.

JAX makes a new jaxpr of what is lowered, and of a function that is defined where it is used, each time that it traces
them. What such a jaxpr is lowered to is the same then, and with the same object comes what is known of it: that it was
verified, its signature, and what it is under other names.
"""

from __future__ import annotations

from collections.abc import Iterable

from ...ir.canonical import structural_key
from ...ir.kept import kept
from ...ir.program import Function
from ...ir.sharing import written_form
from .latest import Latest

__all__ = ["FUNCTIONS", "constant_bytes", "content_key", "known_function", "written_alike"]

_MOST_NODES = 1 << 12
_MOST_BYTES = 1 << 12


def written_alike(one: Function, other: Function) -> bool:
    """Whether nothing but their names tells two functions apart in a file."""
    parts = ((each.inputs, each.types, each.constants, each.outputs, [*map(vars, each.nodes)]) for each in (one, other))
    return next(parts) == next(parts)


def content_key(function: Function) -> str:
    """Return a content hash of a function.

    What a rule computes is known only when it is lowered: the name of each function that it refers to stands for what
    no other name does.
    """
    return kept(function, "_content_key", lambda: structural_key(function, {name: name for name in function.callees}))


def constant_bytes(functions: Iterable[Function]) -> int:
    """Return how many bytes the constants of functions hold."""
    return sum(len(constant.data or b"") for function in functions for constant in function.constants)


FUNCTIONS: Latest[Function] = Latest(1 << 16, lambda function: len(function.nodes))
"""The functions that were lowered last, up to so many nodes, by name and :func:`~brainir.ir.sharing.written_form`."""


def known_function(function: Function) -> Function:
    """Return the function of an earlier program that is written as one is, or that one itself."""
    if len(function.nodes) > _MOST_NODES:
        return function
    key = function.name, written_form(function)
    known = FUNCTIONS.find(key)
    if known is not None and written_alike(known, function):
        return known
    if constant_bytes([function]) <= _MOST_BYTES:
        FUNCTIONS.keep(key, function)
    return function

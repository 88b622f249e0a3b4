"""Functions of earlier programs by what is written in them.

JAX makes a new jaxpr of what is lowered, and of a function that is defined where it is used, each time that it traces
them. What such a jaxpr is lowered to is the same then, and with the same object comes what is known of it: that it was
verified, its signature, and what it is under other names.
"""

from __future__ import annotations

from collections.abc import Hashable

from ...ir.canonical import structural_key
from ...ir.kept import kept
from ...ir.node import Node
from ...ir.program import Function
from .latest import Latest

__all__ = ["FUNCTIONS", "content_key", "known_function", "written_alike", "written_form"]

_MOST_NODES = 1 << 8
_MOST_BYTES = 1 << 12
_HASHED_BYTES = 1 << 6


def written_form(function: Function) -> Hashable:
    """Return what is equal for functions that were written alike, but for scopes and lines; most equal ones are."""
    return kept(function, "_written_form", lambda: _written_form(function))


def _written_form(function: Function) -> Hashable:
    nodes = [(node.op, node.inputs, node.outputs, node.types, _attributes(node)) for node in function.nodes]
    constants = [(constant.name, constant.type, _Data(constant.data)) for constant in function.constants]
    return function.inputs, function.types, tuple(constants), tuple(nodes), function.outputs


def _attributes(node: Node) -> str:
    names = node.attribute_names()
    return repr([getattr(node, name) for name in names]) if names else ""


class _Data:
    """The bytes of an array, which are only gone through where the rest is equal."""

    __slots__ = ("held",)

    def __init__(self, held: bytes | None) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Data) and self.held == other.held

    def __hash__(self) -> int:
        return hash(self.held and self.held[:_HASHED_BYTES])


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


FUNCTIONS: Latest[Function] = Latest(1 << 10)
"""The small functions that were lowered last, by name and :func:`written_form`."""


def known_function(function: Function) -> Function:
    """Return the function of an earlier program that is written as one is, or that one itself."""
    if len(function.nodes) > _MOST_NODES:
        return function
    key = function.name, written_form(function)
    known = FUNCTIONS.find(key)
    if known is not None and written_alike(known, function):
        return known
    if sum(len(constant.data or b"") for constant in function.constants) <= _MOST_BYTES:
        FUNCTIONS.keep(key, function)
    return function

"""Schemas of operations that a program only names: host callbacks, and primitives of other packages."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..node import Node, Traits
from ..trees import Tree
from .traits import Scalar

_Row = Scalar | tuple[Scalar, ...]
_Table = _Row | tuple[_Row, ...]
Attribute = _Table | tuple[_Table, ...]
"""A Python literal: a number, text, bool, None, or tuples of these up to three deep."""


class Callback(Node):
    """Call a Python function on the host, which a file cannot hold: an external, bound by ``name`` at emission.

    The operands are the leaves of the positional and keyword arguments. Results have the types of the node.
    ``vmap_method`` is for ``pure_callback``; ``ordered`` for the others, whose calls have effects. ``text`` is the
    format of a ``jax.debug.print``.
    """

    op: Literal["pure_callback", "io_callback", "debug_callback"]
    name: str
    arguments: Tree
    keywords: tuple[tuple[str, Tree], ...] = ()
    vmap_method: str | None = None
    ordered: bool = False
    partitioned: bool = False
    text: str = ""
    op_traits: ClassVar[dict[str, Traits]] = {
        "io_callback": Traits(effectful=True),
        "debug_callback": Traits(effectful=True),
    }


class CustomCall(Node):
    """An operation that brainir does not know, with its attributes as literals.

    What it computes is bound by ``name`` at emission.
    """

    op: Literal["custom_call"] = "custom_call"
    name: str
    params: tuple[tuple[str, Attribute], ...] = ()

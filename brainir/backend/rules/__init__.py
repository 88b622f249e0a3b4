"""One table: how each operation is called in JAX. The callable evaluates the entries, the source prints them."""

from __future__ import annotations

from ...ir.node import Node
from ...ir.ops import Callback, CustomCall
from ..expressions import Expression
from . import (  # noqa: F401  # they enter their rules
    contraction,
    control,
    elementwise,
    external,
    indexing,
    linalg,
    parallel,
    random,
    reduction,
    sorting,
    structure,
    windows,
)
from .random import KEY_IMPLEMENTATIONS
from .registry import RULES, Types

__all__ = ["KEY_IMPLEMENTATIONS", "RULES", "expression_of", "gives_tuple"]


def expression_of(node: Node, types: Types) -> Expression:
    """Return the JAX call that a node is."""
    return RULES[node.op](node, types)


def gives_tuple(node: Node) -> bool:
    """Whether the call that a node is gives a tuple of results, rather than the one result."""
    return len(node.outputs) != 1 or node.traits.control or isinstance(node, Callback | CustomCall)

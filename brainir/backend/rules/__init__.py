"""One table: how each operation is called in JAX. The callable evaluates the entries, the source prints them."""

from __future__ import annotations

from ...ir.node import Node
from ..expressions import Expression
from . import (  # noqa: F401  # they enter their rules
    contraction,
    control,
    elementwise,
    indexing,
    linalg,
    random,
    reduction,
    sorting,
    structure,
    windows,
)
from .random import KEY_IMPLEMENTATIONS
from .registry import RULES, Types

__all__ = ["KEY_IMPLEMENTATIONS", "RULES", "expression_of"]


def expression_of(node: Node, types: Types) -> Expression:
    """Return the JAX call that a node is."""
    return RULES[node.op](node, types)

"""Which nodes and functions have effects, and so must run, in order, even if nothing uses their results."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .calls import functions_with
from .node import Node
from .program import Function

__all__ = ["effectful_functions", "runs_effects"]


def effectful_functions(functions: Mapping[str, Function]) -> set[str]:
    """Return the names of the functions that have effects when they run."""
    return functions_with(functions, lambda node: node.traits.effectful)


def runs_effects(node: Node, effectful: Collection[str]) -> bool:
    """Whether a node has effects itself, or runs one of the functions that have."""
    return node.traits.effectful or (bool(effectful) and any(callee in effectful for callee in node.runs()))

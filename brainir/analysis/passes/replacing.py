"""Nodes that run functions, replaced by what these are made of, where that can be done and does not get too large."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from ...ir.node import Node
from ...ir.program import Function, Program
from ..diagnostics import Diagnostic, diagnostic, place_of
from ..inline import Splicer
from .rewriting import rewrite_functions

__all__ = ["Replacement"]

N = TypeVar("N", bound=Node)


class Replacement(ABC, Generic[N]):
    """Replaces nodes of one kind in a program.

    Parameters
    ----------
    kind : node schema
    select : callable, optional
        Replace only the nodes for which it is true.
    max_nodes : int
        A node stays where its function would grow beyond this.

    Attributes
    ----------
    replaced : int
        How many nodes were.
    caveats : list of Diagnostic
    """

    def __init__(self, kind: type[N], select: Callable[[N], bool] | None, max_nodes: int) -> None:
        self._kind = kind
        self._select = select
        self._max_nodes = max_nodes
        self.replaced = 0
        self.caveats: list[Diagnostic] = []

    @abstractmethod
    def size(self, node: N, table: Mapping[str, Function]) -> int:
        """Return how many nodes a node becomes."""

    def obstacle(self, node: N) -> str:
        """Return why a node must stay, or nothing."""
        return ""

    @abstractmethod
    def replace(self, node: N, flat: Splicer) -> None:
        """Append what a node becomes to the nodes of its function."""

    def run(self, program: Program) -> Program:
        """Return the program with nodes replaced; itself if none was."""
        return rewrite_functions(program, self._rewrite)

    def _rewrite(self, function: Function, table: Mapping[str, Function]) -> Function:
        wanted = self._select or (lambda node: True)
        chosen = {id(node) for node in function.nodes if isinstance(node, self._kind) and wanted(node)}
        if not chosen:
            return function
        flat = Splicer(function, table)
        size, before = len(function.nodes), self.replaced
        for node in function.nodes:
            if not isinstance(node, self._kind) or id(node) not in chosen:
                flat.nodes.append(node)
                continue
            added = self.size(node, table)
            reason = self.obstacle(node)
            if not reason and size + added > self._max_nodes:
                reason = f"{function.name} would exceed max_nodes = {self._max_nodes}"
            if reason:
                flat.nodes.append(node)
                self.caveats.append(diagnostic("left_alone", f"{place_of(node)} stays: {reason}", node=node))
                continue
            size += added
            self.replaced += 1
            self.replace(node, flat)
        return flat.finish() if self.replaced > before else function

"""Calls replaced by the bodies of what they call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, TypeGuard

from ...ir.node import Node
from ...ir.ops import Call
from ...ir.program import Function, Program
from ..diagnostics import Diagnostic, diagnostic, place_of
from ..inline import Splicer
from .base import Pass, PassResult
from .rewriting import rewrite_functions

__all__ = ["InlineCalls"]


@dataclass(frozen=True)
class InlineCalls(Pass):
    """Replace every ``call`` by the body of the function it calls, in all functions of the program.

    Nodes with derivative rules of their own stay, since an inlined body would lose the rule; so do the bodies of
    ``cond``, ``scan`` and ``while``, in which calls are inlined too. Calls that say how their operands or results lie
    on a mesh stay.

    Parameters
    ----------
    max_nodes : int
        A call stays where its function would grow beyond this.
    """

    name: ClassVar[str] = "inline"
    max_nodes: int = 1_000_000

    def run(self, program: Program) -> PassResult:
        """See :meth:`Pass.run`."""
        inlined = 0
        caveats: list[Diagnostic] = []

        def rewrite(function: Function, table: Mapping[str, Function]) -> Function:
            nonlocal inlined
            calls = [node for node in function.nodes if _can_go(node)]
            if not calls:
                return function
            size = len(function.nodes)
            flat = Splicer(function, table)
            before = inlined
            for node in function.nodes:
                if not _can_go(node):
                    flat.nodes.append(node)
                    continue
                size += len(table[node.function].nodes)
                if size > self.max_nodes:
                    size -= len(table[node.function].nodes)
                    flat.nodes.append(node)
                    message = f"{place_of(node)} stays: inlined, {function.name} would exceed {self.max_nodes} nodes"
                    caveats.append(diagnostic("left_alone", message, node=node))
                    continue
                inlined += 1
                flat.splice(node, node.inputs, node.outputs)
            return flat.finish() if inlined > before else function

        after = rewrite_functions(program, rewrite)
        return self.result(program, after, {"calls inlined": inlined}, caveats)


def _can_go(node: Node) -> TypeGuard[Call]:
    return isinstance(node, Call) and not (node.in_shardings or node.out_shardings)

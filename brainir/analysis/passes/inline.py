"""Calls replaced by the bodies of what they call."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...ir.ops import Call
from ...ir.program import Function, Program
from ..inline import Splicer
from .base import Pass, PassResult
from .replacing import Replacement

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
        inlining = _Inlining(Call, _can_go, self.max_nodes)
        after = inlining.run(program)
        return self.result(program, after, {"calls inlined": inlining.replaced}, inlining.caveats)


class _Inlining(Replacement[Call]):
    def size(self, node: Call, table: Mapping[str, Function]) -> int:
        """See :meth:`Replacement.size`."""
        return len(table[node.function].nodes)

    def replace(self, node: Call, flat: Splicer) -> None:
        """See :meth:`Replacement.replace`."""
        flat.splice(node)


def _can_go(node: Call) -> bool:
    return not (node.in_shardings or node.out_shardings)

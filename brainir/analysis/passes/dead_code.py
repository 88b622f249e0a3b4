"""Nodes, constants and functions that nothing needs, removed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...ir.effects import effectful_functions, runs_effects
from ...ir.program import Function, Program
from .base import Pass, PassResult
from .rewriting import rewrite_functions

__all__ = ["DeadCode"]


@dataclass(frozen=True)
class DeadCode(Pass):
    """Remove nodes whose results nothing uses, and constants and functions that are then unused.

    Effectful nodes stay, and so do nodes that run them. Inputs of functions stay.
    """

    name: ClassVar[str] = "dead_code"
    only_removes: ClassVar[bool] = True

    def run(self, program: Program) -> PassResult:
        """See :meth:`Pass.run`."""
        effects = effectful_functions(program.table)
        removed = unused = 0

        def rewrite(function: Function, table: Mapping[str, Function]) -> Function:
            nonlocal removed, unused
            needed = {*function.outputs}
            kept = []
            for node in reversed(function.nodes):
                if not needed.isdisjoint(node.outputs) or runs_effects(node, effects):
                    kept.append(node)
                    needed.update(node.inputs)
            constants = tuple(constant for constant in function.constants if constant.name in needed)
            dropped = len(function.nodes) - len(kept), len(function.constants) - len(constants)
            if dropped == (0, 0):
                return function
            removed, unused = removed + dropped[0], unused + dropped[1]
            return function.model_copy(update={"nodes": tuple(reversed(kept)), "constants": constants})

        after = rewrite_functions(program, rewrite)
        functions = len(program.functions) - len(after.functions)
        counts = {"nodes removed": removed, "constants removed": unused, "functions removed": functions}
        return self.result(program, after, counts)

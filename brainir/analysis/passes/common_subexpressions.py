"""Equal computations made once."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...ir.constant import Constant
from ...ir.effects import effectful_functions, runs_effects
from ...ir.node import Node
from ...ir.ops import OptimizationBarrier
from ...ir.program import Function, Program
from ...ir.sharing import share_equal_functions
from .base import Pass, PassResult, substituted
from .rewriting import rewrite_functions

__all__ = ["CommonSubexpressions"]


@dataclass(frozen=True)
class CommonSubexpressions(Pass):
    """Keep one of several nodes with the same operation, operands, attributes and result types.

    Attributes are equal if they are of one kind: 1, 1.0 and True differ, and so do 0.0 and -0.0. Operations on one
    PRNG key give the same numbers, so they are equal too. Effectful nodes, nodes that run them, and
    optimization barriers all stay. Equal functions become one first, equal constants of a function too.

    A gradient sums the cotangents of all uses of a value before it goes on, so it can round differently.
    """

    name: ClassVar[str] = "common_subexpressions"
    only_removes: ClassVar[bool] = True
    gradients: ClassVar = "rounding"

    def run(self, program: Program) -> PassResult:
        """See :meth:`Pass.run`."""
        shared = share_equal_functions(program.table, program.entry)
        functions = len(program.functions) - len(shared)
        before = program.replace(functions=shared) if functions else program
        effects = effectful_functions(before.table)
        merged = constants = 0

        def rewrite(function: Function, table: Mapping[str, Function]) -> Function:
            nonlocal merged, constants
            nodes, kept, names = _merge(function, effects)
            if not names:
                return function
            merged += len(function.nodes) - len(nodes)
            constants += len(function.constants) - len(kept)
            outputs = tuple(names.get(name, name) for name in function.outputs)
            return function.model_copy(update={"nodes": nodes, "constants": kept, "outputs": outputs})

        after = rewrite_functions(before, rewrite)
        counts = {"nodes merged": merged, "constants merged": constants, "functions merged": functions}
        return self.result(program, after, counts)


def _merge(function: Function, effects: set[str]) -> tuple[tuple[Node, ...], tuple[Constant, ...], dict[str, str]]:
    """Return the nodes and constants that stay, and which value stands for which other one."""
    names: dict[str, str] = {}
    first_constant: dict[tuple[str, str], str] = {}
    constants = []
    for constant in function.constants:
        first = first_constant.setdefault((constant.type, constant.digest()), constant.name)
        if first == constant.name:
            constants.append(constant)
        else:
            names[constant.name] = first
    first_node: dict[Hashable, Node] = {}
    nodes = []
    for original in function.nodes:
        node = substituted(original, names)
        if runs_effects(node, effects) or isinstance(node, OptimizationBarrier):
            nodes.append(node)
            continue
        # repr tells kinds of numbers, and zeros of different sign, apart.
        attributes = tuple(repr(getattr(node, name)) for name in node.attribute_names())
        known = first_node.setdefault((node.op, node.inputs, node.types, attributes), node)
        if known is node:
            nodes.append(node)
        else:
            names.update(zip(node.outputs, known.outputs, strict=True))
    return tuple(nodes), tuple(constants), names

"""Values that are copies of others, replaced by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ...ir.node import Node
from ...ir.ops import (
    BroadcastInDim,
    Concatenate,
    ConvertElementType,
    Pad,
    Reduce,
    Reshape,
    Rev,
    SelectN,
    Slice,
    Squeeze,
    Tile,
    Transpose,
    layout_of,
)
from ...ir.program import Function, Program
from .base import Pass, PassResult, substituted
from .rewriting import rewrite_functions

__all__ = ["CopyPropagation"]


@dataclass(frozen=True)
class CopyPropagation(Pass):
    """Replace results of operations that change nothing by their operand.

    These are ``copy``, a conversion to the same element type, and a reshape, squeeze, broadcast, transposition,
    reversal, slice, pad, tile, concatenation, selection or reduction that leaves every element where it is. An
    operation that changes the weak type of its operand stays, and so does ``stop_gradient``.
    """

    name: ClassVar[str] = "copy_propagation"
    only_removes: ClassVar[bool] = True

    def run(self, program: Program) -> PassResult:
        """See :meth:`Pass.run`."""
        replaced = 0

        def rewrite(function: Function, table: Mapping[str, Function]) -> Function:
            nonlocal replaced
            names: dict[str, str] = {}
            kept = []
            for original in function.nodes:
                node = substituted(original, names)
                operand = _copied_operand(node, function)
                if operand is None:
                    kept.append(node)
                else:
                    names[node.outputs[0]] = operand
            if not names:
                return function
            replaced += len(names)
            outputs = tuple(names.get(name, name) for name in function.outputs)
            return function.model_copy(update={"nodes": tuple(kept), "outputs": outputs})

        after = rewrite_functions(program, rewrite)
        return self.result(program, after, {"copies replaced": replaced})


def _copied_operand(node: Node, function: Function) -> str | None:
    """Return the operand that the one result of a node is a copy of, in all but name; None if it is none."""
    if len(node.outputs) != 1 or layout_of(node) is not None:
        return None
    position = _copies(node, function)
    if position is None or str(function.type_of(node.inputs[position])) != node.types[0]:
        return None
    return node.inputs[position]


def _copies(node: Node, function: Function) -> int | None:
    """Return which operand a result of the same type would be a copy of."""
    operand = node.inputs[0] if node.inputs else ""
    holds = False
    match node:
        case ConvertElementType() | Reshape() | Squeeze():
            holds = True
        case BroadcastInDim():
            holds = [*node.broadcast_dimensions] == [*range(len(node.shape))]
        case Transpose():
            holds = [*node.permutation] == [*range(len(node.permutation))]
        case Rev():
            shape = function.type_of(operand).shape
            holds = all(shape[axis] <= 1 for axis in node.dimensions)
        case Slice():
            holds = not any(node.start_indices) and all(stride == 1 for stride in node.strides or ())
        case Pad():
            holds = not any(any(axis) for axis in node.padding_config)
        case Tile():
            holds = all(times == 1 for times in node.reps)
        case Concatenate():
            holds = len(node.inputs) == 1
        case Reduce():
            holds = not node.axes
        case SelectN():
            return 1 if len(set(node.inputs[1:])) == 1 else None
        case _:
            holds = node.op == "copy"
    return 0 if holds else None

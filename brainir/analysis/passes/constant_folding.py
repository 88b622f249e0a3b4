"""What depends on no input, computed beforehand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from ...ir.constant import Constant
from ...ir.node import Node
from ...ir.ops import BroadcastInDim, Call, Cond, Iota, SelectN, Unary, layout_of
from ...ir.program import Function, Program
from ...ir.types import TensorType, is_literal, literal_array, literal_text
from ..exact_arithmetic import computed
from .base import Pass, PassResult, substituted
from .rewriting import rewrite_functions

__all__ = ["ConstantFolding"]


@dataclass(frozen=True)
class ConstantFolding(Pass):
    """Compute nodes whose operands are constants, with numpy, where the result is the same everywhere to the bit.

    Integer and boolean arithmetic, comparisons, selections, conversions, operations that move elements, and sums,
    differences, products and quotients of floating point numbers are computed. Not computed is what backends may round
    differently: transcendental functions, roots, sums over axes, NaN and subnormal numbers. A ``cond`` whose index is
    known becomes a call of that branch, and a ``select_n`` whose predicate is one known number a copy.

    Parameters
    ----------
    max_size : int
        Larger results are not stored. Arrays that ``broadcast_in_dim`` or ``iota`` make stay as they are; what is
        computed from them is folded.
    """

    name: ClassVar[str] = "constant_folding"
    max_size: int = 256

    def run(self, program: Program) -> PassResult:
        """See :meth:`Pass.run`."""
        counts = {"nodes folded": 0, "choices made": 0}

        def rewrite(function: Function, table: Mapping[str, Function]) -> Function:
            folder = _Folder(function, self.max_size)
            folded = folder.fold()
            counts["nodes folded"] += folder.folded
            counts["choices made"] += folder.chosen
            return folded

        after = rewrite_functions(program, rewrite)
        return self.result(program, after, counts)


class _Folder:
    def __init__(self, function: Function, max_size: int) -> None:
        self.function = function
        self.max_size = max_size
        self.known: dict[str, NDArray[Any]] = {}
        self.names: dict[str, str] = {}
        self.constants = list(function.constants)
        self.folded = self.chosen = 0
        for constant in function.constants:
            kind = TensorType.parse(constant.type)
            if constant.data is not None and kind.size <= max_size and not kind.is_key and kind.dtype != "float0":
                self.known[constant.name] = constant.array()

    def fold(self) -> Function:
        nodes: list[Node] = []
        for original in self.function.nodes:
            node = substituted(original, self.names)
            results = self._results(node)
            if results is not None:
                self.known.update(zip(node.outputs, results, strict=True))
                # What repeats one number or counts is shorter as an operation.
                if not isinstance(node, BroadcastInDim | Iota) or results[0].ndim == 0:
                    self._store(node)
                    continue
            nodes.append(self._decided(node))
        if not (self.folded or self.chosen):
            return self.function
        outputs = tuple(self.names.get(name, name) for name in self.function.outputs)
        return self.function.model_copy(
            update={"nodes": tuple(nodes), "constants": tuple(self.constants), "outputs": outputs}
        )

    def _value(self, operand: str) -> NDArray[Any] | None:
        return literal_array(operand) if is_literal(operand) else self.known.get(operand)

    def _results(self, node: Node) -> list[NDArray[Any]] | None:
        if layout_of(node) is not None or node.traits.control or node.traits.effectful or node.traits.random:
            return None
        if any(TensorType.parse(kind).size > self.max_size for kind in node.types):
            return None
        operands = []
        for operand in node.inputs:
            value = self._value(operand)
            if value is None:
                return None
            operands.append(value)
        return computed(node, operands)

    def _store(self, node: Node) -> None:
        """Put the results of a node in its place: numbers as literals, arrays as constants."""
        self.folded += 1
        for name, text in zip(node.outputs, node.types, strict=True):
            kind = TensorType.parse(text)
            if kind.ndim == 0:
                self.names[name] = literal_text(self.known[name], kind.weak_type)
            else:
                self.constants.append(Constant.of(name, kind, self.known[name]))

    def _decided(self, node: Node) -> Node:
        """Return what is left of a choice whose index is known."""
        if not isinstance(node, Cond | SelectN):
            return node
        index = self._value(node.inputs[0])
        if index is None or index.ndim:
            return node
        chosen, last = int(index), len(node.branches if isinstance(node, Cond) else node.inputs[1:]) - 1
        if chosen < 0:  # a cond runs its last branch then, but select_n picks the first case
            chosen = last if isinstance(node, Cond) else 0
        chosen = min(chosen, last)
        self.chosen += 1
        base = {"outputs": node.outputs, "types": node.types, "scope": node.scope, "source": node.source}
        if isinstance(node, Cond):
            return Call(function=node.branches[chosen], inputs=node.inputs[1:], **base)  # type: ignore[arg-type]
        return Unary(op="copy", inputs=(node.inputs[1 + chosen],), **base)  # type: ignore[arg-type]

"""The weight operations of a step, and what each reaches."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from itertools import compress

from ...ir.kept import kept
from ...ir.node import Node
from ...ir.types import is_literal
from ..bit_sets import bits, numbered, union
from ..dataflow.sites import signatures_of
from ..routes import has_derivative, route
from .assembly import Assembly, Operation, OperationLeaf
from .scan import WeightScan

__all__ = ["WeightOperations"]


class WeightOperations:
    """The weight operations of a scanned program, and what their results reach.

    Attributes
    ----------
    scan : WeightScan
    operations : list of Operation
        In the order of the parameter states.
    assembly : Assembly
        Where they come from, with the meetings that are no operations.
    """

    @staticmethod
    def of(scan: WeightScan) -> WeightOperations:
        """Return the operations of a scan, found once and kept with it."""
        return kept(scan, "_operations", lambda: WeightOperations(scan))

    def __init__(self, scan: WeightScan) -> None:
        self.scan = scan
        self.assembly = Assembly(scan)
        self.operations = self.assembly.operations
        self._seeds = numbered(operation.y for operation in self.operations)
        self._direct, self._through, self._stopped = self._reach()

    def _reach(self) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
        """Carry the results forward: directly, through another weight operation, or stopped."""
        scan = self.scan
        seeds, blocks = self._seeds, scan.blocking
        direct = dict(seeds)
        through: dict[str, int] = {}
        stopped: dict[str, int] = {}
        for node, signature in zip(scan.function.nodes, signatures_of(scan.function), strict=True):
            blocking = bool(node.outputs) and node.outputs[0] in blocks
            operands = [name for name in node.inputs if not scan.is_param(name)] if blocking else node.inputs
            first = union(direct, operands)
            second = union(through, operands) if through else 0
            third = union(stopped, operands) if stopped else 0
            if not (first or second or third):
                continue
            if signature.traits.blocks_gradient:
                first, second, third = 0, 0, first | second | third
            elif blocking:
                first, second = 0, first | second
            # What nothing reaches has no entry: most values are reached in one way only.
            for name in node.outputs:
                if first:
                    direct[name] = first | seeds[name] if name in seeds else first
                if second:
                    through[name] = second
                if third:
                    stopped[name] = third
        return direct, through, stopped

    def reaches(self, operation: Operation, value: str) -> tuple[bool, bool]:
        """Return whether an operation reaches a value directly, and through another weight operation."""
        if is_literal(value):
            return False, False
        number = self._number[operation]
        return bool(self._direct.get(value, 0) >> number & 1), bool(self._through.get(value, 0) >> number & 1)

    def reached_states(self, operation: Operation) -> list[tuple[int, bool, bool]]:
        """Return the numbers of the hidden states reached, and for each whether directly, and through another."""
        return self._reached_states[self._number[operation]]

    def stopped_states(self, operation: Operation) -> list[int]:
        """Return the numbers of the hidden states that an operation reaches through ``stop_gradient``."""
        number, hidden = self._number[operation], self.scan.states.hidden
        return [place for place, each in enumerate(hidden) if self._stopped.get(each.new, 0) >> number & 1]

    def sloped_leaves(self, operation: Operation) -> list[OperationLeaf]:
        """Return the leaves of an operation that have a derivative on their way to it."""
        function, is_param = self.scan.function, self.scan.is_param

        def passes(node: Node, name: str) -> bool:
            return is_param(name) and has_derivative(node, name)

        return [
            each
            for each in operation.leaves
            if each.leaf.value.name == each.end or route(function, [each.leaf.value.name], [each.end], passes)
        ]

    def has_slope(self, operation: Operation) -> bool:
        """Whether a derivative passes from the result of an operation to a hidden state, through no other one."""
        return operation.y in self._sloped

    @functools.cached_property
    def _sloped(self) -> set[str]:
        """The results of operations from which a derivative passes to a hidden state through no other one."""
        function, blocking = self.scan.function, self.scan.blocking
        found = {hidden.new for hidden in self.scan.states.hidden}
        for node, signature in zip(reversed(function.nodes), reversed(signatures_of(function)), strict=True):
            if not found.isdisjoint(compress(node.outputs, signature.sloped)) and node.outputs[0] not in blocking:
                found.update(node.inputs)
        return found & self._seeds.keys()

    @functools.cached_property
    def _number(self) -> dict[Operation, int]:
        return {operation: number for number, operation in enumerate(self.operations)}

    @functools.cached_property
    def _reached_states(self) -> list[list[tuple[int, bool, bool]]]:
        found: list[list[tuple[int, bool, bool]]] = [[] for _ in self.operations]
        for place, hidden in enumerate(self.scan.states.hidden):
            direct, through = self._direct.get(hidden.new, 0), self._through.get(hidden.new, 0)
            for number in bits(direct | through):
                found[number].append((place, bool(direct >> number & 1), bool(through >> number & 1)))
        return found

    def related(self) -> Iterator[Operation]:
        """Yield the operations that reach a hidden state other than through another weight operation."""
        for operation in self.operations:
            if any(direct for _, direct, _ in self.reached_states(operation)):
                yield operation

"""Weight operations, put together from the places where parameters meet data, and what they reach."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import compress

from ...ir.kept import kept
from ...ir.model import StatePath
from ...ir.node import Node
from ...ir.types import TensorType, is_literal
from ..bit_sets import bits, numbered, union
from ..dataflow.sites import signatures_of
from ..routes import has_derivative, route
from ..states import ParamLeaf
from .kinds import Kind, weight_kind
from .scan import Meeting, WeightScan, moves, scales

__all__ = ["Operation", "OperationLeaf", "WeightOperations"]

_SUMS = ("add", "add_any", "sub")


@dataclass(frozen=True, slots=True)
class OperationLeaf:
    """A parameter leaf of an operation, and the operand that its chain leads to."""

    leaf: ParamLeaf
    end: str
    bias: bool = False


@dataclass(eq=False, slots=True)
class Operation:
    """A weight operation of one parameter state.

    Parameters
    ----------
    path : tuple of str and int
    kind : str
    leaves : list of OperationLeaf
    x : str or None
        Data operand; None if the parameter meets data element by element.
    y : str
        Result; for elementwise operations the parameter's value before it meets anything else.
    nodes : list of int
        Places of the nodes in the flat entry; the first is the one to show.
    """

    path: StatePath
    kind: Kind
    leaves: list[OperationLeaf]
    x: str | None
    y: str
    nodes: list[int] = field(default_factory=list)


class WeightOperations:
    """The weight operations of a scanned program, in the order of the parameter states.

    An affine map is one operation if its leaves belong to one state, and so are products in a row with leaves
    of one state.

    Attributes
    ----------
    scan : WeightScan
    operations : list of Operation
    in_control_flow, opaque, frozen : list of pairs of path and Meeting
        Meetings that are no operations: in control flow; of a node with several results; of a parameter
        behind a ``stop_gradient``.
    """

    @staticmethod
    def of(scan: WeightScan) -> WeightOperations:
        """Return the operations of a scan, found once and kept with it."""
        return kept(scan, "_operations", lambda: WeightOperations(scan))

    def __init__(self, scan: WeightScan) -> None:
        self.scan = scan
        self.operations: list[Operation] = []
        self.in_control_flow: list[tuple[StatePath, Meeting]] = []
        self.opaque: list[tuple[StatePath, Meeting]] = []
        self.frozen: list[tuple[StatePath, Meeting]] = []
        self._elementwise: list[Meeting] = []
        self._ends: dict[str, Operation] = {}
        meetings = {meeting.index: meeting for meeting in scan.meetings}
        ends = self._ends.keys()
        for index, node in enumerate(scan.function.nodes):
            meeting = meetings.get(index)
            if meeting is None:
                if not ends.isdisjoint(node.inputs):
                    self._pass_on(node)
            elif meeting.how == "frozen":
                self.frozen += [(path, meeting) for path in self._paths(scan.frozen, meeting.weights)]
                self._pass_on(node)
            elif meeting.how == "control_flow":
                self.in_control_flow += [(path, meeting) for path in self._paths(scan.leaves, meeting.weights)]
            elif meeting.how == "product":
                self._multiply(meeting)
            elif meeting.total is not None:
                self._sum_products(meeting, meeting.total)
            elif not self._add_bias(meeting):
                self._elementwise.append(meeting)
        self._gather_elementwise()
        order = scan.leaf_number
        self.operations.sort(
            key=lambda each: (
                self._numbers[each.path],
                each.nodes[:1],
                order[each.leaves[0].leaf.value.name],
            )
        )
        self._seeds = numbered(operation.y for operation in self.operations)
        self._direct, self._through, self._stopped = self._reach()

    @functools.cached_property
    def _numbers(self) -> dict[StatePath, int]:
        """The place of the first leaf of each parameter state."""
        found: dict[StatePath, int] = {}
        for number, leaf in enumerate(self.scan.states.params):
            found.setdefault(leaf.path, number)
        return found

    def _paths(self, masks: dict[str, int], operands: tuple[str, ...]) -> list[StatePath]:
        params = self.scan.states.params
        return list(dict.fromkeys(params[number].path for number in bits(union(masks, operands))))

    # -- putting operations together

    def _pass_on(self, node: Node) -> None:
        """Follow the result of an operation through nodes that only move, convert or scale it."""
        data = [operand for operand in node.inputs if self.scan.is_data(operand)]
        if len(data) != 1 or len(node.outputs) != 1 or data[0] not in self._ends or data[0] in self.scan.reused:
            return
        if moves(node) or scales(node, data[0]):
            self._ends[node.outputs[0]] = self._ends[data[0]]

    def _multiply(self, meeting: Meeting) -> None:
        node, scan = meeting.node, self.scan
        results = [name for name in node.outputs if scan.function.type_of(name).is_inexact]
        paths = self._paths(scan.leaves, meeting.weights)
        if len(results) != 1:
            self.opaque += [(path, meeting) for path in paths]
            return
        before = self._ends.get(meeting.data[0])
        single = len(paths) == 1 and len(meeting.data) == 1
        if single and before is not None and self._continues(before, meeting, paths[0]):
            before.kind = "lora"
            before.leaves += self._leaves(meeting, paths[0])
            before.y = results[0]
            before.nodes.append(meeting.index)
            self._ends[results[0]] = before
            return
        kind = weight_kind(node, meeting.weights[0], scan.function, scan.program)
        for path in paths:
            leaves = self._leaves(meeting, path)
            self.operations.append(Operation(path, kind, leaves, meeting.data[0], results[0], [meeting.index]))
        if len(paths) == 1:
            self._ends[results[0]] = self.operations[-1]

    def _continues(self, before: Operation, meeting: Meeting, path: StatePath) -> bool:
        """Whether a product goes on where another one of the same state ended, with leaves of its own.

        The same leaf once more is another weight operation: a path through it is not credited.
        """
        if before.path != path or meeting.data[0] in self.scan.reused:
            return False
        used = {each.leaf.keys for each in before.leaves}
        return not any(each.leaf.keys in used for each in self._leaves(meeting, path))

    def _sum_products(self, meeting: Meeting, total: Node) -> None:
        """Make one operation of products and their sum."""
        kind: Kind = "event" if meeting.node.op == "select_n" else "sparse" if total.op == "scatter_add" else "einsum"
        result, places = total.outputs[0], [meeting.index, self.scan.function.places[total.outputs[0]]]
        paths = self._paths(self.scan.leaves, meeting.weights)
        for path in paths:
            leaves = self._leaves(meeting, path)
            self.operations.append(Operation(path, kind, leaves, meeting.data[0], result, places))
        if len(paths) == 1:
            self._ends[result] = self.operations[-1]

    def _add_bias(self, meeting: Meeting) -> bool:
        """Whether a sum adds the bias of the operation before it; if so, make it part of that operation."""
        if meeting.node.op not in _SUMS or len(meeting.data) != 1 or meeting.data[0] in self.scan.reused:
            return False
        before = self._ends.get(meeting.data[0])
        if before is None or self._paths(self.scan.leaves, meeting.weights) != [before.path]:
            return False
        shape = TensorType.parse(meeting.node.types[0]).shape
        if self.scan.function.type_of(meeting.data[0]).shape != shape:
            return False
        before.leaves += self._leaves(meeting, before.path, bias=True)
        before.leaves.sort(key=lambda each: self.scan.leaf_number[each.leaf.value.name])
        before.y = meeting.node.outputs[0]
        before.nodes.append(meeting.index)
        self._ends[before.y] = before
        return True

    def _leaves(self, meeting: Meeting, path: StatePath, *, bias: bool = False) -> list[OperationLeaf]:
        return [
            OperationLeaf(leaf, operand, bias)
            for operand in meeting.weights
            for leaf in self.scan.param_leaves(operand)
            if leaf.path == path
        ]

    def _gather_elementwise(self) -> None:
        """Make one operation for each leaf that meets data element by element, wherever it does so."""
        scan = self.scan
        marked = {meeting.index: meeting for meeting in self._elementwise}
        states = {hidden.new for hidden in scan.states.hidden if scan.is_param(hidden.new)}
        leads = set(states)
        if not (marked or leads):
            return
        for index in range(len(scan.function.nodes) - 1, -1, -1):
            node = scan.function.nodes[index]
            if index in marked or not leads.isdisjoint(node.outputs):
                leads.update([name for name in node.inputs if scan.is_param(name)])
        met_by: dict[int, list[Meeting]] = {}
        for meeting in self._elementwise:
            for number in bits(union(scan.leaves, meeting.weights)):
                met_by.setdefault(number, []).append(meeting)
        for number, leaf in enumerate(scan.states.params):
            if leaf.value.name in leads:
                y = self._last_common(leaf.value.name, 1 << number, leads, marked, states)
                met = met_by.get(number, [])
                kind: Kind = "bias" if met and all(each.node.op in _SUMS for each in met) else "elementwise"
                nodes = [met[0].index] if met else []
                self.operations.append(Operation(leaf.path, kind, [OperationLeaf(leaf, y)], None, y, nodes))

    def _last_common(self, name: str, leaf: int, leads: set[str], marked: dict[int, Meeting], states: set[str]) -> str:
        """Return the last value on all ways of a leaf before it meets data or another parameter."""
        users = self.scan.function.users
        places = self.scan.function.places
        while True:
            if name in states:
                return name
            following: set[str] = set()
            for user in users.get(name, ()):
                if user.outputs and places[user.outputs[0]] in marked:
                    return name
                following.update(output for output in user.outputs if output in leads)
            if len(following) != 1:
                return name
            (after,) = following
            if self.scan.leaves.get(after, 0) != leaf:
                return name
            name = after

    # -- what the results reach

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
        number = self._place[id(operation)]
        return bool(self._direct.get(value, 0) >> number & 1), bool(self._through.get(value, 0) >> number & 1)

    def reached_states(self, operation: Operation) -> list[tuple[int, bool, bool]]:
        """Return the numbers of the hidden states reached, and for each whether directly, and through another."""
        return self._reached_states[self._place[id(operation)]]

    def stopped_states(self, operation: Operation) -> list[int]:
        """Return the numbers of the hidden states that an operation reaches through ``stop_gradient``."""
        number, hidden = self._place[id(operation)], self.scan.states.hidden
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
    def _place(self) -> dict[int, int]:
        return {id(operation): number for number, operation in enumerate(self.operations)}

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

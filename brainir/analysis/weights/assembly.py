"""Weight operations, put together from the places where parameters meet data."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...ir.model import StatePath
from ...ir.node import Node
from ...ir.types import TensorType
from ..bit_sets import bits, union
from ..states import ParamLeaf
from .kinds import Kind, weight_kind
from .scan import Meeting, WeightScan, moves, scales

__all__ = ["Assembly", "Operation", "OperationLeaf"]

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


class Assembly:
    """The weight operations of a scanned program, and the meetings that are none.

    An affine map is one operation if its leaves belong to one state, and so are products in a row with leaves
    of one state.

    Parameters
    ----------
    scan : WeightScan

    Attributes
    ----------
    operations : list of Operation
        In the order of the parameter states.
    in_control_flow, opaque, frozen : list of pairs of path and Meeting
        Meetings that are no operations: in control flow; of a node with several results; of a parameter
        behind a ``stop_gradient``.
    """

    def __init__(self, scan: WeightScan) -> None:
        self.scan = scan
        self.operations: list[Operation] = []
        self.in_control_flow: list[tuple[StatePath, Meeting]] = []
        self.opaque: list[tuple[StatePath, Meeting]] = []
        self.frozen: list[tuple[StatePath, Meeting]] = []
        self._elementwise: list[Meeting] = []
        self._ends: dict[str, Operation] = {}
        self._take_meetings()
        self._gather_elementwise()
        states: dict[StatePath, int] = {}
        for number, leaf in enumerate(scan.states.params):
            states.setdefault(leaf.path, number)
        order = scan.leaf_number
        self.operations.sort(
            key=lambda each: (states[each.path], each.nodes[:1], order[each.leaves[0].leaf.value.name])
        )

    def _take_meetings(self) -> None:
        scan, ends = self.scan, self._ends.keys()
        meetings = {meeting.index: meeting for meeting in scan.meetings}
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

    def _paths(self, masks: dict[str, int], operands: tuple[str, ...]) -> list[StatePath]:
        params = self.scan.states.params
        return list(dict.fromkeys(params[number].path for number in bits(union(masks, operands))))

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

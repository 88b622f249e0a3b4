"""Long scans with weights inside: one round of the loop as a step of its own."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.interface import Argument, Interface, State
from ...ir.kept import kept
from ...ir.model import StatePath
from ...ir.ops import Call, Scan
from ...ir.printer import format_node, format_path
from ...ir.program import Function, Program
from ...ir.sharing import reachable_functions
from ...ir.trees import LeafTree, SequenceTree
from ..bit_sets import union
from ..dataflow.reachability import nodes_behind, reached
from ..facts import Facts
from ..fresh_names import fresh_name
from ..slicing import identifiers
from ..states import HiddenLeaf, ParamLeaf
from .scan import WeightScan

__all__ = ["Descent", "descents_of"]


class Descent(Facts):
    """A scan whose rounds carry hidden states from their old to their new value, with weights inside.

    Parameters
    ----------
    node : str
        The scan.
    source : str
        The model's line.
    length : int
        Rounds in one step.
    hidden_paths : tuple of paths
        The hidden states that it carries.
    substep : Program
        One round as a step of its own: its states are the hidden states that the scan carries, the parameters that
        go into it, and what else it carries (states that are neither); its arguments are constants of the loop and
        items of what it scans over. A trace is rolled ``length`` times in each step of the whole program.
    """

    node: str
    source: str
    length: int
    hidden_paths: tuple[StatePath, ...]
    substep: Program


def descents_of(scan: WeightScan) -> dict[int, Descent | str]:
    """Return, for each scan with weights inside, by its place, one round as a step of its own.

    Or the reason, where it does not carry hidden states from their old to their new values. Found once, and kept.
    """
    return kept(
        scan,
        "_descents",
        lambda: {
            meeting.index: _descend(scan, meeting.node)
            for meeting in scan.meetings
            if isinstance(meeting.node, Scan) and meeting.how == "control_flow"
        },
    )


def _descend(scan: WeightScan, node: Scan) -> Descent | str:
    carried = _carried(scan, node)
    if not carried:
        return "it does not carry a hidden state from its old to its new value"
    outside = reached(scan.function, dict.fromkeys(node.outputs, 1))
    for hidden in scan.states.hidden:
        if hidden not in carried.values() and hidden.new in outside:
            return f"{format_path(hidden.path)}, which it does not carry, depends on its results"
    return _Substep(scan, node, carried).build()


def _carried(scan: WeightScan, node: Scan) -> dict[int, HiddenLeaf]:
    """Return the hidden states that a scan carries from old to new value, by the place of the result."""
    found: dict[int, HiddenLeaf] = {}
    for place in range(node.num_carry):
        start = _origin(scan.function, node.inputs[node.num_consts + place])
        for hidden in scan.states.hidden:
            if hidden.old == start and _origin(scan.function, hidden.new) == node.outputs[place]:
                found[place] = hidden
    return found


def _origin(function: Function, name: str) -> str:
    """Return the value that a value is a copy of."""
    while (node := function.producers.get(name)) is not None and node.op == "copy":
        name = node.inputs[0]
    return name


class _Substep:
    def __init__(self, scan: WeightScan, node: Scan, carried: Mapping[int, HiddenLeaf]) -> None:
        self.node = node
        self.program = scan.program
        self.function = scan.function
        self.states = scan.states
        self.leaves = scan.leaves
        self.carried = carried
        self.body = scan.program.function(node.body)
        self.taken = set(scan.function.value_types)

    def build(self) -> Descent:
        """Return the descent."""
        node, body = self.node, self.body
        consts, first = node.num_consts, node.num_consts + node.num_carry
        weights = [name for name in node.inputs[:consts] if self.leaves.get(name)]
        params = self._params(weights)
        known = {place: name for place, name in enumerate(node.inputs[:consts]) if name in weights}
        known |= {consts + place: hidden.old for place, hidden in self.carried.items()}
        operands = [
            known[place] if place in known else fresh_name(f"loop.{name}", self.taken)
            for place, name in enumerate(body.inputs)
        ]
        kinds = dict(zip(operands, body.types, strict=True))
        others = [place for place in range(node.num_carry) if place not in self.carried]
        outside = (*range(consts), *range(first, len(operands)))
        arguments = [operands[place] for place in outside if place not in known]
        inputs = {hidden.old: str(hidden.kind) for hidden in self._in_order()}
        inputs |= {leaf.value.name: leaf.value.type for leaf in params}
        inputs |= {name: kinds[name] for name in (*(operands[consts + place] for place in others), *arguments)}
        results = [fresh_name(f"loop.{place}", self.taken) for place in range(len(body.outputs))]
        call = Call(
            function=body.name,
            inputs=tuple(operands),
            outputs=tuple(results),
            types=tuple(str(body.type_of(output)) for output in body.outputs),
            scope=node.scope,
            source=node.source,
        )
        # The nodes outside of the loop make what goes into it out of parameters.
        nodes = (*nodes_behind(self.function, weights), call)
        used = {operand for each in nodes for operand in each.inputs}
        places = {hidden.path: place for place, hidden in self.carried.items()}
        outputs = [results[places[hidden.path]] for hidden in self._in_order()]
        outputs += [results[carry] for carry in others] + results[node.num_carry :]
        name = fresh_name("substep", {each.name for each in self.program.functions})
        entry = Function(
            name=name,
            inputs=tuple(inputs),
            types=tuple(inputs.values()),
            constants=tuple(each for each in self.function.constants if each.name in used),
            nodes=nodes,  # type: ignore[arg-type]  # nodes of the schemas only
            outputs=tuple(outputs),
        )
        interface = self._interface(params, others, arguments, len(results) - node.num_carry)
        table = {**self.program.table, name: entry}
        substep = Program(entry=name, interface=interface, functions=reachable_functions(table, name))
        paths = tuple(hidden.path for hidden in self._in_order())
        return Descent(
            node=format_node(node), source=node.source, length=node.length, hidden_paths=paths, substep=substep
        )

    def _in_order(self) -> list[HiddenLeaf]:
        return [hidden for hidden in self.states.hidden if hidden in self.carried.values()]

    def _params(self, weights: list[str]) -> list[ParamLeaf]:
        """Return all leaves of the parameter states that go into the loop."""
        mask = union(self.leaves, weights)
        paths = {leaf.path for number, leaf in enumerate(self.states.params) if mask >> number & 1}
        return [leaf for leaf in self.states.params if leaf.path in paths]

    def _interface(self, params: list[ParamLeaf], others: list[int], arguments: list[str], results: int) -> Interface:
        states = [hidden.state.replace(returned=True) for hidden in self._in_order()]
        states += list({leaf.path: leaf.state.replace(returned=False) for leaf in params}.values())
        states += [
            State(path=("loop", carry), role="other", type="carry", tree=LeafTree(), returned=True) for carry in others
        ]
        return Interface(
            kind="module",
            states=tuple(states),
            arguments=tuple(Argument(name=name, tree=LeafTree()) for name in identifiers(arguments)),
            result=SequenceTree(kind="tuple", children=(LeafTree(),) * results),
            units=self.program.interface.units,
        )

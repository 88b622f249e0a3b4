"""Parameter-to-state relations: the weight operations of a step, and the hidden states that each reaches."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Literal, get_args

from ..ir.collector import collector_paused
from ..ir.errors import AnalysisError
from ..ir.interface import State
from ..ir.kept import kept
from ..ir.model import StatePath
from ..ir.printer import format_node, format_path
from ..ir.program import Program, Value, require_program
from ..ir.wording import counted
from .dependence.element_maps import flow_from, input_maps
from .dependence.flow import DependenceFlow
from .dependence.index_maps import IndexMap, agrees
from .dependence.lattice import Source
from .facts import Facts, format_paths, format_place
from .groups import HiddenGroup, groups_of
from .jacobian import InputVariation, JacobianStructure, input_variations, structure_of
from .slicing import extract
from .states import HiddenLeaf
from .weights.assembly import Operation
from .weights.descents import Descent, descents_of
from .weights.kinds import Kind
from .weights.operations import WeightOperations
from .weights.scan import WeightScan

__all__ = [
    "HiddenParamOpRelation",
    "How",
    "RelationLeaf",
    "Tail",
    "connected_states",
    "find_hidden_param_op_relations",
]

How = Literal["direct", "through", "both"]
Tail = Literal["aligned", "indexed", "several", "mixing"]  # the worst last


class RelationLeaf(Facts):
    """A leaf of the parameter state of a relation.

    Parameters
    ----------
    keys : tuple of str and int
        Keys of the leaf within the state's value; empty if the value is one array.
    value : Value
        The leaf in the entry.
    part : {"weight", "bias"}
        Whether it is an operand of the operation, or is added to its result.
    chain : tuple of str
        The operations on parameters and constants between the leaf and the operation.
    """

    keys: StatePath
    value: Value
    part: Literal["weight", "bias"]
    chain: tuple[str, ...] = ()


class HiddenParamOpRelation(Facts):
    """A weight operation ``y = f(parameter, x)`` and the hidden states that `y` reaches within one step.

    Parameters
    ----------
    path : tuple of str and int
        The parameter state.
    state : State
        Its record in the interface.
    kind : str
        ``dense``: a matrix product; ``grouped``: one for each index of a shared axis; ``einsum``: any other
        contraction; ``lora``: a product with several leaves in a row; ``embedding``: rows picked by data;
        ``elementwise`` and ``bias``: the parameter meets data element by element, and only in sums;
        ``sparse``: products of elements, summed at places known beforehand (a scatter); ``event``: elements
        chosen by data and summed; ``custom``: a node with derivative rules of its own; ``other``.
    leaves : tuple of RelationLeaf
        The leaves of the state that take part.
    x : Value or None
        The data operand, a value of the flat entry (:func:`inline_calls`); None for elementwise and bias.
    y : Value
        The result, after the bias that the same state adds; for elementwise and bias, the parameter's value
        before it meets data or another parameter. A value of the flat entry.
    hidden_groups : tuple of HiddenGroup
        The groups of the connected hidden states.
    connected_hidden_paths : tuple of paths
        Hidden states that `y` reaches other than through a further weight operation, in state order.
    how : tuple of pairs of path and str
        For each hidden state that `y` reaches: ``direct``, only ``through`` another weight operation, or
        ``both``.
    tail : {"aligned", "indexed", "several", "mixing"}
        How new values of the connected states see `y`: each position its own; each one element of `y`,
        perhaps another; several elements at fixed places (a fused gate matrix); or in a way that mixes.
    operation : Program
        From the leaves, then `x`, then everything else that is needed, to the tuple of `y`; its
        vector-Jacobian product gives the gradients of the leaves.
    operation_invars : tuple of Value
        The values of the flat entry that its inputs stand for.
    y_to_hidden : Program
        From `y`, then everything else that is needed, to the tuple of the new values of the connected states.
        Results of further weight operations and of ``stop_gradient`` come in as inputs.
    y_to_hidden_invars : tuple of Value
        The values of the flat entry that its inputs stand for.
    node : str
        The operation; for elementwise and bias, the first that the parameter meets data in.
    source : str
        The model's line.
    y_to_hidden_variations : tuple of InputVariation
        Whether each of `y_to_hidden_invars` is constant over time, and along which axes it varies.
    descent : Descent or None
        For a weight inside a long scan: the scan, and one round of it as a step. The values and programs of the
        relation are then those of the step ``descent.substep``, and its trace rolls ``descent.length`` times a step.
    """

    path: StatePath
    state: State
    kind: Kind
    leaves: tuple[RelationLeaf, ...]
    x: Value | None
    y: Value
    hidden_groups: tuple[HiddenGroup, ...]
    connected_hidden_paths: tuple[StatePath, ...]
    how: tuple[tuple[StatePath, How], ...]
    tail: Tail
    operation: Program
    operation_invars: tuple[Value, ...]
    y_to_hidden: Program
    y_to_hidden_invars: tuple[Value, ...]
    node: str
    source: str
    y_to_hidden_variations: tuple[InputVariation, ...] = ()
    descent: Descent | None = None

    @functools.cached_property
    @collector_paused()
    def tail_structure(self) -> JacobianStructure:
        """Which derivatives of the new values of the connected states by `y` are zero, constant, equal everywhere.

        One column, and a row for each connected state in order, a grouped state counting once for each place of
        its last axis: ``F[k, a] = d h_new[k, a] / d y[l]``, where l is the element that :meth:`index_maps` names.
        A row is never uniform where an element sees several elements of `y`.
        """
        states = {state.path: state for group in self.hidden_groups for state in group.hidden_states}
        rows = [states[path] for path in self.connected_hidden_paths]
        found = structure_of(self.y_to_hidden, self.y_to_hidden_variations, [None], rows)
        several = {
            path
            for path, maps in zip(self.connected_hidden_paths, self._maps, strict=True)
            if maps is None or len(maps) > 1
        }
        entries = (
            entry.replace(uniform=False, value=None) if found.states[entry.row][0] in several else entry
            for entry in found.entries
        )
        return found.replace(entries=tuple(entries))

    @property
    def elementwise_tail(self) -> bool:
        """Whether each element of the connected states' new values sees at most one element of `y`."""
        return self.tail in ("aligned", "indexed")

    def index_maps(self, path: StatePath) -> tuple[IndexMap, ...] | None:
        """Return which elements of `y` each element of the new value of a connected hidden state sees.

        Returns
        -------
        tuple of ndarray of int64, or None
            Index maps in the shape of the new value, with flat indices into `y` or -1; an element sees what
            any of them names. None if the tail mixes.

        Raises
        ------
        AnalysisError
            If the hidden state is not connected.
        """
        if path not in self.connected_hidden_paths:
            raise AnalysisError(
                f"{format_path(path)} is not connected to this relation; "
                f"connected are {format_paths(self.connected_hidden_paths)}"
            )
        return self._maps[self.connected_hidden_paths.index(path)]

    @property
    def _maps(self) -> list[tuple[IndexMap, ...] | None]:
        return input_maps(self.y_to_hidden.entry_function, flow_from(self.y_to_hidden, Source(self.y.shape)))

    def __repr__(self) -> str:
        lines = [f"relation of {format_path(self.path)} ({self.kind}): y = {self.y}, x = {self.x or 'none'}"]
        for leaf in self.leaves:
            keys = f" {format_path(leaf.keys)}" if leaf.keys else ""
            chain = f" through {counted(len(leaf.chain), 'node')}" if leaf.chain else ""
            lines.append(f"  {leaf.part}{keys}: {leaf.value}{chain}")
        lines += [f"  reaches {format_path(path)}: {_HOW[how]}" for path, how in self.how]
        groups = ", ".join(str(group.index) for group in self.hidden_groups) or "none"
        lines.append(f"  hidden groups: {groups}; tail: {self.tail}")
        if self.descent is not None:
            lines.append(f"  {self.descent.length} times in a scan, whose round is taken as a step of its own")
        lines.append(f"  at {format_place(self.node, self.source)}")
        return "\n".join(lines)


_HOW = {
    "direct": "directly",
    "through": "only through another weight operation",
    "both": "directly and through another weight operation",
}


def find_hidden_param_op_relations(program: Program) -> tuple[HiddenParamOpRelation, ...]:
    """Find the weight operations whose results reach a hidden state within one step.

    A weight operation is a node in which a value made of parameters and constants only meets data. Parameters
    that only meet data element by element get one relation for each leaf. Branches and short scans with weights inside
    are opened first (:func:`open_control_flow`). What is not listed (readouts, weights that reach hidden states only
    through another weight, weights in loops that stay) is named by :func:`relation_diagnostics`.

    Parameters
    ----------
    program : Program

    Returns
    -------
    tuple of HiddenParamOpRelation
        In the order of the parameter states, then of the operations.

    Raises
    ------
    AnalysisError
        If a state breaks the rules of a step; see :func:`module_info`.
    """
    require_program(program)
    scan = WeightScan.of(program)
    return kept(scan, "_relations", lambda: _built(WeightOperations.of(scan)))


@collector_paused()
def _built(operations: WeightOperations) -> tuple[HiddenParamOpRelation, ...]:
    groups = groups_of(operations.scan)
    builder = _Builder(operations, groups)
    found = [builder.build(index, each) for index, each in enumerate(operations.related())]
    inside = [each for descent in descents_of(operations.scan).values() for each in _descended(descent, groups)]
    if not inside:
        return tuple(found)
    order = {leaf.path: number for number, leaf in enumerate(operations.scan.states.params)}
    return tuple(sorted([*found, *inside], key=lambda relation: order[relation.path]))


def connected_states(program: Program) -> dict[StatePath, tuple[StatePath, ...]]:
    """Return the hidden states that the relations of each parameter are connected to, without building relations."""
    operations = WeightOperations.of(WeightScan.of(program))
    found: dict[StatePath, dict[StatePath, None]] = {}
    for operation in operations.related():
        hidden = (each for each in operations.scan.states.hidden if operations.reaches(operation, each.new)[0])
        found.setdefault(operation.path, {}).update(dict.fromkeys(each.path for each in hidden))
    for descent in descents_of(operations.scan).values():
        if isinstance(descent, Descent):
            for path, connected in connected_states(descent.substep).items():
                found.setdefault(path, {}).update(dict.fromkeys(connected))
    return {path: tuple(connected) for path, connected in found.items()}


def _descended(descent: Descent | str, groups: tuple[HiddenGroup, ...]) -> Iterator[HiddenParamOpRelation]:
    """Yield the relations of one round of a long scan, with the groups of the whole step."""
    if isinstance(descent, str):
        return
    for relation in find_hidden_param_op_relations(descent.substep):
        connected = set(relation.connected_hidden_paths)
        mine = tuple(group for group in groups if not connected.isdisjoint(group.hidden_paths))
        yield relation.replace(hidden_groups=mine, descent=descent)


class _Builder:
    def __init__(self, operations: WeightOperations, groups: tuple[HiddenGroup, ...]) -> None:
        self.operations = operations
        self.scan = operations.scan
        self.groups = groups
        self.group_of = {path: group.index for group in groups for path in group.hidden_paths}
        self.flows: dict[tuple[int, ...], DependenceFlow] = {}

    def build(self, index: int, operation: Operation) -> HiddenParamOpRelation:
        scan, function = self.scan, self.scan.function
        how = tuple(self._how(operation))
        connected = tuple(path for path, way in how if way != "through")
        targets = [scan.states.hidden_at[path].new for path in connected]
        y_to_hidden, tail_invars = extract(
            f"y_to_hidden_{index}", function, scan.program, [operation.y], targets, cut=scan.cut
        )
        sources = [leaf.leaf.value.name for leaf in operation.leaves]
        stop: set[str] = set()
        if operation.x is not None:
            sources.append(operation.x)
            stop.update(value for value in function.nodes[operation.nodes[0]].inputs if scan.is_data(value))
        program, invars = extract(f"operation_{index}", function, scan.program, sources, [operation.y], stop=stop)
        node = function.nodes[operation.nodes[0]] if operation.nodes else None
        return HiddenParamOpRelation(
            path=operation.path,
            state=operation.leaves[0].leaf.state,
            kind=operation.kind,
            leaves=tuple(
                RelationLeaf(
                    keys=each.leaf.keys,
                    value=each.leaf.value,
                    part="bias" if each.bias else "weight",
                    chain=tuple(format_node(link) for link in scan.chain(each.leaf, each.end)),
                )
                for each in operation.leaves
            ),
            x=None if operation.x is None else function.value(operation.x),
            y=function.value(operation.y),
            hidden_groups=tuple(self.groups[index] for index in sorted({self.group_of[path] for path in connected})),
            connected_hidden_paths=connected,
            how=how,
            tail=self._tail(y_to_hidden, function.value(operation.y), connected),
            operation=program,
            operation_invars=invars,
            y_to_hidden=y_to_hidden,
            y_to_hidden_invars=tail_invars,
            node=format_node(node) if node is not None else "the new value of a hidden state",
            source=node.source if node is not None else "",
            y_to_hidden_variations=input_variations(tail_invars, scan.variations),
        )

    def _how(self, operation: Operation) -> Iterator[tuple[StatePath, How]]:
        for number, direct, through in self.operations.reached_states(operation):
            path = self.scan.states.hidden[number].path
            yield path, "both" if direct and through else "direct" if direct else "through"

    def _tail(self, y_to_hidden: Program, y: Value, connected: tuple[StatePath, ...]) -> Tail:
        hidden = [self.scan.states.hidden_at[path] for path in connected]
        if y.shape not in self.flows:
            self.flows[y.shape] = flow_from(self.scan.program, Source(y.shape))
        seen = input_maps(y_to_hidden.entry_function, self.flows[y.shape])
        tails = [_tail_of(each, maps, y.aval.size) for each, maps in zip(hidden, seen, strict=True)]
        return max(tails, key=get_args(Tail).index, default="aligned")


def _tail_of(hidden: HiddenLeaf, maps: tuple[IndexMap, ...] | None, size: int) -> Tail:
    """Return how the new value of a state sees `y`, which has that many elements."""
    if maps is None:
        return "mixing"
    if len(maps) > 1:
        return "several"
    in_place = all(size == hidden.source.size and agrees(each, hidden.own_map) for each in maps)
    return "aligned" if in_place else "indexed"

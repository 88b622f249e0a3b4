"""How much memory the eligibility traces of a step take, for each learning rule."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Sequence
from itertools import compress

from ...ir.model import StatePath
from ...ir.node import Node
from ...ir.ops import ConvGeneralDilated, DotGeneral
from ...ir.program import Program
from ..dataflow.sites import signatures_of
from ..facts import Facts
from ..groups import HiddenGroup
from ..inline import inline_calls
from ..relations import HiddenParamOpRelation, RelationLeaf, find_hidden_param_op_relations

__all__ = ["TraceCost", "trace_costs"]


class TraceCost(Facts):
    """The traces of one relation for one hidden group.

    Parameters
    ----------
    path : tuple of str and int
        The parameter state.
    kind : str
        Kind of the relation.
    group : int
        Index of the hidden group.
    states, live_states : int
        States at each position of the group, and those of them whose trace can differ from zero and still reach the
        loss; the traces of the others are dropped.
    d_rtrl, d_rtrl_live : int
        Bytes of the D-RTRL traces, for all states of the group and for the live ones.
    es_d_rtrl, es_d_rtrl_live : int
        The same for ES-D-RTRL (one filtered input and one filtered tail).
    """

    path: StatePath
    kind: str
    group: int
    states: int
    live_states: int
    d_rtrl: int
    d_rtrl_live: int
    es_d_rtrl: int
    es_d_rtrl_live: int


def trace_costs(program: Program) -> tuple[TraceCost, ...]:
    """Return the trace memory of each relation and group of a step, in the order of the relations.

    Shapes: a dense weight ``[inputs, outputs, states]``, a bias or an elementwise parameter ``[outputs, states]``, an
    embedding ``[rows, outputs, states]``, a convolution ``[window, outputs, states]``, LoRA one for the product and
    one for its last factor; ES-D-RTRL the input and ``[outputs, states]``. Axes of a batch count.
    """
    relations = find_hidden_param_op_relations(program)
    liveness = _Liveness(program, relations)
    return tuple(
        _trace_cost(relation, group, liveness.live(group, relation.connected_hidden_paths))
        for relation in relations
        for group in relation.hidden_groups
    )


def _trace_cost(relation: HiddenParamOpRelation, group: HiddenGroup, live: int) -> TraceCost:
    y = relation.y.aval
    itemsize = y.nbytes // y.size if y.size else 0
    full = sum(_trace_size(relation, leaf) for leaf in _traced(relation)) * itemsize
    filtered = y.size * itemsize
    inputs = _input_size(relation) * itemsize
    return TraceCost(
        path=relation.path,
        kind=relation.kind,
        group=group.index,
        states=group.num_state,
        live_states=live,
        d_rtrl=full * group.num_state,
        d_rtrl_live=full * live,
        es_d_rtrl=inputs + filtered * group.num_state if group.num_state else 0,
        es_d_rtrl_live=inputs + filtered * live if live else 0,
    )


def _traced(relation: HiddenParamOpRelation) -> tuple[RelationLeaf, ...]:
    """Return the leaves that have a trace each; factors of a product share theirs with the weight they make."""
    weights = tuple(leaf for leaf in relation.leaves if leaf.part == "weight")
    biases = tuple(leaf for leaf in relation.leaves if leaf.part == "bias")
    return (weights[:2] if relation.kind == "lora" else weights[:1]) + biases[:1]


def _trace_size(relation: HiddenParamOpRelation, leaf: RelationLeaf) -> int:
    """Return the elements of the trace of a leaf for one state."""
    y = relation.y.aval
    if leaf.part == "bias" or relation.kind in ("bias", "elementwise"):
        return y.size
    if relation.kind == "lora" and leaf is not relation.leaves[0]:
        # The second factor meets what the first made of the input: one element for each row of the factor.
        return leaf.value.aval.shape[0] * y.size if leaf.value.shape else y.size
    return _fan_in(relation, leaf) * y.size


def _fan_in(relation: HiddenParamOpRelation, leaf: RelationLeaf) -> int:
    """Return how many elements of the weight one element of the result sees."""
    y, weight = relation.y.aval, leaf.value.aval
    if relation.kind == "embedding":
        return weight.shape[0] if weight.shape else 1
    node = _node_of(relation)
    if isinstance(node, DotGeneral) and relation.x is not None:
        if relation.kind == "lora":
            return relation.x.aval.shape[-1]
        shape = relation.operation.entry_function.type_of(node.inputs[0]).shape
        return math.prod(shape[axis] for axis in node.dimension_numbers[0][0])
    if isinstance(node, ConvGeneralDilated):
        features = weight.shape[node.dimension_numbers.rhs_spec[0]]
        return weight.size // features if features else 0
    return max(weight.size // max(y.shape[-1] if y.shape else 1, 1), 1)


def _node_of(relation: HiddenParamOpRelation) -> Node | None:
    """Return the node in which the weight meets the input."""
    nodes = relation.operation.entry_function.nodes
    return next((node for node in nodes if node.traits.contraction), None)


def _input_size(relation: HiddenParamOpRelation) -> int:
    if relation.x is None:
        return 0
    if relation.kind == "embedding":
        rows = relation.leaves[0].value.shape[:1]
        return relation.x.aval.size * (rows[0] if rows else 1)
    return relation.x.aval.size


class _Liveness:
    """Which states of a group have a trace that is not zero and still reaches the loss."""

    def __init__(self, program: Program, relations: Sequence[HiddenParamOpRelation]) -> None:
        self.function = inline_calls(program.entry_function, program)
        self.results = self.function.outputs[program.interface.returned_leaves() :]
        self.groups = {group.index: group for relation in relations for group in relation.hidden_groups}
        self._ways_of: dict[int, tuple[list[set[int]], set[int]]] = {}

    def live(self, group: HiddenGroup, reached_paths: tuple[StatePath, ...]) -> int:
        """Return how many states at each position are live for a relation that reaches some members directly."""
        after, wanted = self._ways(group)
        filled = _closure(after, [index for index, path in enumerate(group.hidden_paths) if path in set(reached_paths)])
        return sum(group.hidden_states[index].num_state for index in filled & wanted)

    def _ways(self, group: HiddenGroup) -> tuple[list[set[int]], set[int]]:
        """Return, for each member, those whose new values see it in place; and the members that the loss sees."""
        if group.index not in self._ways_of:
            structure = group.jacobian_structure
            member = {path: index for index, path in enumerate(group.hidden_paths)}
            members = [member[path] for path, _ in structure.states]
            after: list[set[int]] = [set() for _ in group.hidden_paths]
            before: list[set[int]] = [set() for _ in group.hidden_paths]
            for entry in structure.entries:
                new, old = members[entry.row], members[entry.column]
                after[old].add(new)
                before[new].add(old)
            self._ways_of[group.index] = after, _closure(before, self._seen_by_loss(group))
        return self._ways_of[group.index]

    def _seen_by_loss(self, group: HiddenGroup) -> set[int]:
        """Return the members that the result sees, each at the exit or the entry, without the others' new values."""
        seen = self._seen
        pairs = enumerate(zip(group.hidden_invars, group.hidden_outvars, strict=True))
        return {
            index for index, (old, new) in pairs if (seen.get(old.name, 0) | seen.get(new.name, 0)) >> group.index & 1
        }

    @functools.cached_property
    def _seen(self) -> dict[str, int]:
        """For each value, the groups around whose new values the result sees it, as bits.

        One walk back serves all groups: a way that meets a new value ends for the groups that it belongs to.
        """
        ends: dict[str, int] = {}
        for group in self.groups.values():
            for value in group.hidden_outvars:
                ends[value.name] = ends.get(value.name, 0) | 1 << group.index
        every = sum(1 << index for index in self.groups)
        seen = dict.fromkeys(self.results, every)
        signatures = signatures_of(self.function)
        for node, signature in zip(reversed(self.function.nodes), reversed(signatures), strict=True):
            if signature.traits.blocks_gradient:
                continue
            mask = 0
            for name in compress(node.outputs, signature.inexact):
                if name in seen:
                    mask |= seen[name] & ~ends[name] if name in ends else seen[name]
            if mask:
                for operand in node.inputs:
                    seen[operand] = seen[operand] | mask if operand in seen else mask
        return seen


def _closure(following: Sequence[set[int]], starts: Collection[int]) -> set[int]:
    """Return everything that is reached from some numbers, themselves included."""
    found, pending = set(starts), [*starts]
    while pending:
        new = following[pending.pop()] - found
        found |= new
        pending += new
    return found

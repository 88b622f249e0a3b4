"""Where parameters meet data: the weight operations of a step."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ...ir.calls import calling
from ...ir.kept import kept
from ...ir.node import Node
from ...ir.ops import Cond, Scan, While
from ...ir.program import Function, Program
from ...ir.types import is_literal
from ..bit_sets import bits, numbered, union
from ..constants import fixed_values
from ..dataflow.reachability import nodes_behind, reused
from ..dataflow.sites import signatures_of
from ..dependence.element_maps import acts_elementwise
from ..dependence.flow import DependenceFlow
from ..dependence.lattice import Dependence
from ..inline import inline_calls
from ..jacobian import value_variations
from ..states import ParamLeaf, StepStates
from ..variation.flow import Slope
from .opening import OpenedProgram, open_control_flow

__all__ = ["Meeting", "WeightScan", "moves", "scales"]

How = Literal["elementwise", "product", "sum", "control_flow", "frozen"]


@dataclass(frozen=True, slots=True)
class Meeting:
    """A node in which a value made of parameters meets data.

    Parameters
    ----------
    index : int
        Place of the node in the flat entry.
    node : Node
    weights : tuple of str
        Operands made of parameters and constants only.
    data : tuple of str
        Operands that depend on inputs or states.
    how : str
        ``elementwise``: positions stay apart; ``product``: the node mixes them; ``sum``: it makes products of elements,
        which a node of their own sums (over axes, or by a scatter at places known beforehand), and both together are
        the weight operation; ``control_flow``: the weights go into a ``cond``, ``scan`` or ``while``; ``frozen``: they
        have no derivative, as all parameters are behind a ``stop_gradient``.
    total : Node or None
        The node that sums.
    """

    index: int
    node: Node
    weights: tuple[str, ...]
    data: tuple[str, ...]
    how: How
    total: Node | None = None

    @property
    def mixes(self) -> bool:
        """Whether positions mix where weights with a derivative meet data, so that no trace passes."""
        return self.how in ("product", "sum", "control_flow")


class WeightScan:
    """What each value of the flat entry is made of, and where parameters meet data.

    Calls are inlined, and control flow with weights inside is opened (:func:`open_control_flow`); custom derivatives
    are not, since a rule belongs to the whole node.

    Parameters
    ----------
    program : Program
    opening : bool
        Whether to open control flow.

    Attributes
    ----------
    program : Program
        The program, opened.
    rewrites : tuple of Diagnostic
        What was opened, and what that means.
    states : StepStates
    function : Function
        The flat entry.
    leaves : dict
        For each value made of parameters and constants only: the parameter leaves behind it, as bits.
    frozen : dict
        For the same values: the leaves that the value sees through a ``stop_gradient`` only.
    fixed : set of str
        Values made of constants only.
    reused : set of str
        Values that are used more than once.
    meetings : list of Meeting
    """

    def __init__(self, program: Program, *, opening: bool = True) -> None:
        self.states = StepStates.of(program)
        opened = open_control_flow(program) if opening else OpenedProgram(program=program)
        self.program = program = opened.program
        self.rewrites = opened.rewrites
        self.function = inline_calls(program.entry_function, program, checkpoints=True)
        self.leaves = numbered(leaf.value.name for leaf in self.states.params)
        self.frozen: dict[str, int] = {}
        self.fixed = fixed_values(self.function)
        self.reused = reused(self.function)
        met: list[tuple[int, Node, tuple[str, ...], tuple[str, ...]]] = []
        leaves, frozen = self.leaves, self.frozen
        for index, node in enumerate(self.function.nodes):
            if leaves.keys().isdisjoint(node.inputs):
                continue
            operands = tuple(dict.fromkeys(node.inputs))
            weights = tuple(name for name in operands if name in leaves)
            seen = tuple(name for name in operands if self.is_data(name))
            if seen:
                met.append((index, node, weights, seen))
                continue
            mine, stopped = union(leaves, weights), union(frozen, weights)
            if node.traits.blocks_gradient:
                mine, stopped = 0, mine | stopped
            for name in node.outputs:
                leaves[name] = mine
                frozen[name] = stopped & ~mine
        self.meetings = [self._meeting(*each) for each in met]

    @staticmethod
    def of(program: Program) -> WeightScan:
        """Return the scan of a program, made once and kept with it, as several analyses ask for it."""
        return kept(program, "_weight_scan", lambda: WeightScan(program))

    def rewritten(self, nodes: Iterable[Node]) -> WeightScan:
        """Return the scan of the program with other nodes in its flat entry."""
        entry = self.function.replace(nodes=tuple(nodes))
        found = WeightScan(self.program.with_entry(entry), opening=False)
        found.rewrites = self.rewrites
        return found

    def _meeting(self, index: int, node: Node, weights: tuple[str, ...], data: tuple[str, ...]) -> Meeting:
        how: How = "elementwise"
        total: Node | None = None
        if not union(self.leaves, weights):
            how = "frozen"
        elif isinstance(node, Cond | Scan | While):
            how = "control_flow"
        elif self._mixes(node):
            how = "product"
        elif (total := self._sum_of(node, data)) is not None:
            how = "sum"
        return Meeting(index, node, weights, data, how, total)

    def _sum_of(self, node: Node, data: tuple[str, ...]) -> Node | None:
        """Look for the sum that products of weights and data, written out element by element, go into."""
        if len(data) != 1 or not (node.op == "mul" or (node.op == "select_n" and node.inputs[0] == data[0])):
            return None
        name = node.outputs[0]
        while name not in self.reused and name in self.function.users:
            (user,) = self.function.users[name]
            if user.op == "reduce_sum" and not self._keeps_elements(user):
                return user
            # With parameters where it adds to, it is a weight operation of theirs, with the products as its data.
            given = user.inputs[:2]
            known = not any(map(self.is_data, given)) and not union(self.leaves, given)
            if user.op == "scatter_add" and user.inputs[2] == name and known:
                return user
            if not moves(user) or len(user.outputs) != 1:
                break
            name = user.outputs[0]
        return None

    def _keeps_elements(self, node: Node) -> bool:
        return self.function.type_of(node.inputs[0]).size == self.function.type_of(node.outputs[0]).size

    def _mixes(self, node: Node) -> bool:
        if node.traits.structural:
            return False
        return not acts_elementwise(node, [self.function.type_of(operand) for operand in node.inputs], self.program)

    @functools.cached_property
    def blocking(self) -> frozenset[str]:
        """First results of the weight operations that mix positions."""
        ends = (meeting.total or meeting.node for meeting in self.meetings if meeting.mixes)
        return frozenset(node.outputs[0] for node in ends if node.outputs)

    @functools.cached_property
    def results(self) -> tuple[str, ...]:
        """The values that the result of the step is made of."""
        return self.function.outputs[self.program.interface.returned_leaves() :]

    @functools.cached_property
    def stops(self) -> list[Node]:
        """The nodes that block the gradient."""
        pairs = zip(self.function.nodes, signatures_of(self.function), strict=True)
        return [node for node, signature in pairs if signature.traits.blocks_gradient]

    @functools.cached_property
    def cut(self) -> frozenset[str]:
        """First results of the nodes that no derivative is followed through."""
        return self.blocking.union([node.outputs[0] for node in self.stops])

    @functools.cached_property
    def dependence(self) -> tuple[DependenceFlow, dict[str, Dependence]]:
        """What each value sees of the old hidden states along ways that carry a derivative."""
        return self._follow(through_stop_gradient=False)

    @functools.cached_property
    def whole_dependence(self) -> tuple[DependenceFlow, dict[str, Dependence]]:
        """What each value sees of the old hidden states at all, where there is no derivative too."""
        if not any(map(_ends_derivatives, self.program.functions)):
            return self.dependence
        return self._follow(through_stop_gradient=True)

    def _follow(self, *, through_stop_gradient: bool) -> tuple[DependenceFlow, dict[str, Dependence]]:
        flow = DependenceFlow(
            self.program,
            self.states.sources,
            through_stop_gradient=through_stop_gradient,
            blocking=self.blocking,
        )
        starts = {hidden.old: flow.start(number) for number, hidden in enumerate(self.states.hidden)}
        return flow, flow.run(self.function, starts)

    @functools.cached_property
    def variations(self) -> dict[str, Slope]:
        """How each value varies over time and along its axes."""
        return value_variations(self.program, self.function, self.states)

    def param_leaves(self, name: str) -> list[ParamLeaf]:
        """Return the parameter leaves behind a value, in state order."""
        return [self.states.params[number] for number in bits(self.leaves.get(name, 0))]

    @functools.cached_property
    def leaf_number(self) -> dict[str, int]:
        """The place of each parameter leaf in the order of all, by the name of its value."""
        return {leaf.value.name: number for number, leaf in enumerate(self.states.params)}

    def is_data(self, operand: str) -> bool:
        """Whether a value depends on inputs or on states that are no parameters."""
        return not (operand in self.leaves or operand in self.fixed or is_literal(operand))

    def is_param(self, operand: str) -> bool:
        """Whether a value is made of parameters and constants only, and of at least one parameter."""
        return not is_literal(operand) and bool(self.leaves.get(operand))

    def chain(self, leaf: ParamLeaf, end: str) -> tuple[Node, ...]:
        """Return the nodes on all paths from a parameter leaf to a value made of parameters, in order."""
        number = self.leaf_number[leaf.value.name]
        return nodes_behind(self.function, [end], lambda operand: self.leaves.get(operand, 0) >> number & 1)


def moves(node: Node) -> bool:
    """Whether a node gives the elements of its only operand, moved or converted."""
    return (node.traits.structural and len(node.inputs) == 1) or node.op in ("convert_element_type", "copy")


def scales(node: Node, operand: str) -> bool:
    """Whether a node multiplies the elements of an operand, which is its only data, each by a number of its own."""
    return node.op in ("mul", "neg") or (node.op == "div" and node.inputs[0] == operand)


def _ends_derivatives(function: Function) -> bool:
    """Whether values can depend on others in ways that carry no derivative, other than element by element."""
    if any(isinstance(node, Cond | While) for node in calling(function)):
        return True
    kinds = {signature.number: signature for signature in signatures_of(function)}.values()
    return any(each.traits.blocks_gradient or (each.operands and each.counts) for each in kinds)

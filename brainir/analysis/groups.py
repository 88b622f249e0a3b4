"""Hidden groups: hidden states that depend on each other position by position, and their joint transition."""

from __future__ import annotations

import functools
from collections.abc import Container, Iterator
from typing import Literal

from ..ir.collector import collector_paused
from ..ir.interface import State
from ..ir.kept import kept
from ..ir.model import StatePath
from ..ir.node import Node
from ..ir.ops import Cumulative, DynamicSlice, DynamicUpdateSlice, Gather, Scatter
from ..ir.printer import format_node, format_path
from ..ir.program import Program, Value, require_program
from ..ir.wording import counted
from .bit_sets import bits, numbered
from .constants import fixed_values
from .dataflow.reachability import reaching
from .dependence.index_maps import agrees
from .dependence.lattice import NOTHING
from .facts import Facts, format_paths, format_place
from .jacobian import InputVariation, JacobianStructure, input_variations, structure_of
from .states import HiddenLeaf
from .transitions import AlignedSlice
from .weights.descents import Descent, descents_of
from .weights.scan import WeightScan

__all__ = ["Blocked", "BlockedKind", "HiddenGroup", "Partition", "find_hidden_groups", "group_members", "groups_of"]

BlockedKind = Literal[
    "weight", "contraction", "reduction", "cumulative", "control_flow", "random", "dynamic_index", "moved",
    "different_shape", "stop_gradient", "unknown",
]  # fmt: skip


class Blocked(Facts):
    """A place where hidden states see old hidden states, but not position by position, so that it joins none.

    Parameters
    ----------
    kind : str
        ``weight``: a product with a parameter; ``contraction``, ``reduction``, ``cumulative``,
        ``dynamic_index``, ``control_flow``, ``random``, ``unknown``: the operation mixes positions;
        ``moved``: each element sees one position, but not its own; ``different_shape``: the states have
        different positions; ``stop_gradient``: the derivative is zero.
    node : str
        The operation.
    source : str
        The model's line.
    from_paths, to_paths : tuple of paths
        The old states that go in, and the states whose new value it reaches.
    """

    kind: BlockedKind
    node: str
    source: str
    from_paths: tuple[StatePath, ...]
    to_paths: tuple[StatePath, ...]

    def __repr__(self) -> str:
        paths = f"{format_paths(self.from_paths)} -> {format_paths(self.to_paths)}"
        return f"{self.kind}: {paths} at {format_place(self.node, self.source)}"


class HiddenGroup(Facts):
    """Hidden states that belong together, because each depends on the others position by position.

    Parameters
    ----------
    index : int
        Place of the group in the order of the groups.
    hidden_paths : tuple of paths
        The members, in state order.
    hidden_states : tuple of State
        Their records in the interface.
    hidden_invars, hidden_outvars : tuple of Value
        Old and new values in the entry.
    varshape : tuple of int
        Shape of the positions.
    num_state : int
        States at each position: one for each member, ``num_state`` for a grouped state.
    transition : Program
        From the old values of the members, then everything else that is needed, to the tuple of their new
        values. Each new value depends on the old ones position by position only: what mixes positions comes
        in as a further input, as does the old value of a member where it is seen at another position. Its
        derivative for a tangent of ones is therefore the sum over the members of the block diagonal of the
        Jacobian.
    transition_invars : tuple of Value
        The values of the flat entry (:func:`inline_calls`) that the inputs of `transition` stand for.
    blocked : tuple of Blocked
        Dependence from or to a member that joins no states.
    transition_variations : tuple of InputVariation
        Whether each of `transition_invars` is constant over time, and along which axes it varies.
    descent : Descent or None
        The long scan, with weights inside, that carries the members from their old to their new values. What it
        computes is held in `transition`; the transition of one round is that of the group of ``descent.substep``.
    """

    index: int
    hidden_paths: tuple[StatePath, ...]
    hidden_states: tuple[State, ...]
    hidden_invars: tuple[Value, ...]
    hidden_outvars: tuple[Value, ...]
    varshape: tuple[int, ...]
    num_state: int
    transition: Program
    transition_invars: tuple[Value, ...]
    blocked: tuple[Blocked, ...] = ()
    transition_variations: tuple[InputVariation, ...] = ()
    descent: Descent | None = None

    @functools.cached_property
    @collector_paused()
    def jacobian_structure(self) -> JacobianStructure:
        """Which entries of the Jacobian of `transition` at each position are zero, constant, equal everywhere.

        See :class:`JacobianStructure`: rows and columns are the members in state order, a grouped state counting
        once for each place of its last axis; ``jacobian_structure.at(a, b)`` is None where the entry is zero.
        """
        return structure_of(self.transition, self.transition_variations, self.hidden_states, self.hidden_states)

    def _inside(self) -> dict[str, object]:
        return {"index": self.index, "hidden_paths": [list(path) for path in self.hidden_paths]}

    def __repr__(self) -> str:
        shape = ",".join(map(str, self.varshape))
        lines = [f"hidden group {self.index}: {counted(len(self.hidden_paths), 'state')} at positions [{shape}]"]
        rows = zip(self.hidden_paths, self.hidden_invars, self.hidden_outvars, strict=True)
        lines += [f"  {format_path(path)}: {old} -> {new.name}" for path, old, new in rows]
        nodes = len(self.transition.entry_function.nodes)
        further = len(self.transition_invars) - len(self.hidden_paths)
        lines.append(f"  transition: {counted(nodes, 'node')}, {counted(further, 'further input')}")
        lines += [f"  not joined by {each!r}" for each in self.blocked]
        return "\n".join(lines)


def find_hidden_groups(program: Program) -> tuple[HiddenGroup, ...]:
    """Find the groups of hidden states that update together, position by position.

    Two states share a group when the new value of one depends on the old value of the other element by
    element, each position on the same position, directly or through other states. A weight operation, and whatever
    mixes or moves positions, does not join, in a loop or a branch neither; nor does ``stop_gradient``, through which
    the derivative is zero.

    Parameters
    ----------
    program : Program

    Returns
    -------
    tuple of HiddenGroup
        Ordered by first member, members in state order.

    Raises
    ------
    AnalysisError
        If a state breaks the rules of a step; see :func:`module_info`.
    """
    require_program(program)
    return groups_of(WeightScan.of(program))


@collector_paused()
def groups_of(scan: WeightScan) -> tuple[HiddenGroup, ...]:
    """Find the groups of a scanned program, once; see :func:`find_hidden_groups`."""
    return kept(scan, "_groups", lambda: tuple(_GroupFinder(scan).groups()))


class Partition:
    """Numbers in disjoint sets, which are joined pair by pair."""

    def __init__(self, size: int) -> None:
        self._parent = list(range(size))

    def _first(self, number: int) -> int:
        while self._parent[number] != number:
            self._parent[number] = number = self._parent[self._parent[number]]
        return number

    def join(self, one: int, other: int) -> None:
        """Join the sets of two numbers; the smallest number stands for a set."""
        first, second = sorted((self._first(one), self._first(other)))
        self._parent[second] = first

    def parts(self) -> list[list[int]]:
        """Return the sets by their first number, each in order."""
        found: dict[int, list[int]] = {}
        for number in range(len(self._parent)):
            found.setdefault(self._first(number), []).append(number)
        return list(found.values())


def group_members(program: Program) -> tuple[tuple[StatePath, ...], ...]:
    """Return the paths of the members of each hidden group, without what else :func:`find_hidden_groups` finds."""
    finder = _GroupFinder(WeightScan.of(program))
    return tuple(tuple(finder.hidden[number].path for number in numbers) for numbers in finder.members()[0])


class _GroupFinder:
    def __init__(self, scan: WeightScan) -> None:
        self.scan = scan
        self.function = scan.function
        self.hidden = scan.states.hidden
        self.flow, self.known = scan.dependence
        self.descents = [each for each in descents_of(scan).values() if isinstance(each, Descent)]

    def members(self) -> tuple[list[list[int]], list[Blocked]]:
        """Return the members of each group, and where states see others, but not at their own positions."""
        blocked: list[Blocked] = []
        components = Partition(len(self.hidden))
        for target in range(len(self.hidden)):
            joined, misplaced = self._joins(target)
            blocked += misplaced
            for number in bits(joined):
                components.join(target, number)
        for descent in self.descents:
            for group in find_hidden_groups(descent.substep):
                numbers = [self.scan.states.hidden_at[path].number for path in group.hidden_paths]
                for number in numbers:
                    components.join(numbers[0], number)
        return components.parts(), blocked

    def groups(self) -> Iterator[HiddenGroup]:
        components, misplaced = self.members()
        blocked_of: dict[StatePath, list[int]] = {}
        blocked = [*self._mixing_nodes(), *misplaced, *self._stopped()]
        for place, each in enumerate(blocked):
            for path in dict.fromkeys((*each.from_paths, *each.to_paths)):
                blocked_of.setdefault(path, []).append(place)
        for index, numbers in enumerate(components):
            members = [self.hidden[number] for number in numbers]
            mine = sorted({place for member in members for place in blocked_of.get(member.path, ())})
            yield self._group(index, members, numbers, tuple(blocked[place] for place in mine))

    def _joins(self, target: int) -> tuple[int, list[Blocked]]:
        """Return the states that a new value sees position by position, and where it sees others."""
        hidden = self.hidden[target]
        dependence = self.known.get(hidden.new, NOTHING)
        fitting = 0
        for source, alike in self.flow.alike.items():
            fitting |= alike if source.shape == hidden.varshape else 0
        joined = moved = 0
        for mask, each in self.flow.layouts(dependence, hidden.kind.shape):
            if agrees(each, hidden.own_map):
                joined |= mask & fitting
            else:
                moved |= mask & fitting
        reshaped = dependence.mapped & ~fitting
        place = self.function.places.get(hidden.new)
        node = None if place is None else self.function.nodes[place]
        misplaced: list[tuple[BlockedKind, int]] = [("moved", moved), ("different_shape", reshaped)]
        return joined, [self._blocked(kind, node, mask, 1 << target) for kind, mask in misplaced if mask]

    def _mixing_nodes(self) -> Iterator[Blocked]:
        """Yield the nodes that mix positions and reach a hidden state."""
        places = self.function.places
        mixing = {places[name] for name, seen in self.known.items() if seen.mixing and name in places}
        reach = reaching(self.function, numbered(hidden.new for hidden in self.hidden)) if mixing else {}
        fixed = fixed_values(self.function)
        for node in [self.function.nodes[place] for place in sorted(mixing)]:
            mixed = lost = to = 0
            for name in node.outputs:
                result = self.known.get(name, NOTHING)
                mixed |= result.mixing
                lost |= result.mixing & ~result.mapped
                to |= reach.get(name, 0)
            if not to:
                continue
            before = seen = 0
            for operand in node.inputs:
                dependence = self.known.get(operand, NOTHING)
                before |= dependence.mixing
                seen |= dependence.mapped
            new = (mixed & ~before) | (lost & seen)
            if new:
                blocking = node.outputs[0] in self.scan.blocking
                yield self._blocked("weight" if blocking else _mixing_kind(node, fixed), node, new, to)

    def _stopped(self) -> Iterator[Blocked]:
        """Yield the ``stop_gradient`` nodes that keep states apart which the values alone would join."""
        stops = self.scan.stops
        if not stops:
            return
        _, whole = self.scan.whole_dependence
        lost: dict[str, int] = {}
        for number, hidden in enumerate(self.hidden):
            missing = whole.get(hidden.new, NOTHING).any & ~self.known.get(hidden.new, NOTHING).any
            if missing:
                lost[hidden.new] = lost.get(hidden.new, 0) | 1 << number
        reach = reaching(self.function, lost)
        for node in stops:
            seen, to = whole.get(node.inputs[0], NOTHING).any, reach.get(node.outputs[0], 0)
            for number in bits(to):
                new = self.hidden[number].new
                missing = seen & whole.get(new, NOTHING).any & ~self.known.get(new, NOTHING).any
                if missing:
                    yield self._blocked("stop_gradient", node, missing, 1 << number)

    def _blocked(self, kind: BlockedKind, node: Node | None, sources: int, targets: int) -> Blocked:
        return Blocked(
            kind=kind,
            node=format_node(node) if node is not None else "the value that is passed on",
            source=node.source if node is not None else "",
            from_paths=tuple(self.hidden[number].path for number in bits(sources)),
            to_paths=tuple(self.hidden[number].path for number in bits(targets)),
        )

    def _group(
        self, index: int, members: list[HiddenLeaf], numbers: list[int], blocked: tuple[Blocked, ...]
    ) -> HiddenGroup:
        aligned = AlignedSlice(self.scan, self.flow, self.known, numbers)
        transition, invars = aligned.cut(f"transition_{index}", members)
        paths = {member.path for member in members}
        return HiddenGroup(
            index=index,
            hidden_paths=tuple(member.path for member in members),
            hidden_states=tuple(member.state for member in members),
            hidden_invars=tuple(self.function.value(member.old) for member in members),
            hidden_outvars=tuple(self.function.value(member.new) for member in members),
            varshape=members[0].varshape,
            num_state=sum(member.state.num_state for member in members),
            transition=transition,
            transition_invars=invars,
            blocked=blocked,
            transition_variations=input_variations(invars, self.scan.variations),
            descent=next((each for each in self.descents if not paths.isdisjoint(each.hidden_paths)), None),
        )


def _mixing_kind(node: Node, fixed: Container[str]) -> BlockedKind:
    """Name the reason why a node's results do not depend element by element on its operands."""
    indexed = isinstance(node, Gather | Scatter) and node.inputs[1] not in fixed
    traits = node.traits
    named: dict[BlockedKind, bool] = {
        "control_flow": traits.control,
        "contraction": traits.contraction,
        "reduction": traits.reduction,
        "cumulative": isinstance(node, Cumulative),
        "random": traits.random,
        "dynamic_index": indexed or isinstance(node, DynamicSlice | DynamicUpdateSlice),
    }
    return next((kind for kind, holds in named.items() if holds), "unknown")

"""The transition of a hidden group: the part of a step through which its states see each other in place."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from itertools import compress

import numpy as np

from ..ir.node import Node
from ..ir.ops import BitcastConvertType, Cumulative, DotGeneral, OptimizationBarrier, Reduce
from ..ir.program import Function, Program, Value
from ..ir.types import TensorType, is_literal
from .constants import Constants
from .dataflow.sites import Site, signatures_of
from .dependence.element_maps import acts_elementwise, local_maps
from .dependence.flow import DependenceFlow
from .dependence.index_maps import IndexMap, agrees, canonical, merge, nowhere
from .dependence.lattice import NOTHING, Dependence
from .pooling import unpooled
from .rearrange import rearrange, writes_in_place
from .slicing import Cutting
from .states import HiddenLeaf
from .weights.scan import WeightScan

__all__ = ["AlignedSlice"]


class AlignedSlice:
    """The part of a step through which new values see old ones of a group at their own position.

    Walks back from the new values. Each value on the way is wanted at certain positions; an operand that sees
    no member at the wanted positions is held: it comes into the transition as an input.
    """

    def __init__(
        self, scan: WeightScan, flow: DependenceFlow, known: Mapping[str, Dependence], members: list[int]
    ) -> None:
        self.scan = scan
        self.function: Function = scan.function
        self.flow = flow
        self.known = known
        self.members = sum(1 << number for number in members)
        self.wanted: dict[str, IndexMap] = {}
        self.signatures = signatures_of(scan.function)
        self.constants = Constants(scan.function)
        self.inside: dict[int, list[list[IndexMap | None]]] = {}
        # Most values share what they see with others. What has an identity in a key is kept with what was found.
        self.fitting: dict[tuple[int, ...], tuple[IndexMap, tuple[bool, ...]]] = {}
        self.agreeing: dict[tuple[int, int], tuple[Dependence, IndexMap, bool]] = {}

    def cut(self, name: str, members: list[HiddenLeaf]) -> tuple[Program, tuple[Value, ...]]:
        """Return the transition, and the values that its inputs stand for."""
        live_results = [self._want(member.new, member.own_map) for member in members]
        live = self._live_operands()
        cutting = Cutting(name, self.function, self.scan.program, [member.old for member in members])
        sees = {*(member.old for member in members), *self.wanted}
        defined, operand_of = cutting.defined, cutting.operand
        for index in reversed(live):
            pairs = zip(self.function.nodes[index].inputs, live[index], strict=True)
            cutting.add(
                index,
                [
                    each if keep and each in defined else operand_of(each, live=keep or each not in sees)
                    for each, keep in pairs
                ],
            )
        results = zip(members, live_results, strict=True)
        return cutting.finish(
            [cutting.operand(member.new, live=keep or member.new not in sees) for member, keep in results]
        )

    def _live_operands(self) -> dict[int, list[bool]]:
        """Walk back from the values that are wanted; return, for each node, which of its operands see the group.

        The last node comes first, so that each is asked for at all wanted positions before its operands are.
        """
        nodes, places = self.function.nodes, self.function.places
        live: dict[int, list[bool]] = {}
        # Inputs and constants have no place.
        queued = {-1, *(places.get(name, -1) for name in self.wanted)}
        pending = sorted(-place for place in queued if place >= 0)
        while pending:
            index = -heapq.heappop(pending)
            live[index] = self._operands(index)
            for operand in compress(nodes[index].inputs, live[index]):
                place = places.get(operand, -1)
                if place not in queued:
                    queued.add(place)
                    heapq.heappush(pending, -place)
        return live

    def _want(self, operand: str, positions: IndexMap) -> bool:
        """Ask for a value at some positions; false if it does not see the group there."""
        if is_literal(operand):
            return False
        # The same array where it can be: that it agrees with itself is known without looking.
        shape = self.function.type_of(operand).shape
        positions = positions if positions.shape == shape else positions.reshape(shape)
        return self._agrees(self.known.get(operand, NOTHING), positions) and self._add(operand, positions)

    def _add(self, operand: str, positions: IndexMap) -> bool:
        """Ask for a value at positions at which it sees the group; false if it is wanted at others already."""
        before = self.wanted.setdefault(operand, positions)
        if before is positions:
            return True
        both = merge(before, positions)
        if both is None:
            return False
        self.wanted[operand] = both
        return True

    def _agrees(self, dependence: Dependence, positions: IndexMap) -> bool:
        """Whether a value sees a member at some positions."""
        key = id(dependence), id(positions)
        found = self.agreeing.get(key)
        if found is None:
            seen = dependence.mapped & self.members
            layouts = self.flow.layouts(dependence, positions.shape) if seen else ()
            fits = any(mask & seen and agrees(each, positions) for mask, each in layouts)
            found = self.agreeing[key] = (dependence, positions, fits)
        return found[2]

    def _fits(
        self, kinds: Sequence[TensorType], seen: Sequence[Dependence | None], positions: IndexMap
    ) -> tuple[bool, ...]:
        """Return which operands see the group at some positions; nothing if one that sees it has another shape."""
        live = [each if each is not None and each.mapped & self.members else None for each in seen]
        if any(each is not None and kind.shape != positions.shape for kind, each in zip(kinds, live, strict=True)):
            return ()
        return tuple([each is not None and self._agrees(each, positions) for each in live])

    def _operands(self, index: int) -> list[bool]:
        """Ask for each operand of a node at the positions at which its results are wanted; whether it sees them."""
        node, signature = self.function.nodes[index], self.signatures[index]
        seen = [self.known.get(operand) for operand in node.inputs]
        positions = self.wanted.get(node.outputs[0])
        if positions is not None and signature.traits.elementwise:
            # Most operands have the shape of the result, and are wanted at the very same positions.
            key = (signature.number, id(positions), *map(id, seen))
            if key not in self.fitting:
                self.fitting[key] = positions, self._fits(signature.operands, seen, positions)
            if fits := self.fitting[key][1]:
                return [fit and self._add(operand, positions) for operand, fit in zip(node.inputs, fits, strict=True)]
        live = [each is not None and bool(each.mapped & self.members) for each in seen]
        if not any(live):
            return live
        kinds, results = signature.operands, [self.wanted.get(name) for name in node.outputs]
        in_place = not isinstance(node, DotGeneral) and acts_elementwise(node, kinds, self.scan.program)
        for place, operand in enumerate(node.inputs):
            if live[place]:
                find = self._in_place if in_place or self._is_cast(node, kinds[place]) else self._moved
                found = find(node, results, kinds, place)
                live[place] = found is not None and self._want(operand, found)
        return live

    @staticmethod
    def _is_cast(node: Node, kind: TensorType) -> bool:
        return isinstance(node, BitcastConvertType) and kind.shape == TensorType.parse(node.types[0]).shape

    def _in_place(
        self, node: Node, results: Sequence[IndexMap | None], kinds: Sequence[TensorType], index: int
    ) -> IndexMap | None:
        """Return the positions of an operand of an elementwise node; None if they are not known."""
        shape = kinds[index].shape
        wanted: IndexMap | None = None
        for result in results:
            if result is not None:
                wanted = result if wanted is None else merge(wanted, result)
                if wanted is None:
                    return None
        if wanted is None or shape == wanted.shape:
            return wanted
        return _gathered(shape, [np.broadcast_to(canonical(shape), wanted.shape)], [wanted])

    def _moved(
        self, node: Node, results: Sequence[IndexMap | None], kinds: Sequence[TensorType], index: int
    ) -> IndexMap | None:
        """Return the positions of an operand of a node that moves elements; None if it does more."""
        shape = kinds[index].shape
        if isinstance(node, DotGeneral | Reduce | Cumulative):
            (result,) = results
            return None if result is None else unpooled(node, result, [kind.shape for kind in kinds])[index]
        return _gathered(shape, self._maps(node, shape, index), results)

    def _maps(self, node: Node, shape: tuple[int, ...], index: int) -> list[IndexMap | None]:
        """Return which elements of an operand the elements of each result see; None where they see several."""
        if node.traits.control or isinstance(node, OptimizationBarrier):
            if id(node) not in self.inside:
                self.inside[id(node)] = local_maps(Site.of(node, self.function, self.constants), self.scan.program)
            return [row[index] for row in self.inside[id(node)]]
        blank = [nowhere(self.function.type_of(operand).shape) for operand in node.inputs]
        elements = [*blank[:index], canonical(shape), *blank[index + 1 :]]
        moved = rearrange(node, elements, self.constants)
        if moved is None and index == 0 and writes_in_place(node):
            return [canonical(shape)]
        return [None] * len(node.outputs) if moved is None else list(moved)


def _gathered(
    shape: tuple[int, ...], origins: Sequence[IndexMap | None], results: Sequence[IndexMap | None]
) -> IndexMap | None:
    """Return the positions at which an operand is wanted, from those at which results are.

    Parameters
    ----------
    shape : tuple of int
        That of the operand.
    origins : sequence of ndarray of int64 or None
        For each result, the flat index of the element of the operand that each element sees, -1 for none; None
        where it is not known.
    results : sequence of ndarray of int64 or None
        The positions at which each result is wanted, in its shape; None if it is not.

    Returns
    -------
    ndarray of int64 or None
        None if an element is wanted at several positions, or it is not known at which.
    """
    positions = np.full(int(np.prod(shape, dtype=np.int64)), -1, np.int64)
    for origin, result in zip(origins, results, strict=True):
        if result is not None:
            if origin is None:
                return None
            used = (origin >= 0) & (result >= 0)
            positions[origin[used]] = result[used]
            if (positions[origin[used]] != result[used]).any():
                return None
    return positions.reshape(shape)

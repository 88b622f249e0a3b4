"""The data flow behind position dependence: which positions of a source each element of a value sees."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ...ir.node import Node
from ...ir.ops import (
    BitcastConvertType,
    Cumulative,
    CustomJvp,
    CustomVjp,
    DotGeneral,
    Reduce,
    ReduceWindowMonoid,
)
from ...ir.program import Program
from ...ir.types import TensorType
from ..bit_sets import bits
from ..dataflow import ForwardAnalysis
from ..dataflow.sites import Site
from ..pooling import Common, Pooling, common, pooled, product_layouts
from ..rearrange import Array, Known, is_order_preserving, rearrange, writes_in_place
from .index_maps import MAX_MAP_SIZE, IndexMap, merged, nowhere
from .lattice import NO_MAPS, NOTHING, Dependence, Source

__all__ = ["DependenceFlow"]

_MAX_MAPS = 8


class DependenceFlow(ForwardAnalysis[Dependence]):
    """Carries dependence on sources forward through functions.

    Nested functions are followed, those of control flow included: what a result of a ``cond`` depends on is what it
    depends on in any branch, and a loop is run until nothing changes. What control flow chooses depends on what
    chose it, as mixing. What a custom derivative's result depends on is what its value or its derivative rule
    depends on.

    Parameters
    ----------
    program : Program
    sources : sequence of Source
    through_stop_gradient : bool
        Whether a value depends on what it is a ``stop_gradient`` of.
    blocking : frozenset of str
        First results of nodes of the function that is run all of whose results mix what their operands see.
    """

    nothing = NOTHING
    shares = True
    join_entries: Common = staticmethod(common)
    """What elements that are combined have in common."""

    def __init__(
        self,
        program: Program,
        sources: Sequence[Source],
        *,
        through_stop_gradient: bool = True,
        blocking: frozenset[str] = frozenset(),
    ) -> None:
        super().__init__(program)
        self.sources = tuple(sources)
        self.through_stop_gradient = through_stop_gradient
        self.alike: dict[Source, int] = {}
        for number, source in enumerate(self.sources):
            self.alike[source] = self.alike.get(source, 0) | 1 << number
        self._blocking = blocking
        self._depth = 0
        self._plains: dict[tuple[int, int], Dependence] = {(0, 0): NOTHING}

    def start(self, number: int) -> Dependence:
        """Return how a source depends on itself."""
        return self._plain(1 << number, 0)

    def maps(self, dependence: Dependence, number: int, shape: tuple[int, ...]) -> tuple[IndexMap, ...]:
        """Return all index maps of a value of that shape for a source."""
        maps = dependence.maps.get(number, ())
        if dependence.aligned >> number & 1:
            return (self.sources[number].own_map(shape), *maps)
        return maps

    def enter(self, name: str, facts: Sequence[Dependence], constants: Sequence[Array | None] = ()) -> list[Dependence]:
        """See :meth:`ForwardAnalysis.enter`."""
        self._depth += 1
        try:
            return super().enter(name, facts, constants)
        finally:
            self._depth -= 1

    def same(self, first: Dependence, second: Dependence) -> bool:
        """See :meth:`ForwardAnalysis.same`."""
        return first.equals(second)

    def is_nothing(self, fact: Dependence) -> bool:
        """See :meth:`ForwardAnalysis.is_nothing`."""
        return not (fact.aligned or fact.mixing or fact.maps)

    def join(self, first: Dependence, second: Dependence, kind: TensorType) -> Dependence:
        """See :meth:`ForwardAnalysis.join`."""
        return first if first is second else self._elementwise([first, second], [kind, kind], kind.shape)

    def chosen(self, fact: Dependence, index: Dependence, kind: TensorType) -> Dependence:
        """See :meth:`ForwardAnalysis.chosen`."""
        # The choice itself has no derivative.
        return fact._replace(mixing=fact.mixing | index.any) if index.any and self.through_stop_gradient else fact

    def item(self, fact: Dependence, kind: TensorType, step: int | None) -> Dependence:
        """See :meth:`ForwardAnalysis.item`."""
        found: list[tuple[int, IndexMap]] = []
        mixing = fact.mixing
        for mask, each in self.layouts(fact, kind.shape):
            if step is not None:
                found.append((mask, each[step]))
                continue
            rows = each[:1] if bool((each == each[:1]).all()) else np.unique(each, axis=0)
            if len(rows) > _MAX_MAPS:
                mixing |= mask
            else:
                found += [(mask, row) for row in rows]
        return self._pack(0, mixing, found)

    def stacked(self, facts: Sequence[Dependence], kind: TensorType) -> Dependence:
        """See :meth:`ForwardAnalysis.stacked`."""
        seen = 0
        for fact in facts:
            seen |= fact.any
        if not seen:
            return NOTHING
        if kind.size > MAX_MAP_SIZE:
            return Dependence(mixing=seen)
        mixing, shape = 0, kind.shape[1:]
        found: list[tuple[int, IndexMap]] = []
        for number in bits(seen):
            rows = [self.maps(fact, number, shape) for fact in facts]
            mixing |= (1 << number) * any(fact.mixing >> number & 1 for fact in facts)
            for place in range(max(map(len, rows))):
                layer = [maps[place] if place < len(maps) else nowhere(shape) for maps in rows]
                found.append((1 << number, np.broadcast_to(np.stack(layer), kind.shape)))
        return self._pack(0, mixing, found)

    def visit(self, site: Site, facts: list[Dependence]) -> Sequence[Dependence]:
        """See :meth:`ForwardAnalysis.visit`."""
        if self._blocking and not self._depth and site.node.outputs and site.node.outputs[0] in self._blocking:
            return self._mixed(site.node, facts)
        return super().visit(site, facts)

    def custom_rule(self, site: Site, facts: list[Dependence]) -> Sequence[Dependence]:
        """See :meth:`ForwardAnalysis.custom_rule`."""
        if isinstance(site.node, CustomJvp):
            return self._custom_jvp(site.node, site, facts)
        return self._custom_vjp(site.node, site, facts)  # type: ignore[arg-type]  # the other kind

    def transfer(self, site: Site, facts: Sequence[Dependence]) -> Sequence[Dependence]:
        """See :meth:`ForwardAnalysis.transfer`."""
        node, kinds, results = site.node, site.operands, site.results
        traits = site.signature.traits
        if traits.blocks_gradient and not self.through_stop_gradient:
            return [NOTHING] * len(node.outputs)
        if traits.elementwise or (isinstance(node, BitcastConvertType) and results[0].shape == kinds[0].shape):
            return [self._elementwise(facts, kinds, results[0].shape)]
        if not self.through_stop_gradient and site.signature.counts:
            return [NOTHING] * len(node.outputs)
        if isinstance(node, DotGeneral):
            return self._product(node, facts, kinds, results[0])
        if isinstance(node, Reduce | Cumulative | ReduceWindowMonoid) and not self._depth:
            return [self._pooled(node, facts[0], kinds[0])]
        return self._moved(node, facts, kinds, results, site.constants)

    def _mixed(self, node: Node, operands: Iterable[Dependence]) -> list[Dependence]:
        seen = 0
        for operand in operands:
            seen |= operand.any
        return [Dependence(mixing=seen)] * len(node.outputs)

    def _elementwise(
        self, operands: Sequence[Dependence], kinds: Sequence[TensorType], shape: tuple[int, ...]
    ) -> Dependence:
        aligned = mixing = 0
        found: list[tuple[int, IndexMap]] = []
        seeing = [(operand, kind) for operand, kind in zip(operands, kinds, strict=True) if operand is not NOTHING]
        if len(seeing) == 1 and seeing[0][1].shape == shape:
            return seeing[0][0]
        for operand, kind in seeing:
            mixing |= operand.mixing
            if kind.shape == shape:
                aligned |= operand.aligned
                found += [(1 << number, each) for number, maps in operand.maps.items() for each in maps]
            else:
                found += [(mask, np.broadcast_to(each, shape)) for mask, each in self.layouts(operand, kind.shape)]
        return self._pack(aligned, mixing, found)

    def layouts(self, dependence: Dependence, shape: tuple[int, ...]) -> Iterator[tuple[int, IndexMap]]:
        """Yield every index map of a value, each with the sources that have it."""
        if dependence.aligned:
            for source, mask in self.alike.items():
                if mask & dependence.aligned:
                    yield mask & dependence.aligned, source.own_map(shape)
        for number, maps in dependence.maps.items():
            for each in maps:
                yield 1 << number, each

    def _moved(
        self,
        node: Node,
        operands: Sequence[Dependence],
        kinds: Sequence[TensorType],
        results: Sequence[TensorType],
        known: Known,
    ) -> Sequence[Dependence]:
        first = operands[0]
        if node.traits.structural and len(operands) == 1 and is_order_preserving(node, kinds[0], results[0]):
            if not first.maps:
                return [first]
            shape = results[0].shape
            maps = {number: tuple(each.reshape(shape) for each in maps) for number, maps in first.maps.items()}
            return [first._replace(maps=maps)]
        if max(kind.size for kind in (*kinds, *results)) > MAX_MAP_SIZE:
            return self._mixed(node, operands)
        blank = [nowhere(kind.shape) for kind in kinds]
        moved: list[tuple[int, list[Array]]] = []
        for index, (operand, kind) in enumerate(zip(operands, kinds, strict=True)):
            for mask, each in self.layouts(operand, kind.shape):
                arrays = rearrange(node, [*blank[:index], each, *blank[index + 1 :]], known)
                if arrays is None:
                    return self._unmoved(node, operands)
                moved.append((mask, arrays))
        if not moved and rearrange(node, blank, known) is None:
            return self._unmoved(node, operands)
        mixing = 0
        for operand in operands:
            mixing |= operand.mixing
        return [
            self._pack(0, mixing, [(mask, arrays[place]) for mask, arrays in moved]) for place in range(len(results))
        ]

    def _unmoved(self, node: Node, operands: Sequence[Dependence]) -> Sequence[Dependence]:
        """Return what the results see of a node that does more than move elements to places known beforehand."""
        if not writes_in_place(node):
            return self._mixed(node, operands)
        # What is written mixes; what it is written into stays where it is.
        into, *written = operands
        return [into._replace(mixing=into.mixing | each.mixing) for each in self._mixed(node, written)]

    def _product(
        self, node: DotGeneral, operands: Sequence[Dependence], kinds: Sequence[TensorType], result: TensorType
    ) -> Sequence[Dependence]:
        sums = any(kinds[0].shape[axis] != 1 for axis in node.dimension_numbers[0][0])
        if max(result.size, *(kind.size for kind in kinds)) > MAX_MAP_SIZE or (sums and self._depth):
            return self._mixed(node, operands)
        blank = [nowhere(kind.shape) for kind in kinds]
        mixing = operands[0].mixing | operands[1].mixing
        found: list[tuple[int, IndexMap]] = []
        for index, (operand, kind) in enumerate(zip(operands, kinds, strict=True)):
            for mask, each in self.layouts(operand, kind.shape):
                layouts = product_layouts(node, *[*blank[:index], each, *blank[index + 1 :]], join=self.join_entries)
                if layouts is None:
                    mixing |= mask
                else:
                    found.append((mask, layouts[index]))
        return [self._pack(0, mixing, found)]

    def _pooled(self, node: Pooling, operand: Dependence, kind: TensorType) -> Dependence:
        """Combine elements; those that see one position, such as the members of a grouped state, go on seeing it."""
        if kind.size > MAX_MAP_SIZE:
            return Dependence(mixing=operand.any)
        mixing = operand.mixing
        found: list[tuple[int, IndexMap]] = []
        for mask, each in self.layouts(operand, kind.shape):
            places = pooled(node, each, self.join_entries)
            if places is None:
                mixing |= mask
            else:
                found.append((mask, places))
        return self._pack(0, mixing, found)

    def _pack(self, aligned: int, mixing: int, found: list[tuple[int, IndexMap]]) -> Dependence:
        """Join index maps: those that fit together become one, the aligned ones a bit."""
        lists: dict[int, list[IndexMap]] = {}
        for mask, each in found:
            for source, alike in self.alike.items():
                if mask & alike:
                    if source.is_own(each):
                        aligned |= mask & alike
                    elif bool((each >= 0).any()):
                        for number in bits(mask & alike):
                            lists.setdefault(number, []).append(each)
        maps: dict[int, tuple[IndexMap, ...]] = {}
        for number, several in lists.items():
            source = self.sources[number]
            if aligned >> number & 1:
                several = [source.own_map(several[0].shape), *several]
            joined = merged(several)
            kept = [each for each in joined if not source.is_own(each)]
            if len(kept) < len(joined):
                aligned |= 1 << number
            if len(kept) > _MAX_MAPS:
                mixing |= 1 << number
            elif kept:
                maps[number] = tuple(kept)
        return Dependence(aligned, maps, mixing) if maps else self._plain(aligned, mixing)

    def _plain(self, aligned: int, mixing: int) -> Dependence:
        """Return dependence without index maps, the same object each time."""
        key = aligned, mixing
        found = self._plains.get(key)
        if found is None:
            found = self._plains[key] = Dependence(aligned, NO_MAPS, mixing)
        return found

    def _custom_jvp(self, node: CustomJvp, site: Site, operands: list[Dependence]) -> Sequence[Dependence]:
        tangents = self.tangents_of(node, site, [NOTHING] * len(operands), operands)
        if tangents is None:
            return self._mixed(node, operands)
        results = super().custom_rule(site, operands)
        return [self._union(*each) for each in zip(results, tangents, site.results, strict=True)]

    def _custom_vjp(self, node: CustomVjp, site: Site, operands: list[Dependence]) -> Sequence[Dependence]:
        sources = [Source(kind.shape) for kind in site.results]
        backward = DependenceFlow(self.program, sources, through_stop_gradient=self.through_stop_gradient)
        backward.open_rules = self.open_rules
        residuals = len(self.program.function(node.bwd).inputs) - sum(site.signature.inexact)
        starts = map(backward.start, range(len(sources)))
        cotangents = backward.cotangents_of(node, site, [NOTHING] * residuals, starts)
        if cotangents is None:
            return self._mixed(node, operands)
        results = list(super().custom_rule(site, operands))
        for operand, kind, cotangent in zip(operands, site.operands, cotangents, strict=True):
            aligned = cotangent.aligned & cotangent.masks()[0]
            for number in bits(cotangent.any):
                result = site.results[number]
                own = aligned >> number & 1 and kind.shape == result.shape
                seen = operand if own else Dependence(mixing=operand.any)
                results[number] = self._union(results[number], seen, result)
        return results

    def _union(self, first: Dependence, second: Dependence, kind: TensorType) -> Dependence:
        return self._elementwise([first, second], [kind, kind], kind.shape)

"""The data flow behind position dependence: which positions of a source each element of a value sees."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

import numpy as np

from ..ir.node import Node
from ..ir.ops import BitcastConvertType, Call, Cumulative, CustomJvp, CustomVjp, DotGeneral
from ..ir.program import Function, Program
from ..ir.types import TensorType
from .constants import Constants
from .index_maps import MAX_MAP_SIZE, IndexMap, canonical, merge, nowhere
from .rearrange import Known, is_order_preserving, product_layouts, rearrange

__all__ = ["NOTHING", "Dependence", "DependenceFlow", "Source", "acts_elementwise", "bits", "mixing_kind"]

_MAX_MAPS = 8
_NO_MAPS: Mapping[int, tuple[IndexMap, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Source:
    """A value whose positions are followed.

    Parameters
    ----------
    shape : tuple of int
        Shape of the positions.
    members : int
        Elements that share one position, along the last axis of the value.
    """

    shape: tuple[int, ...]
    members: int = 1

    @property
    def size(self) -> int:
        """Number of positions."""
        return math.prod(self.shape)

    def members_in(self, size: int) -> int | None:
        """Return how many elements of a value of that size share a position of the source, or None."""
        if size == self.size:
            return 1
        return self.members if size == self.size * self.members else None


class Dependence(NamedTuple):
    """What one value sees of the sources, numbered from 0; sets of sources are the bits of an integer.

    Parameters
    ----------
    aligned : int
        Sources of which each element sees its own position, in row-major order.
    maps : mapping
        For other sources seen element by element: one or more index maps, all of which hold.
    mixing : int
        Sources that are seen in some other way, perhaps on top of the above.
    """

    aligned: int = 0
    maps: Mapping[int, tuple[IndexMap, ...]] = _NO_MAPS
    mixing: int = 0

    @property
    def any(self) -> int:
        """Sources that are seen at all."""
        return self.mapped | self.mixing

    @property
    def mapped(self) -> int:
        """Sources that are seen element by element, perhaps among other ways."""
        found = self.aligned
        for source in self.maps:
            found |= 1 << source
        return found

    def masks(self) -> tuple[int, int]:
        """Return the sources seen element by element and in one way only, and those seen in any other way."""
        elementwise, mixing = self.aligned, self.mixing
        for source, several in self.maps.items():
            if len(several) + (self.aligned >> source & 1) > 1:
                mixing |= 1 << source
            elementwise |= 1 << source
        return elementwise & ~mixing, mixing

    def verdict(self, source: int) -> str:
        """Return ``"none"``, ``"elementwise"`` or ``"mixing"`` for a source."""
        elementwise, mixing = self.masks()
        return "mixing" if mixing >> source & 1 else "elementwise" if elementwise >> source & 1 else "none"


NOTHING = Dependence()


def bits(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, from low to high."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def mixing_kind(node: Node) -> str:
    """Name the reason why a node's results do not depend element by element on its operands."""
    traits = node.traits
    named = {
        "control_flow": traits.control,
        "contraction": traits.contraction,
        "reduction": traits.reduction,
        "cumulative": isinstance(node, Cumulative),
        "random": traits.random,
        "dynamic_index": node.op.startswith("dynamic_"),
    }
    return next((kind for kind, holds in named.items() if holds), "unknown")


class DependenceFlow:
    """Carries dependence on sources forward through functions.

    Nested functions are followed through calls and custom derivatives. What a custom derivative's result
    depends on is what its value or its derivative rule depends on. Results of control flow see every source
    that feeds it as mixing.

    Parameters
    ----------
    program : Program
    sources : sequence of Source
    through_stop_gradient : bool
        Whether a value depends on what it is a ``stop_gradient`` of.
    """

    def __init__(self, program: Program, sources: Sequence[Source], *, through_stop_gradient: bool = True) -> None:
        self.program = program
        self.sources = tuple(sources)
        self.through_stop_gradient = through_stop_gradient
        self.open_rules: set[str] = set()
        self.alike: dict[Source, int] = {}
        for number, source in enumerate(self.sources):
            self.alike[source] = self.alike.get(source, 0) | 1 << number

    def start(self, number: int) -> Dependence:
        """Return how a source depends on itself."""
        return Dependence(aligned=1 << number)

    def maps(self, dependence: Dependence, number: int, shape: tuple[int, ...]) -> tuple[IndexMap, ...]:
        """Return all index maps of a value of that shape for a source."""
        maps = dependence.maps.get(number, ())
        if dependence.aligned >> number & 1:
            members = self.sources[number].members_in(math.prod(shape))
            return (canonical(shape, members or 1), *maps)
        return maps

    def run(
        self, function: Function, inputs: Mapping[str, Dependence], blocking: frozenset[str] = frozenset()
    ) -> dict[str, Dependence]:
        """Return the dependence of every value of a function that has one.

        Parameters
        ----------
        function : Function
        inputs : mapping
            Dependence of the function's inputs, by name; inputs that are left out depend on nothing.
        blocking : frozenset of str
            First results of nodes all of whose results mix what their operands see.
        """
        known = {name: dependence for name, dependence in inputs.items() if dependence is not NOTHING}
        constants = Constants(function)
        for node in function.nodes:
            operands = [known.get(operand, NOTHING) for operand in node.inputs]
            if all(operand is NOTHING for operand in operands):
                continue
            if node.outputs and node.outputs[0] in blocking:
                results: Sequence[Dependence] = self._mixed(node, operands)
            else:
                kinds = [function.type_of(operand) for operand in node.inputs]
                results = self._step(node, operands, kinds, constants)
            found = zip(node.outputs, results, strict=True)
            known.update((name, each) for name, each in found if each.aligned or each.maps or each.mixing)
        return known

    def _step(
        self, node: Node, operands: list[Dependence], kinds: list[TensorType], constants: Known
    ) -> Sequence[Dependence]:
        traits = node.traits
        if traits.blocks_gradient and not self.through_stop_gradient:
            return [NOTHING] * len(node.outputs)
        if isinstance(node, Call):
            return self._enter(node.function, operands)
        if isinstance(node, CustomJvp):
            return self._custom_jvp(node, operands, kinds)
        if isinstance(node, CustomVjp):
            return self._custom_vjp(node, operands, kinds)
        results = [TensorType.parse(kind) for kind in node.types]
        if traits.elementwise or (isinstance(node, BitcastConvertType) and results[0].shape == kinds[0].shape):
            return [self._elementwise(operands, kinds, results[0].shape)]
        if isinstance(node, DotGeneral):
            return self._product(node, operands, kinds, results[0])
        return self._moved(node, operands, kinds, results, constants)

    def _mixed(self, node: Node, operands: Iterable[Dependence]) -> list[Dependence]:
        seen = 0
        for operand in operands:
            seen |= operand.any
        return [Dependence(mixing=seen)] * len(node.outputs)

    def _elementwise(self, operands: list[Dependence], kinds: list[TensorType], shape: tuple[int, ...]) -> Dependence:
        aligned = mixing = 0
        found: list[tuple[int, IndexMap]] = []
        for operand, kind in zip(operands, kinds, strict=True):
            if operand is NOTHING:
                continue
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
            size = math.prod(shape)
            for source, mask in self.alike.items():
                if mask & dependence.aligned:
                    yield mask & dependence.aligned, canonical(shape, source.members_in(size) or 1)
        for number, maps in dependence.maps.items():
            for each in maps:
                yield 1 << number, each

    def _moved(
        self,
        node: Node,
        operands: list[Dependence],
        kinds: list[TensorType],
        results: list[TensorType],
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
        found: list[list[tuple[int, IndexMap]]] = [[] for _ in results]
        mixing = 0
        for index, (operand, kind) in enumerate(zip(operands, kinds, strict=True)):
            mixing |= operand.mixing
            for mask, each in self.layouts(operand, kind.shape):
                moved = rearrange(node, [*blank[:index], each, *blank[index + 1 :]], known)
                if moved is None:
                    return self._mixed(node, operands)
                for places, result in zip(found, moved, strict=True):
                    places.append((mask, result))
        if mixing and rearrange(node, blank, known) is None:
            return self._mixed(node, operands)
        return [self._pack(0, mixing, places) for places in found]

    def _product(
        self, node: DotGeneral, operands: list[Dependence], kinds: list[TensorType], result: TensorType
    ) -> Sequence[Dependence]:
        blank = [nowhere(kind.shape) for kind in kinds]
        if result.size > MAX_MAP_SIZE or product_layouts(node, *blank) is None:
            return self._mixed(node, operands)
        found: list[tuple[int, IndexMap]] = []
        for index, (operand, kind) in enumerate(zip(operands, kinds, strict=True)):
            for mask, each in self.layouts(operand, kind.shape):
                layouts = product_layouts(node, *[*blank[:index], each, *blank[index + 1 :]])
                if layouts is not None:
                    found.append((mask, layouts[index]))
        return [self._pack(0, operands[0].mixing | operands[1].mixing, found)]

    def _pack(self, aligned: int, mixing: int, found: list[tuple[int, IndexMap]]) -> Dependence:
        """Join index maps: those that fit together become one, the aligned ones a bit."""
        if not found:
            return Dependence(aligned, _NO_MAPS, mixing) if aligned or mixing else NOTHING
        lists: dict[int, list[IndexMap]] = {}
        for mask, each in found:
            for source, alike in self.alike.items():
                if mask & alike:
                    if self._is_aligned(source, each):
                        aligned |= mask & alike
                    elif bool((each >= 0).any()):
                        for number in bits(mask & alike):
                            lists.setdefault(number, []).append(each)
        maps: dict[int, tuple[IndexMap, ...]] = {}
        for number, several in lists.items():
            joined: list[IndexMap] = []
            if aligned >> number & 1:
                shape = several[0].shape
                joined.append(canonical(shape, self.sources[number].members_in(several[0].size) or 1))
            for each in several:
                for place, other in enumerate(joined):
                    both = merge(other, each)
                    if both is not None:
                        joined[place] = both
                        break
                else:
                    joined.append(each)
            kept = []
            for each in joined:
                if self._is_aligned(self.sources[number], each):
                    aligned |= 1 << number
                else:
                    kept.append(each)
            if len(kept) > _MAX_MAPS:
                mixing |= 1 << number
            elif kept:
                maps[number] = tuple(kept)
        if not (aligned or mixing or maps):
            return NOTHING
        return Dependence(aligned, maps or _NO_MAPS, mixing)

    @staticmethod
    def _is_aligned(source: Source, each: IndexMap) -> bool:
        members = source.members_in(each.size)
        return members is not None and np.array_equal(each, canonical(each.shape, members))

    def _enter(self, name: str, operands: Sequence[Dependence]) -> list[Dependence]:
        body = self.program.function(name)
        known = self.run(body, dict(zip(body.inputs, operands, strict=True)))
        return [known.get(output, NOTHING) for output in body.outputs]

    def _custom_jvp(self, node: CustomJvp, operands: list[Dependence], kinds: list[TensorType]) -> Sequence[Dependence]:
        if node.jvp in self.open_rules:
            return self._mixed(node, operands)
        primal = self._enter(node.function, operands)
        tangents = [operand for operand, kind in zip(operands, kinds, strict=True) if kind.is_inexact]
        self.open_rules.add(node.jvp)
        rule = iter(self._enter(node.jvp, [*[NOTHING] * len(operands), *tangents])[len(primal) :])
        self.open_rules.remove(node.jvp)
        results = [TensorType.parse(kind) for kind in node.types]
        return [
            self._union(result, next(rule), kind.shape) if kind.is_inexact else result
            for result, kind in zip(primal, results, strict=True)
        ]

    def _custom_vjp(self, node: CustomVjp, operands: list[Dependence], kinds: list[TensorType]) -> Sequence[Dependence]:
        if node.bwd in self.open_rules:
            return self._mixed(node, operands)
        primal = self._enter(node.function, operands)
        results = [TensorType.parse(kind) for kind in node.types]
        inexact = [index for index, kind in enumerate(results) if kind.is_inexact]
        shapes = [Source(results[index].shape) for index in inexact]
        backward = DependenceFlow(self.program, shapes, through_stop_gradient=self.through_stop_gradient)
        backward.open_rules = {*self.open_rules, node.bwd}
        residuals = len(self.program.function(node.bwd).inputs) - len(inexact)
        starts = [*[NOTHING] * residuals, *[backward.start(number) for number in range(len(inexact))]]
        cotangents = iter(backward._enter(node.bwd, starts))
        for operand, kind in zip(operands, kinds, strict=True):
            if not kind.is_inexact:
                continue
            cotangent = next(cotangents)
            for number, index in enumerate(inexact):
                shape = results[index].shape
                own = cotangent.verdict(number) == "elementwise" and bool(cotangent.aligned >> number & 1)
                if own and kind.shape == shape:
                    primal[index] = self._union(primal[index], operand, shape)
                elif cotangent.any >> number & 1:
                    primal[index] = self._union(primal[index], Dependence(mixing=operand.any), shape)
        return primal

    def _union(self, first: Dependence, second: Dependence, shape: tuple[int, ...]) -> Dependence:
        kind = TensorType("float32", shape)
        return self._elementwise([first, second], [kind, kind], shape)


def acts_elementwise(node: Node, kinds: Sequence[TensorType], program: Program) -> bool:
    """Whether element k of each result of a node depends on element k of each operand only.

    Rank-0 operands may count for all k. Custom derivatives are looked into; products without a sum and
    without axes of one operand alone count.
    """
    if node.traits.elementwise:
        return True
    shapes = {TensorType.parse(kind).shape for kind in node.types}
    sized = [kind.shape for kind in kinds if kind.shape]
    if not isinstance(node, CustomJvp | CustomVjp | DotGeneral) or len({*shapes, *sized}) != 1:
        return False
    flow = DependenceFlow(program, [Source(kind.shape) for kind in kinds])
    inputs = [flow.start(number) for number in range(len(kinds))]
    for result in flow._step(node, inputs, list(kinds), lambda operand: None):
        for number, kind in enumerate(kinds):
            if result.verdict(number) == "mixing" or (kind.shape and number in result.maps):
                return False
    return True

"""How derivatives vary: for values that see sources position by position, the derivative at each element."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

from ...ir.constant import Constant
from ...ir.node import Node
from ...ir.ops import CustomJvp, CustomVjp
from ...ir.program import Function, Program
from ...ir.types import TensorType, literal_array
from ..dataflow import ForwardAnalysis
from ..dataflow.sites import Site
from ..rearrange import Known
from .codes import TIME
from .lattice import Variation, total
from .moves import moved
from .partials import ONE, partial_of, rounded
from .values import computed, origin_of, variations_of

__all__ = ["Derivatives", "Slope", "VariationFlow"]

Derivatives: TypeAlias = Mapping[int, Variation]
"""For each source, by number, that a value sees: how the derivative of its elements varies."""

_NONE: Derivatives = {}
_MAX_CONSTANT = 1 << 22


class Slope(NamedTuple):
    """How a value varies, and its derivatives by the sources that it sees."""

    value: Variation
    slopes: Derivatives = _NONE


@functools.lru_cache(maxsize=4096)
def _literal(operand: str) -> Slope:
    return Slope(Variation.constant(literal_array(operand)))


def _spread(site: Site, operands: list[Variation]) -> list[Variation]:
    """Return the variation of the operands of an elementwise operation, repeated in the shape of its result."""
    if site.signature.in_place:
        return operands
    shape = site.results[0].shape
    return [each.on(kind, shape) for each, kind in zip(operands, site.operands, strict=True)]


class VariationFlow(ForwardAnalysis[Slope]):
    """Carries variation of values, and of their derivatives by sources, forward through functions.

    A derivative is followed where each element sees one position of a source: the derivative of element ``e``
    of a value is by the position that ``e`` sees. Element by element the chain rule is exact; whatever
    combines elements gives a derivative of which only its dependence on time is known.

    Parameters
    ----------
    program : Program
    derivatives : bool
        Whether any input has derivatives. If not, most values vary like others.
    """

    nothing = Slope(Variation.constant(np.zeros(())))
    eager = True

    def __init__(self, program: Program, *, derivatives: bool = True) -> None:
        super().__init__(program)
        self.shares = not derivatives
        self._alike: dict[tuple[int, ...], tuple[list[Variation], Slope]] = {}

    def run(self, function: Function, inputs: Mapping[str, Slope]) -> dict[str, Slope]:
        """See :meth:`ForwardAnalysis.run`."""
        # What overflows or is undefined is infinite or NaN, as in the program.
        with np.errstate(all="ignore"):
            return super().run(function, inputs)

    def literal(self, operand: str) -> Slope:
        """See :meth:`ForwardAnalysis.literal`."""
        return _literal(operand)

    def constant(self, constant: Constant) -> Slope:
        """See :meth:`ForwardAnalysis.constant`."""
        kind = TensorType.parse(constant.type)
        if constant.data is None or kind.size > _MAX_CONSTANT or kind.is_key or kind.dtype == "float0":
            return Slope(Variation.of(kind.shape, 0))
        return Slope(Variation.constant(constant.array()))

    def is_nothing(self, fact: Slope) -> bool:
        """See :meth:`ForwardAnalysis.is_nothing`."""
        return fact is self.nothing

    def same(self, first: Slope, second: Slope) -> bool:
        """See :meth:`ForwardAnalysis.same`."""
        if not first.value.equals(second.value) or first.slopes.keys() != second.slopes.keys():
            return False
        return all(each.equals(second.slopes[source]) for source, each in first.slopes.items())

    def join(self, first: Slope, second: Slope, kind: TensorType) -> Slope:
        """See :meth:`ForwardAnalysis.join`."""
        zero = Variation.constant(np.zeros(()))
        slopes = {
            source: first.slopes.get(source, zero).joined(second.slopes.get(source, zero))
            for source in dict.fromkeys((*first.slopes, *second.slopes))
        }
        return Slope(first.value.joined(second.value), slopes)

    def chosen(self, fact: Slope, index: Slope, kind: TensorType) -> Slope:
        """See :meth:`ForwardAnalysis.chosen`."""
        origin = index.value.origin
        return Slope(fact.value.chosen(origin), {source: each.chosen(origin) for source, each in fact.slopes.items()})

    def item(self, fact: Slope, kind: TensorType, step: int | None) -> Slope:
        """See :meth:`ForwardAnalysis.item`."""
        return Slope(fact.value.item(step), {source: each.item(step) for source, each in fact.slopes.items()})

    def stacked(self, facts: Sequence[Slope], kind: TensorType) -> Slope:
        """See :meth:`ForwardAnalysis.stacked`."""
        zero = Variation.constant(np.zeros(()))
        sources = dict.fromkeys(source for fact in facts for source in fact.slopes)
        slopes = {
            source: Variation.stacked([fact.slopes.get(source, zero) for fact in facts], kind.shape)
            for source in sources
        }
        return Slope(Variation.stacked([fact.value for fact in facts], kind.shape), slopes)

    def transfer(self, site: Site, facts: Sequence[Slope]) -> Sequence[Slope]:
        """See :meth:`ForwardAnalysis.transfer`."""
        operands = [value for value, _ in facts]
        mine = [slopes for _, slopes in facts]
        if site.signature.traits.elementwise:
            value = self._elementwise_value(site, operands)
            if not (site.signature.sloped[0] and any(mine)):
                return (value,)
            return (Slope(value[0], self._elementwise(site, operands, mine)),)
        values = variations_of(site, operands)
        if not any(mine):
            return [Slope(value) for value in values]
        return self._paired(site, values, self._slopes(site, operands, mine))

    def custom_rule(self, site: Site, facts: list[Slope]) -> list[Slope]:
        """See :meth:`ForwardAnalysis.custom_rule`."""
        node, bare, mine = site.node, [Slope(fact.value) for fact in facts], [fact.slopes for fact in facts]
        values = [fact.value for fact in super().custom_rule(site, bare)]
        if not any(mine):
            return [Slope(value) for value in values]
        if isinstance(node, CustomJvp):
            slopes = self._custom_jvp(node, site, bare, mine)
        else:
            slopes = self._custom_vjp(node, site, bare, mine)  # type: ignore[arg-type]  # the other kind
        return self._paired(site, values, slopes or self._combined(node, [fact.value for fact in facts], mine))

    def _paired(self, site: Site, values: list[Variation], found: Sequence[Derivatives]) -> list[Slope]:
        rows = zip(values, found, site.results, strict=True)
        return [Slope(value, slopes if kind.is_inexact else _NONE) for value, slopes, kind in rows]

    # -- values

    def _elementwise_value(self, site: Site, operands: list[Variation]) -> Slope:
        """Return the variation of the result of an elementwise operation, without derivatives.

        Most operations of a program meet operands that vary like those of another one; they are worked out once.
        """
        if not site.signature.repeats:
            return Slope(computed(site.node, _spread(site, operands)))
        key = (site.signature.number, *map(id, operands))
        found = self._alike.get(key)
        if found is None:
            # The operands are kept, so that no others get their identities.
            found = self._alike[key] = (operands, Slope(computed(site.node, _spread(site, operands))))
        return found[1]

    # -- derivatives

    def _slopes(self, site: Site, operands: list[Variation], mine: Sequence[Derivatives]) -> list[Derivatives]:
        node = site.node
        if node.traits.blocks_gradient:
            return [_NONE] * len(node.outputs)
        if node.traits.structural or node.op in ("gather", "scatter", "scatter_add"):
            results = self._moved(node, mine, site.operands, site.constants)
            if results is not None:
                return results
        return self._combined(node, operands, mine)

    def _elementwise(self, site: Site, operands: list[Variation], mine: Sequence[Derivatives]) -> Derivatives:
        node, kinds, shape, in_place = site.node, site.operands, site.results[0].shape, site.signature.in_place
        operands = _spread(site, operands)
        converts = node.op in ("convert_element_type", "reduce_precision")
        found: dict[int, Variation] = {}
        for index, slopes in enumerate(mine):
            partial = partial_of(node, operands, index) if slopes else None
            if partial is None:
                continue
            for source, slope in slopes.items():
                here = slope if in_place else slope.on(kinds[index], shape)
                product = here if partial is ONE else partial.times(here)
                if converts:
                    product = rounded(node, product, site.results[0])
                if not product.is_zero:
                    found[source] = total((found[source], product)) if source in found else product
        return found

    def _moved(
        self, node: Node, mine: Sequence[Derivatives], kinds: Sequence[TensorType], constants: Known
    ) -> list[Derivatives] | None:
        results: list[dict[int, Variation]] = [{} for _ in node.outputs]
        for source in dict.fromkeys(source for slopes in mine for source in slopes):
            found = moved(node, [slopes.get(source) for slopes in mine], kinds, constants)
            if found is None:
                return None
            for result, each in zip(results, found, strict=True):
                if not each.is_zero:
                    result[source] = each
        return list(results)

    def _combined(self, node: Node, operands: list[Variation], mine: Sequence[Derivatives]) -> list[Derivatives]:
        """Return derivatives of which only their dependence on time is known."""
        found: dict[int, int] = {}
        for index, slopes in enumerate(mine):
            linear = index in node.traits.linear
            others = [each for place, each in enumerate(operands) if not linear or place != index]
            for source, slope in slopes.items():
                found[source] = found.get(source, 0) | origin_of([slope, *others])
        shapes = [TensorType.parse(kind).shape for kind in node.types]
        return [{source: Variation.of(shape, origin) for source, origin in found.items()} for shape in shapes]

    def _custom_jvp(
        self, node: CustomJvp, site: Site, operands: list[Slope], mine: Sequence[Derivatives]
    ) -> list[Derivatives] | None:
        """Return derivatives of the results by the rule; None where nobody knows what it says."""
        moving = [Variation.of(kind.shape, TIME) for kind in site.operands]
        found = self.tangents_of(node, site, operands, map(Slope, moving, mine))
        return None if found is None else [fact.slopes for fact in found]

    def _custom_vjp(
        self, node: CustomVjp, site: Site, operands: list[Slope], mine: Sequence[Derivatives]
    ) -> list[Derivatives] | None:
        """Return derivatives of the results by the rule; None where nobody knows what it says."""
        fits = {kind.shape for kind in site.results if kind.is_inexact}
        fits |= {kind.shape for kind, slopes in zip(site.operands, mine, strict=True) if slopes and kind.is_inexact}
        if len(fits) != 1:
            return None
        residuals = [Slope(fact.value) for fact in self.enter(node.fwd, operands)[len(site.results) :]]
        starts = [Slope(Variation.of(kind.shape, TIME), {place: ONE}) for place, kind in enumerate(site.results)]
        found = self.cotangents_of(node, site, residuals, starts)
        if found is None:
            return None
        parts: list[dict[int, list[Variation]]] = [{} for _ in site.results]
        for (_, partials), slopes in zip(found, mine, strict=True):
            # A derivative that is diagonal is its own transpose.
            for place, partial in partials.items():
                for source, slope in slopes.items():
                    parts[place].setdefault(source, []).append(partial.times(slope))
        return [{source: total(several) for source, several in each.items()} for each in parts]

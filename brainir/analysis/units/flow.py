"""Units carried through a program by the dataflow framework, with the conflicts that are met on the way."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple, TypeAlias

from ...ir.constant import Constant
from ...ir.node import Node
from ...ir.ops import Cond
from ...ir.program import Function, Program
from ...ir.types import TensorType, literal_array
from ..dataflow import ForwardAnalysis, Site
from ..rearrange import Array
from .rules import FREE, NUMBER, Conflict, Known, joined, kept, results_of

__all__ = ["SEVERAL", "UnitFact", "UnitFlow", "known_of"]


class _Several(enum.Enum):
    SEVERAL = "several"


SEVERAL: Literal[_Several.SEVERAL] = _Several.SEVERAL
"""The fact of a value with one unit in one branch or round, and another in another: nothing more is asked of it."""
UnitFact: TypeAlias = Known | Literal[_Several.SEVERAL]


class _Place(NamedTuple):
    """The node whose branches or rounds are joined, and the function that it is in."""

    function: str
    node: Node


class UnitFlow(ForwardAnalysis[UnitFact]):
    """Carries units forward through functions.

    What a function makes of some units is worked out once. Facts grow from ``FREE`` over a unit to ``SEVERAL``.

    Parameters
    ----------
    program : Program
    strict : bool
        Whether literals other than zero and infinity, constants, and values without a unit are pure numbers. If not,
        they may stand for quantities in any unit, and so may every value that is a pure number.
    report : callable
        ``report(conflict, function, node)`` is called for each conflict; for one node perhaps several times.
    """

    nothing = FREE
    max_steps = 0  # One round of a scan is like another.

    def __init__(self, program: Program, report: Callable[[Conflict, str, Node], None], *, strict: bool) -> None:
        super().__init__(program)
        self.eager = self.strict = strict
        self._report = report
        self._function = ""
        self._place: _Place | None = None
        self._results: dict[tuple[object, ...], list[UnitFact]] = {}

    def is_nothing(self, fact: UnitFact) -> bool:
        """See :meth:`ForwardAnalysis.is_nothing`."""
        return fact is FREE

    def literal(self, operand: str) -> UnitFact:
        """See :meth:`ForwardAnalysis.literal`."""
        # Zero and infinity are the same in every unit.
        plain = self.strict and literal_array(operand) not in (0, float("inf"), float("-inf"))
        return NUMBER if plain else FREE

    def constant(self, constant: Constant) -> UnitFact:
        """See :meth:`ForwardAnalysis.constant`."""
        return NUMBER if self.strict else FREE

    def run(self, function: Function, inputs: Mapping[str, UnitFact]) -> dict[str, UnitFact]:
        """See :meth:`ForwardAnalysis.run`."""
        if not inputs and not self.strict:
            return {}
        outer, self._function = self._function, function.name
        try:
            return super().run(function, inputs)
        finally:
            self._function = outer

    def enter(self, name: str, facts: Sequence[UnitFact], constants: Sequence[Array | None] = ()) -> list[UnitFact]:
        """See :meth:`ForwardAnalysis.enter`."""
        key = name, *facts
        if key not in self._results:
            self._results[key] = super().enter(name, facts)
        return self._results[key]

    def control(self, site: Site, facts: list[UnitFact]) -> Sequence[UnitFact]:
        """See :meth:`ForwardAnalysis.control`."""
        outer, self._place = self._place, _Place(self._function, site.node)
        try:
            return super().control(site, facts)
        finally:
            self._place = outer

    def transfer(self, site: Site, facts: Sequence[UnitFact]) -> Sequence[UnitFact]:
        """See :meth:`ForwardAnalysis.transfer`."""
        node = site.node
        if node.traits.control:
            body = self.program.function(next(iter(node.callees())))
            fits = len(body.inputs) == len(facts) and len(body.outputs) == len(site.results)
            return self.enter(body.name, facts) if fits else [FREE] * len(site.results)
        operands = [FREE if fact is SEVERAL else fact for fact in facts]
        results, conflict = results_of(node, operands, site.operands)
        if conflict is not None:
            self._report(conflict, self._function, node)
        return results if self.strict else [kept(unit, strict=False) for unit in results]

    def join(self, first: UnitFact, second: UnitFact, kind: TensorType) -> UnitFact:
        """See :meth:`ForwardAnalysis.join`."""
        if isinstance(first, _Several) or isinstance(second, _Several):
            return SEVERAL
        what = "cond" if self._place is not None and isinstance(self._place.node, Cond) else "loop"
        unit, conflict = joined((first, second), "units_joined", f"{what} that gives one value")
        if conflict is None:
            return kept(unit, strict=self.strict)
        if self._place is not None:
            self._report(conflict, *self._place)
        return SEVERAL

    def chosen(self, fact: UnitFact, index: UnitFact, kind: TensorType) -> UnitFact:
        """See :meth:`ForwardAnalysis.chosen`."""
        return fact


def known_of(fact: UnitFact) -> Known:
    """Return the one unit of a value, if it is known."""
    return FREE if isinstance(fact, _Several) else fact

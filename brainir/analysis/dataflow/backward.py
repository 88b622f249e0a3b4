"""Facts carried from the outputs of a function back to all of its values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...ir.ops import Cond, Scan, While
from ...ir.program import Function
from ...ir.types import TensorType, is_literal
from ..constants import Constants
from .base import Analysis, Fact
from .sites import Site

__all__ = ["BackwardAnalysis"]


class BackwardAnalysis(Analysis[Fact]):
    """Carries facts from the outputs of a function back to all of its values.

    The fact of a value is the join of what each use asks for. A subclass sets `nothing` and defines :meth:`join`
    and :meth:`transfer`, which gets a fact for each result and returns one for each operand; and where the
    defaults do not fit: :meth:`choosing`, :meth:`item`, :meth:`stacked`, :meth:`widen`.
    """

    def choosing(self, facts: Sequence[Fact], kind: TensorType) -> Fact:
        """Return the fact of an index or condition of type `kind`, on which values with these facts depend.

        The default is the join of those facts.
        """
        result = facts[0] if facts else self.nothing
        for fact in facts[1:]:
            result = self.join(result, fact, kind)
        return result

    def run(self, function: Function, outputs: Mapping[str, Fact]) -> dict[str, Fact]:
        """Return the fact of every value of a function that has one.

        Parameters
        ----------
        function : Function
        outputs : mapping
            Facts by the name of a value: usually outputs, but any value can be given one.

        Raises
        ------
        AnalysisError
            If the function has no such value, if :meth:`transfer` returns another number of facts than a node has
            operands, or if a loop does not settle.
        """
        self._check_names(function, outputs)
        known = dict(outputs)
        constants = Constants(function)
        for node in reversed(function.nodes):
            facts = [known.get(name, self.nothing) for name in node.outputs]
            if self.eager or any(not self.is_nothing(fact) for fact in facts):
                site = Site.of(node, function, constants)
                asked = self.visit(site, facts)
                if len(asked) != len(node.inputs):
                    raise self._miscounted(node, asked, "operand", len(node.inputs))
                for operand, kind, fact in zip(node.inputs, site.operands, asked, strict=True):
                    if not self.is_nothing(fact) and not is_literal(operand):
                        known[operand] = self.join(known[operand], fact, kind) if operand in known else fact
        return known

    def enter(self, name: str, facts: Sequence[Fact]) -> list[Fact]:
        """Return the facts of the inputs of a function, from those of its results."""
        body = self.program.function(name)
        asked: dict[str, Fact] = {}
        for output, fact in zip(body.outputs, facts, strict=True):
            if not self.is_nothing(fact) and not is_literal(output):
                asked[output] = self.join(asked[output], fact, body.type_of(output)) if output in asked else fact
        known = self.run(body, asked)
        return [known.get(name, self.nothing) for name in body.inputs]

    def _call(self, function: str, site: Site, facts: list[Fact]) -> list[Fact]:
        return self.enter(function, facts)

    def _cond(self, node: Cond, site: Site, facts: list[Fact]) -> list[Fact]:
        rows = [self.enter(branch, facts) for branch in node.branches]
        asked = [fact for fact in facts if not self.is_nothing(fact)]
        return [self.choosing(asked, site.operands[0]), *self._joined(rows, site.operands[1:])]

    def _scan(self, node: Scan, site: Site, facts: list[Fact]) -> list[Fact]:
        first = node.num_consts + node.num_carry
        kinds = site.operands[node.num_consts : first]
        pairs = zip(facts[node.num_carry :], site.results[node.num_carry :], strict=True)
        items = [fact if self.is_nothing(fact) else self.item(fact, kind, None) for fact, kind in pairs]

        def around(carry: list[Fact]) -> tuple[list[Fact], list[Fact]]:
            results = self.enter(node.body, [*carry, *items])
            return results[node.num_consts : first], results

        carry, results = self._settle(facts[: node.num_carry], kinds, around)
        arrays = zip(results[first:], site.operands[first:], strict=True)
        stacked = [fact if self.is_nothing(fact) else self.stacked([fact], kind) for fact, kind in arrays]
        return [*results[: node.num_consts], *carry, *stacked]

    def _while(self, node: While, site: Site, facts: list[Fact]) -> list[Fact]:
        first = node.cond_nconsts + node.body_nconsts
        kinds = site.operands[first:]
        holds = self.choosing([fact for fact in facts if not self.is_nothing(fact)], TensorType("bool", ()))
        tested = self.enter(node.cond, [holds])

        def around(carry: list[Fact]) -> tuple[list[Fact], list[Fact]]:
            results = self.enter(node.body, carry)
            return results[node.body_nconsts :], results

        carry, results = self._settle(self._joined([facts, tested[node.cond_nconsts :]], kinds), kinds, around)
        return [*tested[: node.cond_nconsts], *results[: node.body_nconsts], *carry]

"""Facts carried from the inputs of a function to all of its values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import compress
from typing import ClassVar

from ...ir.constant import Constant
from ...ir.ops import Cond, CustomJvp, CustomVjp, Scan, While
from ...ir.program import Function, Program
from ...ir.types import TensorType, is_literal
from ..constants import Constants
from ..rearrange import Array
from .base import Analysis, Fact
from .sites import Site, signatures_of

__all__ = ["ForwardAnalysis"]


class ForwardAnalysis(Analysis[Fact]):
    """Carries facts from the inputs of a function to all of its values.

    A subclass sets `nothing` and defines :meth:`join` and :meth:`transfer`, and where the defaults do not fit:
    :meth:`literal`, :meth:`constant`, :meth:`chosen`, :meth:`item`, :meth:`stacked`, :meth:`widen`.

    Attributes
    ----------
    shares : bool
        Whether most equal facts are one object. What an elementwise operation without attributes makes of the very
        same facts is then worked out once.
    """

    shares: bool = False

    _given: Mapping[str, Array] = {}
    """Inputs of the function that is run next whose values depend on no input of the program."""

    max_steps: ClassVar[int] = 64
    """Scans of more steps, if they have not settled by then, are run to a fixpoint that holds for every step."""

    def __init__(self, program: Program) -> None:
        super().__init__(program)
        self.open_rules: set[str] = set()
        # Facts are kept with what was made of them, so that no others get their identities.
        self._made: dict[tuple[int, ...], tuple[list[Fact], Fact]] = {}

    def literal(self, operand: str) -> Fact:
        """Return the fact of a literal."""
        return self.nothing

    def constant(self, constant: Constant) -> Fact:
        """Return the fact of a constant of a function."""
        return self.nothing

    def chosen(self, fact: Fact, index: Fact, kind: TensorType) -> Fact:
        """Return the fact of a value that was chosen by an index or a condition with a fact of its own.

        The default joins both: a value depends on what chose it.
        """
        return self.join(fact, index, kind)

    def run(self, function: Function, inputs: Mapping[str, Fact]) -> dict[str, Fact]:
        """Return the fact of every value of a function that has one.

        Parameters
        ----------
        function : Function
        inputs : mapping
            Facts of the function's inputs, by name; those that are left out have nothing.

        Raises
        ------
        AnalysisError
            If the function has no such value, if :meth:`transfer` returns another number of facts than a node has
            results, or if a loop does not settle.
        """
        self._check_names(function, inputs)
        given = [*inputs.items(), *((each.name, self.constant(each)) for each in function.constants)]
        known = {name: fact for name, fact in given if not self.is_nothing(fact)}
        constants = Constants(function, self._given, self.program)
        # This loop runs for every node of every program: what it asks for is kept in local names.
        nothing, eager, is_nothing, get, told = self.nothing, self.eager, self.is_nothing, known.get, known.keys()
        literal, visit, made = self.literal, self.visit, self._made if self.shares else None
        for node, signature in zip(function.nodes, signatures_of(function), strict=True):
            facts = [literal(name) if ":" in name else get(name, nothing) for name in node.inputs]
            if not eager and told.isdisjoint(node.inputs) and all(map(is_nothing, facts)):
                continue
            if made is not None and signature.repeats:
                key = (signature.number, *map(id, facts))
                if key not in made:
                    (fact,) = visit(Site(node, signature, constants), facts)
                    made[key] = (facts, nothing if is_nothing(fact) else fact)
                fact = made[key][1]
                if fact is not nothing:
                    known[node.outputs[0]] = fact
                continue
            found = visit(Site(node, signature, constants), facts)
            if len(found) != len(node.outputs):
                raise self._miscounted(node, found, "result", len(node.outputs))
            for name, fact in zip(node.outputs, found, strict=False):
                if fact is not nothing and not is_nothing(fact):
                    known[name] = fact  # noqa: PERF403  # making a dict or list for each node takes longer
        return known

    def _of(self, known: Mapping[str, Fact], operand: str) -> Fact:
        return self.literal(operand) if is_literal(operand) else known.get(operand, self.nothing)

    def enter(self, name: str, facts: Sequence[Fact], constants: Sequence[Array | None] = ()) -> list[Fact]:
        """Return the facts of the results of a function, from those of its inputs.

        Parameters
        ----------
        name : str
        facts : sequence of Fact
        constants : sequence of ndarray or None
            Values of its first inputs, where they depend on no input of the program.
        """
        body = self.program.function(name)
        inputs = zip(body.inputs, facts, strict=True)
        outer = self._given
        self._given = {name: each for name, each in zip(body.inputs, constants, strict=False) if each is not None}
        try:
            known = self.run(body, {name: fact for name, fact in inputs if not self.is_nothing(fact)})
        finally:
            self._given = outer
        return [self._of(known, output) for output in body.outputs]

    def tangents_of(
        self, node: CustomJvp, site: Site, primals: Sequence[Fact], tangents: Iterable[Fact]
    ) -> list[Fact] | None:
        """Return the facts of the tangents of the results of a node, which its rule makes.

        Parameters
        ----------
        node : CustomJvp
        site : Site
            Its own.
        primals, tangents : iterable of Fact
            One for each operand; tangents of integers do not count.

        Returns
        -------
        list of Fact, or None
            One for each result, `nothing` for integers. None in the rule itself, which may run its own node.
        """
        moving = compress(tangents, [kind.is_inexact for kind in site.operands])
        found = self._follow_rule(node.jvp, [*primals, *moving], site.known_operands())
        return None if found is None else self._placed(found[len(site.results) :], site.results)

    def cotangents_of(
        self, node: CustomVjp, site: Site, residuals: Sequence[Fact], cotangents: Iterable[Fact]
    ) -> list[Fact] | None:
        """Return the facts of the cotangents of the operands of a node, which its rule makes; see :meth:`tangents_of`.

        Parameters
        ----------
        node : CustomVjp
        site : Site
            Its own.
        residuals : sequence of Fact
        cotangents : iterable of Fact
            One for each result.
        """
        found = self._follow_rule(node.bwd, [*residuals, *compress(cotangents, site.signature.inexact)])
        return None if found is None else self._placed(found, site.operands)

    def _follow_rule(
        self, rule: str, facts: Sequence[Fact], constants: Sequence[Array | None] = ()
    ) -> list[Fact] | None:
        if rule in self.open_rules:
            return None
        self.open_rules.add(rule)
        try:
            return self.enter(rule, facts, constants)
        finally:
            self.open_rules.remove(rule)

    def _placed(self, facts: Iterable[Fact], kinds: Iterable[TensorType]) -> list[Fact]:
        """Put facts of derivatives where the types have some."""
        rest = iter(facts)
        return [next(rest) if kind.is_inexact else self.nothing for kind in kinds]

    def _call(self, function: str, site: Site, facts: list[Fact]) -> list[Fact]:
        return self.enter(function, facts, site.known_operands())

    def _cond(self, node: Cond, site: Site, facts: list[Fact]) -> list[Fact]:
        rows = [self.enter(branch, facts[1:], site.known_operands()[1:]) for branch in node.branches]
        joined = zip(self._joined(rows, site.results), site.results, strict=True)
        return [self.chosen(fact, facts[0], kind) for fact, kind in joined]

    def _scan(self, node: Scan, site: Site, facts: list[Fact]) -> list[Fact]:
        first = node.num_consts + node.num_carry
        consts, carry, arrays = facts[: node.num_consts], facts[node.num_consts : first], facts[first:]
        kinds, given = site.operands[first:], site.known_operands()[: node.num_consts]
        short = node.length <= self.max_steps
        # What every step sees of arrays without facts is the same; of others it is looked at step by step.
        plain = all(self.is_nothing(fact) for fact in arrays)
        rows: list[list[Fact]] = []
        while len(rows) < (min(node.length, self.max_steps) if short or plain else 0):
            step = node.length - 1 - len(rows) if node.reverse else len(rows)
            results = self.enter(node.body, [*consts, *carry, *self._items(arrays, kinds, step)], given)
            rows.append(results[node.num_carry :])
            settled = plain and self._settled(carry, results[: node.num_carry])
            carry = results[: node.num_carry]
            if settled:
                return self._scanned(node, site, carry, [*rows[:-1], *[rows[-1]] * (node.length - len(rows) + 1)])
        if len(rows) == node.length:
            return self._scanned(node, site, carry, rows)
        carry, row = self._any_step(node, site, facts)
        return self._scanned(node, site, carry, [row])

    def _scanned(self, node: Scan, site: Site, carry: list[Fact], rows: list[list[Fact]]) -> list[Fact]:
        kinds = site.results[node.num_carry :]
        if not rows:
            return [*carry, *[self.nothing] * len(kinds)]
        columns = zip(*(rows[::-1] if node.reverse else rows), strict=True)
        return [*carry, *(self.stacked(list(column), kind) for column, kind in zip(columns, kinds, strict=True))]

    def _items(self, arrays: Sequence[Fact], kinds: Sequence[TensorType], step: int | None) -> list[Fact]:
        pairs = zip(arrays, kinds, strict=True)
        return [fact if self.is_nothing(fact) else self.item(fact, kind, step) for fact, kind in pairs]

    def _any_step(self, node: Scan, site: Site, facts: list[Fact]) -> tuple[list[Fact], list[Fact]]:
        """Return facts of carry and stacked items that hold after every step of a scan."""
        first = node.num_consts + node.num_carry
        consts, carry = facts[: node.num_consts], facts[node.num_consts : first]
        items = self._items(facts[first:], site.operands[first:], None)
        given = site.known_operands()[: node.num_consts]

        def around(carry: list[Fact]) -> tuple[list[Fact], list[Fact]]:
            results = self.enter(node.body, [*consts, *carry, *items], given)
            return results[: node.num_carry], results[node.num_carry :]

        return self._settle(carry, site.operands[node.num_consts : first], around)

    def _while(self, node: While, site: Site, facts: list[Fact]) -> list[Fact]:
        consts = facts[node.cond_nconsts :][: node.body_nconsts]
        first = node.cond_nconsts + node.body_nconsts
        kinds, given = site.operands[first:], site.known_operands()[node.cond_nconsts : first]

        def around(carry: list[Fact]) -> tuple[list[Fact], Fact]:
            (holds,) = self.enter(node.cond, [*facts[: node.cond_nconsts], *carry])
            return self.enter(node.body, [*consts, *carry], given), holds

        def after(new: list[Fact], holds: Fact) -> list[Fact]:
            return [self.chosen(fact, holds, kind) for fact, kind in zip(new, kinds, strict=True)]

        carry, _ = self._settle(facts[first:], kinds, around, after)
        return carry

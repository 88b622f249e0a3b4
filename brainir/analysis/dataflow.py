"""The dataflow framework: facts carried forward or backward through a program, through calls and control flow.

An analysis says what a fact is, how two facts join, and what one operation does to facts. The framework walks
functions in order, enters calls and the functions of derivative rules, takes the branches of a ``cond`` together,
and runs ``scan`` and ``while`` bodies until nothing changes.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Generic, TypeVar

from ..ir.errors import AnalysisError
from ..ir.ops import (
    Call,
    Checkpoint,
    Composite,
    Cond,
    CustomJvp,
    CustomVjp,
    CustomVmap,
    NoDerivative,
    OptimizationBarrier,
    Scan,
    While,
)
from ..ir.program import Constant, Function, Program
from ..ir.types import TensorType, is_literal
from .constants import Constants
from .rearrange import Array
from .sites import Site, constants_of, signature_of, signatures_of

__all__ = ["BackwardAnalysis", "ForwardAnalysis", "Site"]

_PLAIN = (Call, Checkpoint, Composite, CustomVmap, NoDerivative)
"""Nodes whose results are those of their function."""

Fact = TypeVar("Fact")

_WIDEN_AFTER = 8
_GIVE_UP_AFTER = 1000


class _Analysis(ABC, Generic[Fact]):
    """What forward and backward analyses have in common.

    Parameters
    ----------
    program : Program
        Holds the functions that nodes call.

    Attributes
    ----------
    nothing : Fact
        The fact of a value about which there is nothing to say. What nodes make of nothing is nothing, so
        :meth:`transfer` is not asked, unless `eager` is set.
    shares : bool
        Whether most equal facts are one object. What an elementwise operation without attributes makes of the very
        same facts is then worked out once.
    """

    nothing: Fact
    eager: bool = False
    shares: bool = False

    def __init__(self, program: Program) -> None:
        self.program = program
        # Facts are kept with what was made of them, so that no others get their identities.
        self._made: dict[tuple[int, ...], tuple[list[Fact], Fact]] = {}

    @abstractmethod
    def join(self, first: Fact, second: Fact, kind: TensorType) -> Fact:
        """Return the fact that holds for a value of which either holds; `kind` is its type."""

    @abstractmethod
    def transfer(self, site: Site, facts: Sequence[Fact]) -> Sequence[Fact]:
        """Return the facts on the far side of a node, from those on the near side.

        Forward, `facts` are those of the operands, and one for each result comes back; backward the other way
        round. Nodes that run functions are not asked for, those with derivative rules included.
        """

    def same(self, first: Fact, second: Fact) -> bool:
        """Whether two facts are equal."""
        return first is second or first == second

    def is_nothing(self, fact: Fact) -> bool:
        """Whether a fact says nothing."""
        return fact is self.nothing or self.same(fact, self.nothing)

    def widen(self, old: Fact, new: Fact, kind: TensorType) -> Fact:
        """Return a fact at which a loop will settle, after several rounds in which it grew from `old` to `new`."""
        return new

    def item(self, fact: Fact, kind: TensorType, step: int | None) -> Fact:
        """Return the fact of one item along the first axis of an array, at a step or at any."""
        return fact

    def stacked(self, facts: Sequence[Fact], kind: TensorType) -> Fact:
        """Return the fact of an array that holds items along its first axis: a fact for each, or one for all."""
        result = facts[0]
        for fact in facts[1:]:
            result = self.join(result, fact, kind)
        return result

    def _joined(self, rows: Sequence[Sequence[Fact]], kinds: Sequence[TensorType]) -> list[Fact]:
        """Join facts place by place."""
        first = list(rows[0])
        for row in rows[1:]:
            first = [self.join(one, two, kind) for one, two, kind in zip(first, row, kinds, strict=True)]
        return first

    def _settled(self, old: Sequence[Fact], new: Sequence[Fact]) -> bool:
        return all(self.same(*pair) for pair in zip(old, new, strict=True))

    def _grown(self, rounds: int, old: Sequence[Fact], new: Sequence[Fact], kinds: Sequence[TensorType]) -> list[Fact]:
        """Return the facts for the next round of a loop."""
        if rounds > _GIVE_UP_AFTER:
            raise AnalysisError(
                f"{type(self).__name__} does not settle in a loop after {rounds} rounds; define widen so that it does"
            )
        joined = self._joined([old, new], kinds)
        if rounds < _WIDEN_AFTER:
            return joined
        return [self.widen(one, two, kind) for one, two, kind in zip(old, joined, kinds, strict=True)]


class ForwardAnalysis(_Analysis[Fact]):
    """Carries facts from the inputs of a function to all of its values.

    A subclass sets `nothing` and defines :meth:`join` and :meth:`transfer`, and where the defaults do not fit:
    :meth:`literal`, :meth:`constant`, :meth:`chosen`, :meth:`item`, :meth:`stacked`, :meth:`widen`.
    """

    _given: Mapping[str, Array] = {}
    """Inputs of the function that is run next whose values depend on no input of the program."""

    max_steps: ClassVar[int] = 64
    """Scans of more steps, if they have not settled by then, are run to a fixpoint that holds for every step."""

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
        """
        given = [*inputs.items(), *((each.name, self.constant(each)) for each in function.constants)]
        known = {name: fact for name, fact in given if not self.is_nothing(fact)}
        constants = Constants(function, self._given, self.program)
        # This loop runs for every node of every program: what it asks for is kept in local names.
        nothing, eager, is_nothing, get, told = self.nothing, self.eager, self.is_nothing, known.get, known.keys()
        literal, visit, transfer, made = self.literal, self.visit, self.transfer, self._made if self.shares else None
        direct = type(self).visit is ForwardAnalysis.visit
        for node, signature in zip(function.nodes, signatures_of(function), strict=True):
            facts = [literal(name) if ":" in name else get(name, nothing) for name in node.inputs]
            if not eager and told.isdisjoint(node.inputs) and all(map(is_nothing, facts)):
                continue
            if made is not None and signature.repeats:
                key = (signature.number, *map(id, facts))
                if key not in made:
                    (fact,) = visit(Site.under(signature, node, constants), facts)
                    made[key] = (facts, nothing if is_nothing(fact) else fact)
                fact = made[key][1]
                if fact is not nothing:
                    known[node.outputs[0]] = fact
                continue
            ask = transfer if direct and signature.plain else visit
            found = ask(Site(node, signature.operands, signature.results, constants, signature), facts)
            rows = zip(node.outputs, found, strict=True)
            known.update([(name, fact) for name, fact in rows if fact is not nothing and not is_nothing(fact)])
        return known

    def _of(self, known: Mapping[str, Fact], operand: str) -> Fact:
        return self.literal(operand) if is_literal(operand) else known.get(operand, self.nothing)

    def visit(self, site: Site, facts: list[Fact]) -> Sequence[Fact]:
        """Return the facts of the results of any node."""
        node = site.node
        if node.traits.control:
            return self.control(site, facts)
        return facts if isinstance(node, OptimizationBarrier) else self.transfer(site, facts)

    def control(self, site: Site, facts: list[Fact]) -> Sequence[Fact]:
        """Return the facts of the results of a node that runs functions."""
        node = site.node
        if isinstance(node, _PLAIN):
            return self.enter(node.function, facts, constants_of(site))
        if isinstance(node, CustomJvp | CustomVjp):
            return self.custom_rule(site, facts)
        if isinstance(node, Cond):
            rows = [self.enter(branch, facts[1:], constants_of(site)[1:]) for branch in node.branches]
            joined = zip(self._joined(rows, site.results), site.results, strict=True)
            return [self.chosen(fact, facts[0], kind) for fact, kind in joined]
        if isinstance(node, Scan):
            return self._scan(node, site, facts)
        if isinstance(node, While):
            return self._while(node, site, facts)
        return self.transfer(site, facts)

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

    def custom_rule(self, site: Site, facts: list[Fact]) -> Sequence[Fact]:
        """Return the facts of the results of a node with derivative rules: by default, those of its function."""
        return self.enter(site.node.function, facts, constants_of(site))  # type: ignore[attr-defined]  # both have one

    def _scan(self, node: Scan, site: Site, facts: list[Fact]) -> list[Fact]:
        first = node.num_consts + node.num_carry
        consts, carry, arrays = facts[: node.num_consts], facts[node.num_consts : first], facts[first:]
        kinds, given = site.operands[first:], constants_of(site)[: node.num_consts]
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
        kinds = site.operands[node.num_consts : first]
        rounds = 0
        while True:
            results = self.enter(node.body, [*consts, *carry, *items], constants_of(site)[: node.num_consts])
            new = self._grown(rounds, carry, results[: node.num_carry], kinds)
            if self._settled(carry, new):
                return carry, results[node.num_carry :]
            carry, rounds = new, rounds + 1

    def _while(self, node: While, site: Site, facts: list[Fact]) -> list[Fact]:
        consts = facts[node.cond_nconsts :][: node.body_nconsts]
        first = node.cond_nconsts + node.body_nconsts
        carry, kinds = facts[first:], site.operands[first:]
        given = constants_of(site)[node.cond_nconsts : first]
        rounds = 0
        while True:
            (holds,) = self.enter(node.cond, [*facts[: node.cond_nconsts], *carry])
            results = self.enter(node.body, [*consts, *carry], given)
            pairs = zip(self._grown(rounds, carry, results, kinds), kinds, strict=True)
            new = [self.chosen(fact, holds, kind) for fact, kind in pairs]
            if self._settled(carry, new):
                return carry
            carry, rounds = new, rounds + 1


class BackwardAnalysis(_Analysis[Fact]):
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
        """
        known = dict(outputs)
        constants = Constants(function)
        for node in reversed(function.nodes):
            facts = [known.get(name, self.nothing) for name in node.outputs]
            if self.eager or any(not self.is_nothing(fact) for fact in facts):
                site = Site.under(signature_of(node, function), node, constants)
                for operand, kind, fact in zip(node.inputs, site.operands, self.visit(site, facts), strict=True):
                    if not self.is_nothing(fact) and not is_literal(operand):
                        known[operand] = self.join(known[operand], fact, kind) if operand in known else fact
        return known

    def visit(self, site: Site, facts: list[Fact]) -> Sequence[Fact]:
        """Return the facts of the operands of any node."""
        node = site.node
        if not node.traits.control:
            return facts if isinstance(node, OptimizationBarrier) else self.transfer(site, facts)
        if isinstance(node, _PLAIN):
            return self.enter(node.function, facts)
        if isinstance(node, CustomJvp | CustomVjp):
            return self.custom_rule(site, facts)
        if isinstance(node, Cond):
            rows = [self.enter(branch, facts) for branch in node.branches]
            asked = [fact for fact in facts if not self.is_nothing(fact)]
            return [self.choosing(asked, site.operands[0]), *self._joined(rows, site.operands[1:])]
        if isinstance(node, Scan):
            return self._scan(node, site, facts)
        if isinstance(node, While):
            return self._while(node, site, facts)
        return self.transfer(site, facts)

    def enter(self, name: str, facts: Sequence[Fact]) -> list[Fact]:
        """Return the facts of the inputs of a function, from those of its results."""
        body = self.program.function(name)
        asked: dict[str, Fact] = {}
        for output, fact in zip(body.outputs, facts, strict=True):
            if not self.is_nothing(fact) and not is_literal(output):
                asked[output] = self.join(asked[output], fact, body.type_of(output)) if output in asked else fact
        known = self.run(body, asked)
        return [known.get(name, self.nothing) for name in body.inputs]

    def custom_rule(self, site: Site, facts: list[Fact]) -> Sequence[Fact]:
        """Return the facts of the operands of a node with derivative rules: by default, those of its function."""
        return self.enter(site.node.function, facts)  # type: ignore[attr-defined]  # both kinds have a function

    def _scan(self, node: Scan, site: Site, facts: list[Fact]) -> list[Fact]:
        first = node.num_consts + node.num_carry
        kinds = site.operands[node.num_consts : first]
        pairs = zip(facts[node.num_carry :], site.results[node.num_carry :], strict=True)
        items = [fact if self.is_nothing(fact) else self.item(fact, kind, None) for fact, kind in pairs]
        carry = facts[: node.num_carry]
        rounds = 0
        while True:
            results = self.enter(node.body, [*carry, *items])
            new = self._grown(rounds, carry, results[node.num_consts : first], kinds)
            if self._settled(carry, new):
                arrays = zip(results[first:], site.operands[first:], strict=True)
                stacked = [fact if self.is_nothing(fact) else self.stacked([fact], kind) for fact, kind in arrays]
                return [*results[: node.num_consts], *carry, *stacked]
            carry, rounds = new, rounds + 1

    def _while(self, node: While, site: Site, facts: list[Fact]) -> list[Fact]:
        first = node.cond_nconsts + node.body_nconsts
        kinds = site.operands[first:]
        holds = self.choosing([fact for fact in facts if not self.is_nothing(fact)], TensorType("bool", ()))
        tested = self.enter(node.cond, [holds])
        carry = self._joined([facts, tested[node.cond_nconsts :]], kinds)
        rounds = 0
        while True:
            results = self.enter(node.body, carry)
            new = self._grown(rounds, carry, results[node.body_nconsts :], kinds)
            if self._settled(carry, new):
                return [*tested[: node.cond_nconsts], *results[: node.body_nconsts], *carry]
            carry, rounds = new, rounds + 1

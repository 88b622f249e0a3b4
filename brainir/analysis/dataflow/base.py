"""What forward and backward analyses have in common: facts, how they join, and when a loop has settled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Generic, TypeVar

from ...ir.errors import AnalysisError
from ...ir.node import Node
from ...ir.ops import (
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
    UseMesh,
    While,
)
from ...ir.printer import format_node
from ...ir.program import Function, Program, require_program
from ...ir.types import TensorType
from .sites import Site

__all__ = ["Analysis", "Fact"]

_PLAIN = (Call, Checkpoint, Composite, CustomVmap, NoDerivative, UseMesh)
"""Nodes whose results are those of their function."""

Fact = TypeVar("Fact")
Rest = TypeVar("Rest")

_WIDEN_AFTER = 8
_GIVE_UP_AFTER = 1000


class Analysis(ABC, Generic[Fact]):
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
    """

    nothing: Fact
    eager: bool = False

    def __init__(self, program: Program) -> None:
        require_program(program)
        self.program = program

    @abstractmethod
    def join(self, first: Fact, second: Fact, kind: TensorType) -> Fact:
        """Return the fact that holds for a value of which either holds; `kind` is its type."""

    @abstractmethod
    def transfer(self, site: Site, facts: Sequence[Fact]) -> Sequence[Fact]:
        """Return the facts on the far side of a node, from those on the near side.

        Forward, `facts` are those of the operands, and one for each result comes back; backward the other way
        round. Nodes that run functions are not asked for, those with derivative rules included.
        """

    def visit(self, site: Site, facts: list[Fact]) -> Sequence[Fact]:
        """Return the facts on the far side of any node."""
        if site.signature.plain:
            return self.transfer(site, facts)
        return facts if isinstance(site.node, OptimizationBarrier) else self.control(site, facts)

    def control(self, site: Site, facts: list[Fact]) -> Sequence[Fact]:
        """Return the facts on the far side of a node that runs functions."""
        node = site.node
        if isinstance(node, _PLAIN):
            return self._call(node.function, site, facts)
        if isinstance(node, CustomJvp | CustomVjp):
            return self.custom_rule(site, facts)
        if isinstance(node, Cond):
            return self._cond(node, site, facts)
        if isinstance(node, Scan):
            return self._scan(node, site, facts)
        if isinstance(node, While):
            return self._while(node, site, facts)
        return self.transfer(site, facts)

    def custom_rule(self, site: Site, facts: list[Fact]) -> Sequence[Fact]:
        """Return the facts on the far side of a node with derivative rules: by default, those of its function."""
        function: str = site.node.function  # type: ignore[attr-defined]  # both kinds have one
        return self._call(function, site, facts)

    @abstractmethod
    def _call(self, function: str, site: Site, facts: list[Fact]) -> list[Fact]:
        """Return the facts on the far side of a node that computes what a function does."""

    @abstractmethod
    def _cond(self, node: Cond, site: Site, facts: list[Fact]) -> list[Fact]: ...

    @abstractmethod
    def _scan(self, node: Scan, site: Site, facts: list[Fact]) -> list[Fact]: ...

    @abstractmethod
    def _while(self, node: While, site: Site, facts: list[Fact]) -> list[Fact]: ...

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

    def _check_names(self, function: Function, facts: Mapping[str, Fact]) -> None:
        if not isinstance(function, Function):
            given = type(function).__name__  # type: ignore[unreachable]  # for callers that are not typed
            raise AnalysisError(f"{type(self).__name__}.run takes a function, as program.entry_function, not {given}")
        unknown = [name for name in facts if name not in function.value_types]
        if unknown:
            values = ", ".join([*function.inputs, *dict.fromkeys(function.outputs)])
            raise AnalysisError(
                f"{type(self).__name__}: {function.name} has no value {unknown[0]!r}; "
                f"its inputs and outputs are {values}"
            )

    def _miscounted(self, node: Node, facts: Sequence[Fact], side: str, wanted: int) -> AnalysisError:
        return AnalysisError(
            f"{type(self).__name__}.transfer must return one fact for each {side}: {wanted} for "
            f"{format_node(node)}, not {len(facts)}"
        )

    def _joined(self, rows: Sequence[Sequence[Fact]], kinds: Sequence[TensorType]) -> list[Fact]:
        """Join facts place by place."""
        first = list(rows[0])
        for row in rows[1:]:
            first = [self.join(one, two, kind) for one, two, kind in zip(first, row, kinds, strict=True)]
        return first

    def _settled(self, old: Sequence[Fact], new: Sequence[Fact]) -> bool:
        return all(self.same(*pair) for pair in zip(old, new, strict=True))

    def _settle(
        self,
        carry: list[Fact],
        kinds: Sequence[TensorType],
        around: Callable[[list[Fact]], tuple[Sequence[Fact], Rest]],
        after: Callable[[list[Fact], Rest], list[Fact]] = lambda new, rest: new,
    ) -> tuple[list[Fact], Rest]:
        """Run a loop until the facts of its carry hold after every round.

        Parameters
        ----------
        carry : list of Fact
            Before the first round.
        kinds : sequence of TensorType
            Those of the carry.
        around : callable
            From the facts of the carry to those after one round, and what else is known then.
        after : callable, optional
            What becomes of the facts of both, and what else was known.

        Returns
        -------
        carry : list of Fact
        rest
            What else is known after the last round.
        """
        rounds = 0
        while True:
            found, rest = around(carry)
            new = after(self._grown(rounds, carry, found, kinds), rest)
            if self._settled(carry, new):
                return carry, rest
            carry, rounds = new, rounds + 1

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

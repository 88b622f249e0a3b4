"""Carries the physical units of the interface through a program, and reports where they do not go together."""

from __future__ import annotations

import functools
import html
from collections.abc import Sequence
from typing import Literal

from ...ir.collector import collector_paused
from ...ir.errors import AnalysisError
from ...ir.node import Node
from ...ir.ops import Cond, Scan, While
from ...ir.printer import format_path
from ...ir.program import Function, Program
from ...ir.types import is_literal, literal_array
from ..diagnostics import Diagnostic, diagnostic, place_of
from ..facts import Facts
from .dimensions import Dimension
from .rules import FREE, NUMBER, Conflict, Known, joined, results_of

__all__ = ["Numbers", "UnitCheck", "check_units"]

Numbers = Literal["any", "dimensionless"]


class UnitCheck(Facts):
    """Where the units of a program do not go together, and the units that its values have.

    Parameters
    ----------
    problems : tuple of Diagnostic
        In the order of the nodes; empty if no conflict was found.
    units : tuple of pairs of str
        Name and unit of each value of the entry whose unit is known.
    program : Program
    """

    problems: tuple[Diagnostic, ...]
    units: tuple[tuple[str, str], ...]
    program: Program

    @functools.cached_property
    def _units(self) -> dict[str, str]:
        return dict(self.units)

    @property
    def ok(self) -> bool:
        """Whether no conflict was found."""
        return not self.problems

    def unit_of(self, value: str) -> str | None:
        """Return the unit of a value of the entry as it is written, or None if it is not known.

        Raises
        ------
        AnalysisError
            If the entry has no such value.
        """
        if value not in self.program.entry_function.value_types:
            raise AnalysisError(f"the entry {self.program.entry!r} has no value {value!r}")
        return self._units.get(value)

    def _repr_html_(self) -> str:
        rows = "".join(f"<li>{html.escape(repr(each))}</li>" for each in self.problems)
        return f"<p>{html.escape(self._headline())}</p><ul>{rows}</ul>"

    def _headline(self) -> str:
        found = f"{len(self.problems)} problems" if self.problems else "no conflict"
        return f"units of {self.program.entry}: {found}; known for {len(self.units)} values"

    def __repr__(self) -> str:
        lines = [self._headline()]
        lines += [f"  {line}" for each in self.problems for line in repr(each).splitlines()]
        return "\n".join(lines)


@collector_paused()
def check_units(program: Program, *, numbers: Numbers = "any") -> UnitCheck:
    """Carry the units of the interface through a program, and report where they do not go together.

    Reported are sums, comparisons, selections and concatenations of quantities of different dimensions, or of one
    dimension in different units (mV and V), transcendental functions of quantities, and new values of states whose
    unit is not that of the old value. Functions, loops and branches are followed.

    A program holds numbers only; which unit a literal stands for cannot be seen (``5.0`` may be 5 ms). So literals,
    constants and leaves without a unit may stand for quantities in any unit, and so does what is computed from a
    product with them. A dimensionless result may, too, because ``x * u.mV`` leaves no trace in the program.

    Parameters
    ----------
    program : Program
    numbers : {"any", "dimensionless"}
        ``"dimensionless"`` takes literals other than zero, constants and leaves without a unit for pure numbers. It
        finds more in programs whose quantities all come in through the interface.

    Returns
    -------
    UnitCheck
    """
    checker = _Checker(program, numbers)
    given = [checker.named(leaf.unit) for _, _, leaf in program.interface.input_leaves()]
    entry = program.entry_function
    results = checker.run(entry, given)
    checker.check_results(results)
    units = [(name, checker.text(unit)) for name, unit in checker.entry_units.items() if unit is not None]
    return UnitCheck(problems=tuple(checker.problems), units=tuple(units), program=program)


class _Checker:
    def __init__(self, program: Program, numbers: Numbers) -> None:
        self.program = program
        self.strict = numbers == "dimensionless"
        self.problems: list[Diagnostic] = []
        self.entry_units: dict[str, Known] = {}
        self._interface = {unit.text: Dimension.of(unit) for unit in program.interface.units}
        self._texts = {dimension.key(): text for text, dimension in self._interface.items()}
        self._reported: set[tuple[str, int]] = set()
        self._results: dict[tuple[object, ...], list[Known]] = {}

    def named(self, text: str | None) -> Known:
        """Return the unit that a leaf names."""
        if text is None:
            return NUMBER if self.strict else FREE
        return self._kept(self._interface[text])

    def text(self, unit: Dimension) -> str:
        """Write a unit, by the name that the interface has for it."""
        return self._texts.get(unit.key()) or str(unit)

    def _kept(self, unit: Known) -> Known:
        """Forget that a value is a pure number, where numbers may stand for anything."""
        return FREE if unit is not None and unit.is_number and not self.strict else unit

    def run(self, function: Function, given: Sequence[Known]) -> list[Known]:
        """Return the units of the results of a function for those of its inputs."""
        key = (function.name, *(None if unit is None else unit.key() for unit in given))
        if key not in self._results:
            self._results[key] = self._walk(function, given)
        return self._results[key]

    def _walk(self, function: Function, given: Sequence[Known]) -> list[Known]:
        known: dict[str, Known] = dict(zip(function.inputs, given, strict=True))
        if self.strict:
            known.update((constant.name, NUMBER) for constant in function.constants)
        for index, node in enumerate(function.nodes):
            if not self.strict and known.keys().isdisjoint(node.inputs) and not node.traits.control:
                # Of operands whose units are not known, only what is always a number is known, and it may be anything.
                continue
            operands = [self._operand(known, operand) for operand in node.inputs]
            if node.traits.control:
                results = self._inner(function, index, node, operands)
            else:
                results, conflict = results_of(node, operands, [function.type_of(operand) for operand in node.inputs])
                if conflict is not None:
                    self._report(function, index, conflict)
            for name, unit in zip(node.outputs, results, strict=True):
                if unit is not None and (kept := self._kept(unit)) is not None:
                    known[name] = kept
        if function.name == self.program.entry:
            self.entry_units = known
        return [self._operand(known, name) for name in function.outputs]

    def _operand(self, known: dict[str, Known], operand: str) -> Known:
        if not is_literal(operand):
            return known.get(operand, FREE)
        # Zero and infinity are the same in every unit.
        plain = self.strict and literal_array(operand) not in (0, float("inf"), float("-inf"))
        return NUMBER if plain else FREE

    def _inner(self, function: Function, index: int, node: Node, operands: list[Known]) -> list[Known]:
        """Return the units of the results of a node that runs functions."""
        table = self.program.table
        if isinstance(node, Cond):
            branches = [self.run(table[name], operands[1:]) for name in node.branches]
            return [self._join(function, index, "cond", several) for several in zip(*branches, strict=True)]
        if isinstance(node, Scan):
            consts, first = node.num_consts, node.num_consts + node.num_carry
            carry, results = self._loop(
                function, index, node.body, operands[:consts], operands[consts:first], operands[first:]
            )
            return [*carry, *results]
        if isinstance(node, While):
            first = node.cond_nconsts + node.body_nconsts
            carry, _ = self._loop(function, index, node.body, operands[node.cond_nconsts : first], operands[first:], [])
            self.run(table[node.cond], [*operands[: node.cond_nconsts], *carry])
            return carry
        body = table[next(iter(node.callees()))]
        if len(body.inputs) == len(operands) and len(body.outputs) == len(node.outputs):
            return self.run(body, operands)
        return [FREE] * len(node.outputs)

    def _loop(
        self,
        function: Function,
        index: int,
        body: str,
        consts: list[Known],
        carry: list[Known],
        items: list[Known],
    ) -> tuple[list[Known], list[Known]]:
        """Return the units of the carry and of what else the body returns, once they change no more."""
        while True:
            results = self.run(self.program.table[body], [*consts, *carry, *items])
            new = [self._join(function, index, "loop", pair) for pair in zip(carry, results[: len(carry)], strict=True)]
            # A unit that was not known becomes known, or one in conflict is given up: never back, so this ends.
            settled = [after if before is None else before for before, after in zip(carry, new, strict=True)]
            if settled == carry:
                return carry, results[len(carry) :]
            carry = settled

    def _join(self, function: Function, index: int, what: str, several: Sequence[Known]) -> Known:
        unit, conflict = joined(several, "units_joined", f"{what} that gives one value")
        if conflict is not None:
            self._report(function, index, conflict)
        return self._kept(unit)

    def _report(self, function: Function, index: int, conflict: Conflict) -> None:
        if (function.name, index) not in self._reported:
            self._reported.add((function.name, index))
            node = function.nodes[index]
            inside = "" if function.name == self.program.entry else f" in {function.name}"
            message = f"{place_of(node)}{inside}: {self._readable(conflict.message)}"
            self.problems.append(diagnostic(conflict.name, message, node=node))

    def _readable(self, message: str) -> str:
        """Write units by the names of the interface."""
        for dimension in sorted(self._interface.values(), key=lambda each: -len(str(each))):
            if not dimension.is_number:
                message = message.replace(f" {dimension}", f" {self.text(dimension)}")
        return message

    def check_results(self, results: Sequence[Known]) -> None:
        """Compare the units of the results with those that the interface says."""
        entry = self.program.entry_function
        leaves = self.program.interface.output_leaves()
        for (state, path, leaf), unit, name in zip(leaves, results, entry.outputs, strict=True):
            declared = self.named(leaf.unit)
            if leaf.unit is None:
                continue
            _, conflict = joined((declared, unit), "units_of_result", "result")
            if conflict is not None and declared is not None and unit is not None:
                owner = f"state {format_path(state.path)}" if state is not None else f"result {format_path(path)}"
                message = f"{owner} is declared in {self.text(declared)}, but {name} is in {self.text(unit)}"
                self.problems.append(
                    diagnostic(
                        "units_of_result",
                        message,
                        path=() if state is None else state.path,
                        node=entry.producers.get(name),
                    )
                )

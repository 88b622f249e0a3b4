"""Carries the physical units of the interface through a program, and reports where they do not go together."""

from __future__ import annotations

import functools
import html
from collections.abc import Mapping
from typing import Literal, get_args

from ...ir.collector import collector_paused
from ...ir.errors import AnalysisError
from ...ir.node import Node
from ...ir.printer import format_path
from ...ir.program import Program, require_program
from ..diagnostics import Diagnostic, diagnostic, place_of
from ..facts import Facts
from .dimensions import Dimension
from .flow import UnitFact, UnitFlow, known_of
from .rules import FREE, NUMBER, Conflict, Known, joined, kept

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

    Raises
    ------
    AnalysisError
        If `numbers` is something else.
    """
    require_program(program)
    if numbers not in get_args(Numbers):
        raise AnalysisError(f"numbers must be 'any' or 'dimensionless', not {numbers!r}")
    strict = numbers == "dimensionless"
    findings = _Findings(program, strict=strict)
    entry = program.entry_function
    given: dict[str, UnitFact] = {}
    for name, (_, _, leaf) in zip(entry.inputs, program.interface.input_leaves(), strict=True):
        unit = findings.declared(leaf.unit)
        if unit is not None or strict:
            given[name] = NUMBER if unit is None else unit
    known = UnitFlow(program, findings.add, strict=strict).run(entry, given)
    found = {name: unit for name, fact in known.items() if (unit := known_of(fact)) is not None}
    findings.check_results(found)
    units = [(name, findings.text(unit)) for name, unit in found.items()]
    return UnitCheck(problems=tuple(findings.problems), units=tuple(units), program=program)


class _Findings:
    """The problems of a program, each place once, with units by the names of the interface."""

    def __init__(self, program: Program, *, strict: bool) -> None:
        self.program = program
        self.strict = strict
        self.problems: list[Diagnostic] = []
        self._interface = {unit.text: Dimension.of(unit) for unit in program.interface.units}
        self._texts = {dimension.key(): text for text, dimension in self._interface.items()}
        self._reported: set[int] = set()

    def declared(self, text: str | None) -> Known:
        """Return the unit that a leaf names."""
        return FREE if text is None else kept(self._interface[text], strict=self.strict)

    def text(self, unit: Dimension) -> str:
        """Write a unit, by the name that the interface has for it."""
        return self._texts.get(unit.key()) or str(unit)

    def add(self, conflict: Conflict, function: str, node: Node) -> None:
        """Report a conflict, unless one at that node is."""
        if id(node) not in self._reported:
            self._reported.add(id(node))
            inside = "" if function == self.program.entry else f" in {function}"
            message = f"{place_of(node)}{inside}: {conflict.message.format(*map(self.text, conflict.units))}"
            self.problems.append(diagnostic(conflict.name, message, node=node))

    def check_results(self, known: Mapping[str, Dimension]) -> None:
        """Compare the units of the results with those that the interface says."""
        entry = self.program.entry_function
        leaves = self.program.interface.output_leaves()
        for (state, path, leaf), name in zip(leaves, entry.outputs, strict=True):
            declared, unit = self.declared(leaf.unit), known.get(name)
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

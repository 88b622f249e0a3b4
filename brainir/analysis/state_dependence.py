"""Position dependence: how every value of a step depends on the old value of every hidden state."""

from __future__ import annotations

import functools

from ..ir.collector import collector_paused
from ..ir.errors import AnalysisError
from ..ir.kept import keep
from ..ir.model import StatePath
from ..ir.printer import format_path
from ..ir.program import Function, Program, Value, require_program
from ..ir.wording import counted
from .bit_sets import bits
from .dependence.flow import DependenceFlow
from .dependence.index_maps import IndexMap
from .dependence.lattice import NOTHING, Dependence, Verdict
from .facts import Facts
from .states import StepStates
from .weights.scan import WeightScan

__all__ = ["PositionDependence", "Verdict", "position_dependence"]


class PositionDependence(Facts):
    """How each value of the entry depends on the old value of each hidden state.

    Parameters
    ----------
    states : tuple of paths
        The hidden states, in state order.
    program : Program
    """

    states: tuple[StatePath, ...]
    program: Program

    @functools.cached_property
    def found(self) -> tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]:
        """For each value that depends on any state: its name, and the numbers of two sets of states.

        Those that it depends on element by element, and those that it depends on in a way that mixes.
        """
        known, rows = self._flow[2], []
        # Most values see what another one sees: the numbers are written once for all of them.
        numbers: dict[int, tuple[tuple[int, ...], tuple[int, ...]]] = {}
        for name in self.program.entry_function.value_types:
            if name in known:
                seen = known[name]
                if id(seen) not in numbers:
                    elementwise, mixing = seen.masks()
                    numbers[id(seen)] = tuple(bits(elementwise)), tuple(bits(mixing))
                rows.append((name, *numbers[id(seen)]))
        return tuple(rows)

    @functools.cached_property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """For each value: its name, and one letter for each state, ``.`` none, ``e`` elementwise, ``m`` mixing."""
        rows = []
        for name, elementwise, mixing in self.found:
            letters = ["."] * len(self.states)
            for letter, numbers in (("e", elementwise), ("m", mixing)):
                for number in numbers:
                    letters[number] = letter
            rows.append((name, "".join(letters)))
        return tuple(rows)

    @functools.cached_property
    def _numbers(self) -> dict[object, int]:
        return {name: number for number, path in enumerate(self.states) for name in (format_path(path), path)}

    @functools.cached_property
    def _flow(self) -> tuple[Function, DependenceFlow, dict[str, Dependence]]:
        return _flow(self.program)

    def _shown(self) -> dict[str, object]:
        return {"states": self.states, "found": self.found, "program": self.program}

    def _number(self, path: object) -> int:
        number = self._numbers.get(tuple(path) if isinstance(path, list) else path)
        if number is None:
            known = ", ".join(map(repr, self.states)) or "none"
            raise AnalysisError(f"{path!r} is not a hidden state; their paths are {known}")
        return number

    def _name(self, value: Value | str) -> str:
        name = value.name if isinstance(value, Value) else value
        if name not in self.program.entry_function.value_types:
            raise AnalysisError(f"the entry {self.program.entry!r} has no value {name!r}")
        return name

    def of(self, value: Value | str, path: StatePath | str) -> Verdict:
        """Return how a value depends on the old value of a hidden state.

        Parameters
        ----------
        value : Value or str
            A value of the entry function, as :func:`module_info` gives them, or its name.
        path : tuple of str and int, or str
            Path of the hidden state, or how it prints: its keys with dots between them.

        Returns
        -------
        {"none", "elementwise", "mixing"}
            ``elementwise`` if each element depends on at most one position of the state, and
            :meth:`index_map` says which.

        Raises
        ------
        AnalysisError
            If there is no such value or hidden state.
        """
        number = self._number(path)
        return self._flow[2].get(self._name(value), NOTHING).verdict(number)

    def index_map(self, value: Value | str, path: StatePath | str) -> IndexMap | None:
        """Return which position of a hidden state feeds each element of a value.

        Returns
        -------
        ndarray of int64 or None
            In the shape of the value: flat positions of the state (its shape, without the last axis for a
            grouped state), -1 where the element does not depend on it. None unless the dependence is
            elementwise.

        Raises
        ------
        AnalysisError
            If there is no such value or hidden state.
        """
        if self.of(value, path) != "elementwise":
            return None
        function, flow, known = self._flow
        name = self._name(value)
        (only,) = flow.maps(known[name], self._number(path), function.type_of(name).shape)
        return only

    def __repr__(self) -> str:
        width = max((len(name) for name, _ in self.rows), default=0)
        states = counted(len(self.states), "hidden state")
        lines = [f"position dependence on {states} (. none, e elementwise, m mixing)"]
        lines += [f"  {number}: {format_path(path)}" for number, path in enumerate(self.states)]
        return "\n".join([*lines, *(f"  {name:<{width}}  {letters}" for name, letters in self.rows)])


def _flow(program: Program) -> tuple[Function, DependenceFlow, dict[str, Dependence]]:
    scan = WeightScan.of(program)
    if scan.program is not program:
        # Control flow was opened; what is asked here is about the program as it stands.
        scan = WeightScan(program, opening=False)
    return scan.function, *scan.whole_dependence


@collector_paused()
def position_dependence(program: Program) -> PositionDependence:
    """Find how every value of the entry depends on the old value of every hidden state.

    Exact for structural operations: a value that is transposed, reshaped, cut and joined again still knows,
    for each of its elements, the position it came from. Matrix products with a parameter always mix, as does what
    decides which branch is taken or how often a loop runs.

    Parameters
    ----------
    program : Program

    Returns
    -------
    PositionDependence

    Raises
    ------
    AnalysisError
        If a state of the program breaks the rules of a step; see :func:`module_info`.
    """
    require_program(program)
    states = tuple(state.path for state in StepStates.of(program).hidden)
    found = PositionDependence(states=states, program=program)
    keep(found, "_flow", _flow(program))
    return found

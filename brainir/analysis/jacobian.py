"""Structure of per-position derivatives: which entries are zero, constant over time, equal at all positions."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import numpy as np

from ..ir.errors import AnalysisError
from ..ir.interface import State
from ..ir.model import StatePath
from ..ir.printer import format_path
from ..ir.program import Function, Program, Value
from ..ir.types import TensorType, is_literal
from .facts import Facts
from .states import StepStates
from .variation.codes import NONZERO, PARAMETERS, TIME
from .variation.flow import Slope, VariationFlow
from .variation.lattice import Variation

__all__ = [
    "InputVariation",
    "JacobianEntry",
    "JacobianStructure",
    "input_variations",
    "structure_of",
    "value_variations",
]


class InputVariation(Facts):
    """How the value of one input of a program varies.

    Parameters
    ----------
    constant : bool
        Whether it is the same at every step of a sequence in which the parameters stay as they are.
    axes : tuple of int
        The axes along which its elements may differ.
    """

    constant: bool
    axes: tuple[int, ...]


class JacobianEntry(Facts):
    """An entry of a per-position Jacobian that is not zero.

    Parameters
    ----------
    row, column : int
        Number of the new and of the old state in :attr:`JacobianStructure.states` (for the tail of a relation,
        the column is 0: `y`).
    constant : bool
        Whether the derivative is the same at every step of a sequence, as long as the parameters and the states
        that the step never writes stay as they are. A derivative that the model's inputs or hidden states enter
        is not constant.
    uniform : bool
        Whether the derivative is the same number at all positions (it may still change from step to step).
    value : float or None
        The number, where it is constant, uniform and does not depend on parameters. It is computed with NumPy
        in the element type of the program, so it can differ from what JAX computes in the last bits.
    """

    row: int
    column: int
    constant: bool
    uniform: bool
    value: float | None = None


class JacobianStructure(Facts):
    """Which entries of the Jacobian block at each position are zero, constant over time, equal at all positions.

    The block of a hidden group at position k is ``D[k, a, b] = d h_new[k, a] / d h_old[k, b]``, with the states
    a and b numbered as in `states`: those of the first member, then of the second, and so on. It is the
    derivative of ``group.transition``: a dependence that mixes positions is held fixed.

    Parameters
    ----------
    states : tuple of pairs of path and int
        For each row: the path of the state, and the place along the last axis of a grouped state (else 0).
    size : int
        Number of columns: ``group.num_state``; 1 for the tail of a relation.
    entries : tuple of JacobianEntry
        The entries that are not zero, by row, then column. An entry that is not listed is zero at all positions,
        at every step, whatever the inputs are. One that is listed can still happen to be zero.
    """

    states: tuple[tuple[StatePath, int], ...]
    size: int
    entries: tuple[JacobianEntry, ...]

    @functools.cached_property
    def _at(self) -> dict[tuple[int, int], JacobianEntry]:
        return {(entry.row, entry.column): entry for entry in self.entries}

    def at(self, row: int, column: int) -> JacobianEntry | None:
        """Return an entry, or None if it is zero."""
        return self._at.get((row, column))

    def number(self, path: StatePath, place: int = 0) -> int:
        """Return the row of a state; `place` is that along the last axis of a grouped state.

        Raises
        ------
        AnalysisError
            If there is no such state.
        """
        try:
            return self.states.index((tuple(path), place))
        except ValueError:
            known = ", ".join(format_path(each) for each, _ in self.states)
            raise AnalysisError(f"{path!r}, {place} is no row of this Jacobian; its states are {known}") from None

    def __repr__(self) -> str:
        lines = ["Jacobian at each position (. zero, number or c constant, ~ varying; * differs between positions)"]
        names = [format_path(path) + (f"[{place}]" if place else "") for path, place in self.states]
        width = max(map(len, names), default=0)
        for row, name in enumerate(names):
            cells = " ".join(f"{_cell(self.at(row, column)):>9}" for column in range(self.size))
            lines.append(f"  {name:<{width}}  {cells}")
        return "\n".join(lines)


def _cell(entry: JacobianEntry | None) -> str:
    if entry is None:
        return "."
    if entry.value is not None:
        return f"{entry.value:.6g}"
    return ("c" if entry.constant else "~") + ("" if entry.uniform else "*")


def value_variations(program: Program, function: Function, states: StepStates) -> dict[str, Slope]:
    """Return how every value of the flat entry of a step varies; no value has derivatives."""
    inputs = {name: Variation.of(function.type_of(name).shape, TIME) for name in function.inputs}
    fixed = [leaf.value for leaf in states.params]
    fixed += [
        before
        for _, old, new in states.others
        for before, after in zip(old, new, strict=True)
        if before.name == after.name
    ]
    inputs.update((value.name, Variation.of(value.shape, PARAMETERS)) for value in fixed)
    flow = VariationFlow(program, derivatives=False)
    return flow.run(function, {name: Slope(value) for name, value in inputs.items()})


def input_variations(values: Sequence[Value], known: Mapping[str, Slope]) -> tuple[InputVariation, ...]:
    """Return how some values vary, as records."""
    found = [known[value.name].value for value in values]
    return tuple([_input_variation(not each.origin & TIME, each.axes) for each in found])


@functools.lru_cache(maxsize=4096)
def _input_variation(constant: bool, axes: tuple[int, ...]) -> InputVariation:
    return InputVariation(constant=constant, axes=axes)


def structure_of(
    program: Program,
    variations: Sequence[InputVariation],
    columns: Sequence[State | None],
    rows: Sequence[State],
) -> JacobianStructure:
    """Find the structure of the derivative of a program whose results see its first inputs position by position.

    Parameters
    ----------
    program : Program
        Its first inputs are the columns, its outputs the rows.
    variations : sequence of InputVariation
        One for each input.
    columns : sequence of State or None
        The states that the first inputs hold; None for an input that is not a state.
    rows : sequence of State
        The states that the outputs hold.
    """
    function = program.entry_function
    inputs = {
        name: Variation.of(TensorType.parse(kind).shape, PARAMETERS if each.constant else TIME, each.axes)
        for name, kind, each in zip(function.inputs, function.types, variations, strict=True)
    }
    starts: dict[str, dict[int, Variation]] = {}
    number = 0
    for state, name, kind in zip(columns, function.inputs, function.types, strict=False):
        shape, members = TensorType.parse(kind).shape, 1 if state is None else state.num_state
        starts[name] = {
            number + place: Variation.constant(np.ones(()) if members == 1 else _one_hot(shape, place))
            for place in range(members)
        }
        number += members
    known = VariationFlow(program).run(
        function, {name: Slope(value, starts.get(name, {})) for name, value in inputs.items()}
    )
    entries: list[JacobianEntry] = []
    names: list[tuple[StatePath, int]] = []
    for state, output in zip(rows, function.outputs, strict=True):
        found = {} if is_literal(output) else known[output].slopes
        last = function.type_of(output).ndim - 1 if state.num_state > 1 else None
        for place in range(state.num_state):
            for column in sorted(found):
                slope = found[column]
                entry = _entry(len(names), column, slope if last is None else _member(slope, place), last)
                if entry is not None:
                    entries.append(entry)
            names.append((state.path, place))
    return JacobianStructure(states=tuple(names), size=number, entries=tuple(entries))


def _one_hot(shape: tuple[int, ...], place: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    hot: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = np.zeros(shape, np.float32)
    hot[..., place] = 1
    return hot


def _member(slope: Variation, place: int) -> Variation:
    """Return the part of the derivative of a grouped state that belongs to one place of its last axis."""
    return Variation(*(each[..., place] if each.ndim else each for each in (slope.code, slope.number)))


def _entry(row: int, column: int, slope: Variation, ignored: int | None) -> JacobianEntry | None:
    """Return one entry of the structure; `ignored` is an axis that does not count positions."""
    if slope.is_zero:
        return None
    number, value = slope.number, None
    if slope.is_known:
        uniform = bool((number == number.reshape(-1)[0]).all())
        if uniform and np.isrealobj(number):
            value = float(number.reshape(-1)[0])
    else:
        everywhere = bool((slope.code & NONZERO).all())
        uniform = everywhere and not {*slope.axes} - {ignored}
    return JacobianEntry(row=row, column=column, constant=not slope.origin & TIME, uniform=uniform, value=value)

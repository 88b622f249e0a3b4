"""The states of a step, each with the entry values that hold its old and its new value."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from ..ir.errors import AnalysisError
from ..ir.interface import State
from ..ir.kept import kept
from ..ir.model import StatePath
from ..ir.printer import format_path
from ..ir.program import Program, Value
from ..ir.trees import leaf_paths
from ..ir.types import TensorType
from .dependence.index_maps import IndexMap
from .dependence.lattice import Source

__all__ = ["HiddenLeaf", "ParamLeaf", "StepStates"]


@dataclass(frozen=True, slots=True)
class HiddenLeaf:
    """A hidden state: its place among them, its record, and the names of its old and new value in the entry."""

    number: int
    state: State
    old: str
    new: str
    kind: TensorType

    @property
    def path(self) -> StatePath:
        """Where the state sits."""
        return self.state.path

    @property
    def varshape(self) -> tuple[int, ...]:
        """Shape of the positions: that of the value, without the last axis for a grouped state."""
        return self.kind.shape if self.state.num_state == 1 else self.kind.shape[:-1]

    @property
    def source(self) -> Source:
        """The positions that dependence is followed from."""
        return Source(self.varshape, self.state.num_state)

    @property
    def own_map(self) -> IndexMap:
        """The index map by which each element sees its own position."""
        return self.source.own_map(self.kind.shape)


@dataclass(frozen=True, slots=True)
class ParamLeaf:
    """One leaf of a parameter state: its state, its keys within the state, its value in the entry."""

    state: State
    keys: StatePath
    value: Value

    @property
    def path(self) -> StatePath:
        """Where the state sits."""
        return self.state.path


@dataclass(frozen=True)
class StepStates:
    """The states of a step by role, in state order.

    Parameters
    ----------
    hidden : tuple of HiddenLeaf
    params : tuple of ParamLeaf
    others : tuple of (State, old values, new values)
    """

    hidden: tuple[HiddenLeaf, ...]
    params: tuple[ParamLeaf, ...]
    others: tuple[tuple[State, tuple[Value, ...], tuple[Value, ...]], ...]

    @functools.cached_property
    def hidden_at(self) -> dict[StatePath, HiddenLeaf]:
        """The hidden states by path."""
        return {leaf.path: leaf for leaf in self.hidden}

    @property
    def sources(self) -> list[Source]:
        """The positions of the hidden states, in state order."""
        return [hidden.source for hidden in self.hidden]

    @staticmethod
    def of(program: Program) -> StepStates:
        """Return the states of a program, read once and kept with it.

        Raises
        ------
        AnalysisError
            If a hidden state has several leaves or none, a state changes its type, or the step writes a
            parameter; the message names the path.
        """
        return kept(program, "_step_states", lambda: _read(program))


def _read(program: Program) -> StepStates:
    hidden: list[HiddenLeaf] = []
    params: list[ParamLeaf] = []
    others: list[tuple[State, tuple[Value, ...], tuple[Value, ...]]] = []
    for (state, old), (_, new) in zip(program.state_inputs(), program.state_outputs(), strict=True):
        for before, after in zip(old, new, strict=True):
            if (before.shape, before.dtype) != (after.shape, after.dtype):
                raise AnalysisError(
                    f"state {format_path(state.path)} changes its type from {before.type} to {after.type} in one "
                    "step; a state must keep shape and element type: convert the new value first"
                )
        if state.role == "hidden":
            hidden.append(_hidden(len(hidden), state, old, new))
        elif state.role == "param":
            if any(before.name != after.name for before, after in zip(old, new, strict=True)):
                raise AnalysisError(
                    f"the step writes the parameter {format_path(state.path)}; a parameter must stay as it is in a "
                    "step: make it a hidden or short-term state, or write it between steps"
                )
            keys = (path for path, _ in leaf_paths(state.tree))
            params += [ParamLeaf(state, key, value) for key, value in zip(keys, old, strict=True)]
        else:
            others.append((state, old, new))
    return StepStates(tuple(hidden), tuple(params), tuple(others))


def _hidden(number: int, state: State, old: tuple[Value, ...], new: tuple[Value, ...]) -> HiddenLeaf:
    if len(old) != 1:
        raise AnalysisError(
            f"hidden state {format_path(state.path)} has {len(old)} leaves; a hidden state must be one array: "
            "use one state for each array, or a grouped state for arrays of one shape"
        )
    kind = old[0].aval
    if state.num_state != 1 and (not kind.shape or kind.shape[-1] != state.num_state):
        raise AnalysisError(
            f"grouped state {format_path(state.path)} holds {state.num_state} states, "
            f"but its last axis does not: {kind}"
        )
    return HiddenLeaf(number, state, old[0].name, new[0].name, kind)

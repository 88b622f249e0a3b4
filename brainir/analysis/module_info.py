"""Module information: which values of the entry hold which states."""

from __future__ import annotations

from ..ir.collector import collector_paused
from ..ir.interface import State
from ..ir.model import StatePath
from ..ir.printer import format_path
from ..ir.program import Program, Value, require_program
from .facts import Facts, format_values
from .states import StepStates

__all__ = ["ModuleInfo", "module_info"]


class ModuleInfo(Facts):
    """Which values of the entry hold which states, both ways.

    The mappings are built when asked for; what is stored are tuples.

    Parameters
    ----------
    hidden_paths : tuple of paths
        The hidden states, in state order.
    hidden_invars, hidden_outvars : tuple of Value
        Their old and new values.
    weight_paths : tuple of paths
        The parameter states, in state order.
    weight_leaves : tuple of tuple of Value
        Their values, one tuple for each state.
    other_paths : tuple of paths
        States that are neither.
    compiled_model_states : tuple of State
        All states that the step uses, in state order.
    unused_paths : tuple of paths
        States of the module that the step does not use.
    closed_jaxpr : Program
        The program; the name is brainscale's.
    """

    hidden_paths: tuple[StatePath, ...]
    hidden_invars: tuple[Value, ...]
    hidden_outvars: tuple[Value, ...]
    weight_paths: tuple[StatePath, ...]
    weight_leaves: tuple[tuple[Value, ...], ...]
    other_paths: tuple[StatePath, ...]
    compiled_model_states: tuple[State, ...]
    unused_paths: tuple[StatePath, ...]
    closed_jaxpr: Program

    @property
    def hidden_path_to_invar(self) -> dict[StatePath, Value]:
        """The old value of each hidden state."""
        return dict(zip(self.hidden_paths, self.hidden_invars, strict=True))

    @property
    def hidden_path_to_outvar(self) -> dict[StatePath, Value]:
        """The new value of each hidden state."""
        return dict(zip(self.hidden_paths, self.hidden_outvars, strict=True))

    @property
    def invar_to_hidden_path(self) -> dict[Value, StatePath]:
        """The hidden state whose old value it is."""
        return dict(zip(self.hidden_invars, self.hidden_paths, strict=True))

    @property
    def outvar_to_hidden_path(self) -> dict[Value, StatePath]:
        """The hidden state whose new value it is; where states share one, the first in state order."""
        return dict(zip(reversed(self.hidden_outvars), reversed(self.hidden_paths), strict=True))

    @property
    def hidden_outvar_to_invar(self) -> dict[Value, Value]:
        """The old value for each new value; where states share one, of the first in state order."""
        return dict(zip(reversed(self.hidden_outvars), reversed(self.hidden_invars), strict=True))

    @property
    def weight_invars(self) -> tuple[Value, ...]:
        """The values of all parameter leaves."""
        return tuple(value for values in self.weight_leaves for value in values)

    @property
    def weight_path_to_invars(self) -> dict[StatePath, tuple[Value, ...]]:
        """The values of each parameter state, in the order of its leaves."""
        return dict(zip(self.weight_paths, self.weight_leaves, strict=True))

    @property
    def invar_to_weight_path(self) -> dict[Value, StatePath]:
        """The parameter state whose leaf it is."""
        pairs = zip(self.weight_paths, self.weight_leaves, strict=True)
        return {value: path for path, values in pairs for value in values}

    def __repr__(self) -> str:
        lines = [f"module information of {self.closed_jaxpr.entry}"]
        rows = zip(self.hidden_paths, self.hidden_invars, self.hidden_outvars, strict=True)
        lines += [f"  hidden {format_path(path)}: {old} -> {new}" for path, old, new in rows]
        weights = zip(self.weight_paths, self.weight_leaves, strict=True)
        lines += [f"  param  {format_path(path)}: {format_values(values)}" for path, values in weights]
        lines += [f"  other  {format_path(path)}" for path in self.other_paths]
        lines += [f"  unused {format_path(path)}" for path in self.unused_paths]
        return "\n".join(lines)


@collector_paused()
def module_info(program: Program) -> ModuleInfo:
    """Collect which values of the entry hold which states.

    Parameters
    ----------
    program : Program

    Returns
    -------
    ModuleInfo

    Raises
    ------
    AnalysisError
        If a hidden state has several leaves or none, a state changes its type in the step, or the step writes
        a parameter; the message names the path.
    """
    require_program(program)
    states = StepStates.of(program)
    entry = program.entry_function
    weights = [(state, values) for state, values in program.state_inputs() if state.role == "param"]
    return ModuleInfo(
        hidden_paths=tuple(hidden.path for hidden in states.hidden),
        hidden_invars=tuple(entry.value(hidden.old) for hidden in states.hidden),
        hidden_outvars=tuple(entry.value(hidden.new) for hidden in states.hidden),
        weight_paths=tuple(state.path for state, _ in weights),
        weight_leaves=tuple(values for _, values in weights),
        other_paths=tuple(state.path for state, _, _ in states.others),
        compiled_model_states=program.interface.states,
        unused_paths=program.interface.unused,
        closed_jaxpr=program,
    )

"""One step of an online learning rule, on leaves: new states and traces, loss, and gradients of the parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from jax import numpy as jnp

from ...analysis.learning.plan import GroupPlan, LearningPlan
from .derivatives import ForwardStep, GroupJacobian, Signals, SlotValues
from .low_rank import LowRankTrace
from .traces import EligibilityTrace
from .weights import WeightChain

__all__ = ["LeafLoss", "OnlineRule", "Trace"]

LeafLoss = Callable[[Sequence[Any]], Any]
"""From the leaves of the step's result to the loss."""


class Trace(Protocol):
    """What a rule asks of the trace of a term in a group."""

    kept: tuple[int, ...]

    def init(self) -> dict[str, Any]:
        """Return the traces before the first step."""

    def advance(
        self, old: Mapping[str, Any], env: Mapping[str, Any], jacobian: Mapping[tuple[int, int], Any]
    ) -> dict[int, Any]:
        """Return the traces after a step."""

    def gradient(
        self,
        old: Mapping[str, Any],
        new: Mapping[int, Any],
        exits: SlotValues,
        entries: SlotValues,
        env: Mapping[str, Any],
    ) -> list[Any]:
        """Return the gradient of each weight of the term."""

    def keep(self, new: Mapping[int, Any]) -> dict[str, Any]:
        """Return what goes on to the next step."""


class OnlineRule:
    """D-RTRL or ES-D-RTRL of one program.

    Parameters
    ----------
    plan : LearningPlan
    decay : float
        Of ES-D-RTRL.
    """

    def __init__(self, plan: LearningPlan, decay: float) -> None:
        self.plan = plan
        program = plan.program
        entry = program.entry_function
        self.forward = ForwardStep(plan.forward)
        self.signals = Signals(plan)
        self.jacobians = [GroupJacobian(group) for group in plan.groups]
        self.traces: dict[str, Trace] = {}
        self.chains: dict[str, WeightChain] = {}
        for trace in plan.traces:
            group, term = plan.groups[trace.tail.group], plan.terms[trace.tail.term]
            if plan.algorithm == "d_rtrl":
                self.traces[trace.name] = EligibilityTrace(group, trace, term)
            else:
                self.traces[trace.name] = LowRankTrace(group, trace, term, decay)
            self.chains[trace.name] = WeightChain(term)
        self._groups = {trace.name: trace.tail.group for trace in plan.traces}
        params = {value.name for state, values in program.state_inputs() if state.role == "param" for value in values}
        self._params = [
            (place, name, entry.type_of(name)) for place, name in enumerate(entry.inputs) if name in params
        ]
        self._old = [value.name for state, values in program.state_inputs() if state.role != "param" for value in values]
        self._new = [
            value.name for state, values in program.state_outputs() if state.role != "param" for value in values
        ]
        states = sum(1 for state, _, _ in program.interface.output_leaves() if state is not None)
        self._results = entry.outputs[states:]

    def init(self) -> dict[str, dict[str, Any]]:
        """Return the traces before the first step."""
        return {name: trace.init() for name, trace in self.traces.items()}

    def forward_values(self, leaves: Sequence[Any]) -> dict[str, Any]:
        """Run the step."""
        return self.forward(leaves)

    def new_states(self, env: Mapping[str, Any], old: Sequence[Any]) -> list[Any]:
        """Return the leaves of the states that are no parameters."""
        found = []
        for name, before in zip(self._new, old, strict=True):
            value = env[name] if name in env else self.literal(name)
            found.append(value.astype(before.dtype) if value.dtype != before.dtype else value)
        return found

    @staticmethod
    def literal(name: str) -> Any:
        """Return the value of a literal."""
        from ...ir.types import literal_array, literal_type

        return jnp.asarray(literal_array(name), literal_type(name).dtype)

    def group_jacobians(self, env: Mapping[str, Any]) -> list[dict[tuple[int, int], Any]]:
        """Return the entries of the Jacobian of each group that its traces need."""
        columns: list[set[int]] = [set() for _ in self.plan.groups]
        for name, trace in self.traces.items():
            columns[self._groups[name]].update(trace.kept)
        return [run(env, sorted(wanted)) for run, wanted in zip(self.jacobians, columns, strict=True)]

    def advance(self, old: Mapping[str, Mapping[str, Any]], env: Mapping[str, Any]) -> dict[str, dict[int, Any]]:
        """Return the new traces."""
        jacobians = self.group_jacobians(env)
        return {
            name: trace.advance(old[name], env, jacobians[self._groups[name]]) for name, trace in self.traces.items()
        }

    def keep(self, new: Mapping[str, Mapping[int, Any]]) -> dict[str, dict[str, Any]]:
        """Return what goes on to the next step."""
        return {name: trace.keep(new[name]) for name, trace in self.traces.items()}

    def step(
        self, leaves: Sequence[Any], old: Mapping[str, Mapping[str, Any]], loss: LeafLoss
    ) -> tuple[list[Any], dict[str, dict[str, Any]], Any, list[Any]]:
        """Take one step.

        Returns
        -------
        states : list
            Leaves of the states that are no parameters.
        traces : dict
        loss : scalar
        gradients : list
            One for each parameter leaf.
        """
        env = self.forward_values(leaves)
        learned = [place for place, _, kind in self._params if kind.is_inexact]
        value, ordinary, exits, entries = self.signals(leaves, learned, loss)
        gradients = dict(zip((name for _, name, kind in self._params if kind.is_inexact), ordinary, strict=True))
        new = self.advance(old, env)
        self.add_traced(gradients, old, new, exits, entries, env)
        found = [
            gradients[name] if name in gradients else jnp.zeros(kind.shape, kind.dtype)
            for _, name, kind in self._params
        ]
        carried = self.new_states(env, [env[name] for name in self._old])
        return carried, self.keep(new), value, found

    def add_traced(
        self,
        gradients: dict[str, Any],
        old: Mapping[str, Mapping[str, Any]],
        new: Mapping[str, Mapping[int, Any]],
        exits: Mapping[int, Any],
        entries: Mapping[int, Any],
        env: Mapping[str, Any],
    ) -> None:
        """Add what the traces give to the gradients of the parameter leaves."""
        for name, trace in self.traces.items():
            group = self.plan.groups[self._groups[name]]
            signals = [_by_slot(group, found) for found in (exits, entries)]
            if not (signals[0] or signals[1]):
                continue
            weights = trace.gradient(old[name], new[name], signals[0], signals[1], env)
            for leaf, part in self.chains[name].gradient(weights, env).items():
                gradients[leaf] = gradients[leaf] + part


def _by_slot(group: GroupPlan, signals: Mapping[int, Any]) -> SlotValues:
    found = {}
    for slot, (member, component) in enumerate(group.slots):
        number = group.numbers[member]
        if number in signals:
            grouped = group.group.hidden_states[member].num_state > 1
            found[slot] = signals[number][..., component] if grouped else signals[number]
    return found

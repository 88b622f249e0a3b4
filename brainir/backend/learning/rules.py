"""One step of an online learning rule, on leaves: new states and traces, loss, and gradients of the parameters."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, assert_never

import jax
from jax import numpy as jnp

from ...analysis.learning.plan import GroupPlan, LearningPlan, TracePlan
from ...ir.types import is_literal, literal_array
from .base import TermTrace
from .derivatives import ForwardStep, GroupJacobian, Signals, SlotValues
from .host import Environment, PlanFunctions
from .low_rank import LowRankTrace
from .traces import EligibilityTrace

__all__ = ["LeafLoss", "OnlineRule", "PieceState", "StepResult", "Steps", "array_types", "by_slot"]

LeafLoss = Callable[[Sequence[Any]], Any]
"""From the leaves of the step's result to the loss."""

StepResult = tuple[list[Any], dict[str, dict[str, Any]], Any, list[Any]]
"""Leaves of the states that are no parameters, traces, loss, and a gradient for each parameter leaf."""


PieceState = tuple[list[Any], dict[str, dict[str, Any]], list[Any]]
"""What goes from piece to piece of a run: leaves of the states that are no parameters, traces, gradients so far."""


@dataclass(frozen=True)
class Steps:
    """What the steps of a run have in common.

    Parameters
    ----------
    leaves_of : callable
        From parameters, carried states and one input to the leaves of a step.
    loss_of : callable
        From one target to the loss of a step.
    params : list
        Parameter leaves.
    """

    leaves_of: Callable[[list[Any], Sequence[Any], Any], list[Any]]
    loss_of: Callable[[Any], LeafLoss]
    params: list[Any]


class OnlineRule:
    """D-RTRL or ES-D-RTRL of one program.

    Parameters
    ----------
    plan : LearningPlan
    decay : float
        Of ES-D-RTRL.
    functions : PlanFunctions

    Attributes
    ----------
    forward : ForwardStep
        With the effects of the step; see `forward_again`.
    signals : Signals
    traces : dict
        The trace of each term in each group.
    owners : dict
        For each trace that is the same as that of another term, and not kept itself, the name of the other.
    jacobians : list of GroupJacobian
        For each group.
    params : list of pairs
        Name and type of each parameter leaf.
    hidden_places : dict
        For each hidden state with a derivative, its place among the leaves of the states that are no parameters.
    """

    def __init__(self, plan: LearningPlan, decay: float, functions: PlanFunctions) -> None:
        self.plan = plan
        program = plan.program
        entry = program.entry_function
        self.forward = ForwardStep(plan.forward, functions.of_step(plan.forward.program))
        self.signals = Signals(plan, functions)
        self._functions = functions
        self.traces = {trace.name: _trace(plan, trace, decay, functions) for trace in plan.traces}
        self.owners = {trace.name: trace.same_as for trace in plan.traces if trace.same_as}
        self.jacobians = [
            GroupJacobian(
                group,
                {slot for trace in self.traces.values() if trace.group == place for slot in trace.wanted},
                {slot for trace in self.traces.values() if trace.group == place for slot in trace.kept},
                functions,
            )
            for place, group in enumerate(plan.groups)
        ]
        states = list(program.state_inputs())
        params = {value.name for state, values in states if state.role == "param" for value in values}
        self.params = [(name, entry.type_of(name)) for name in entry.inputs if name in params]
        self._old = [value.name for state, values in states if state.role != "param" for value in values]
        hidden = {value: number for number, value in enumerate(plan.hidden)}
        self.hidden_places = {hidden[name]: place for place, name in enumerate(self._old) if name in hidden}
        self._results = entry.outputs[program.interface.returned_leaves() :]
        self._new = [value.name for state, new in program.state_outputs() if state.role != "param" for value in new]

    @functools.cached_property
    def forward_again(self) -> ForwardStep:
        """What computes the same as `forward` a second time, without the effects."""
        return ForwardStep(self.plan.forward, self._functions.of_part(self.plan.forward.program))

    def init(self) -> dict[str, dict[str, Any]]:
        """Return the traces before the first step."""
        return {name: trace.init() for name, trace in self.traces.items() if name not in self.owners}

    @functools.cached_property
    def trace_types(self) -> dict[str, str]:
        """The type of each array of the traces; see :func:`array_types`."""
        return array_types(jax.eval_shape(self.init))

    def completed(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Add the traces that are those of another term."""
        return {**kept, **{name: kept[owner] for name, owner in self.owners.items()}}

    def new_states(self, env: Environment) -> list[Any]:
        """Return the leaves of the states that are no parameters."""
        found = []
        for name, before in zip(self._new, self._old, strict=True):
            value = _value(name, env)
            kind = env[before].dtype
            found.append(value if value.dtype == kind else value.astype(kind))
        return found

    def results(self, env: Environment) -> list[Any]:
        """Return the leaves of the step's result."""
        return [_value(name, env) for name in self._results]

    def advance(self, old: Mapping[str, Environment], env: Environment) -> dict[str, dict[Any, Any]]:
        """Return the new traces."""
        jacobians = [jacobian(env) for jacobian in self.jacobians]
        return self.completed(
            {
                name: trace.advance(old[name], env, jacobians[trace.group])
                for name, trace in self.traces.items()
                if name not in self.owners
            }
        )

    def keep(self, new: Mapping[str, Mapping[Any, Any]]) -> dict[str, dict[str, Any]]:
        """Return what goes on to the next step."""
        return {name: trace.keep(new[name]) for name, trace in self.traces.items() if name not in self.owners}

    def step(self, leaves: Sequence[Any], old: Mapping[str, Environment], loss: LeafLoss) -> StepResult:
        """Take one step."""
        env = self.forward(leaves)
        value, gradients, exits, entries = self.signals(leaves, loss)
        old, new = self.completed(old), self.advance(old, env)
        for name, trace in self.traces.items():
            group = self.plan.groups[trace.group]
            weights = trace.gradient(old[name], new[name], by_slot(group, exits), by_slot(group, entries), env)
            self.add(gradients, name, weights, env)
        return self.new_states(env), self.keep(new), value, self.in_order(gradients)

    def add(self, gradients: dict[str, Any], name: str, weights: Sequence[Any], env: Environment) -> None:
        """Add gradients of the weights of a trace to those of the parameter leaves behind them."""
        for leaf, part in self.traces[name].chain.gradient(weights, env).items():
            gradients[leaf] = gradients[leaf] + part if leaf in gradients else part

    def in_order(self, gradients: Mapping[str, Any]) -> list[Any]:
        """Return the gradient of each parameter leaf, zero where there is none."""
        return [
            gradients[name] if name in gradients else jnp.zeros(kind.shape, kind.dtype) for name, kind in self.params
        ]


def _trace(plan: LearningPlan, trace: TracePlan, decay: float, functions: PlanFunctions) -> TermTrace:
    group = plan.groups[trace.tail.group]
    match plan.algorithm:
        case "d_rtrl":
            return EligibilityTrace(group, trace, plan.terms, functions)
        case "es_d_rtrl":
            return LowRankTrace(group, trace, plan.terms[trace.tail.term], decay, functions)
        case _:
            assert_never(plan.algorithm)


def array_types(traces: Any) -> dict[str, str]:
    """Return the type of each array by its keys."""
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else type(leaf).__name__
        for path, leaf in jax.tree_util.tree_leaves_with_path(traces)
    }


def _value(name: str, env: Environment) -> Any:
    return jnp.asarray(literal_array(name)) if is_literal(name) else env[name]


def by_slot(group: GroupPlan, signals: Mapping[int, Any]) -> SlotValues:
    """Take signals of hidden states to the slots of a group."""
    found = {}
    for slot, (member, component) in enumerate(group.slots):
        number = group.numbers[member]
        if number in signals:
            grouped = group.group.hidden_states[member].num_state > 1
            found[slot] = signals[number][..., component] if grouped else signals[number]
    return found

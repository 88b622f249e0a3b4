"""Gradients over a window of steps: reverse differentiation inside, traces for what came before."""

from __future__ import annotations

from collections.abc import Sequence
from operator import add
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from .rules import OnlineRule, PieceState, Steps, by_slot

__all__ = ["window_gradient"]


def window_gradient(
    rule: OnlineRule, steps: Steps, state: PieceState, given: tuple[Any, Any]
) -> tuple[PieceState, Any]:
    """Take the steps of one window.

    The gradient is that of the summed loss with respect to the parameters by reverse differentiation of the
    window, the states at its entry held fixed, plus, for each trace, the gradient with respect to the states at
    the entry times the trace there. The traces then go through the window step by step.

    Parameters
    ----------
    rule : OnlineRule
        Whose plan keeps the traces of all states.
    steps : Steps
    state : tuple
        Carried states, traces, and gradients so far.
    given : tuple
        Inputs and targets, with a leading axis of steps.

    Returns
    -------
    state : tuple
    losses : array
        One for each step.
    """
    params = steps.params
    carried, traces, total = state
    learned = [place for place, (_, kind) in enumerate(rule.params) if kind.is_inexact]
    hidden = rule.hidden_places
    names = [name for name, _ in rule.params]

    def summed(changed: Sequence[Any], entry: Sequence[Any]) -> tuple[Any, Any]:
        now = list(params)
        for place, value in zip(learned, changed, strict=True):
            now[place] = value
        states = list(carried)
        for place, value in zip(hidden.values(), entry, strict=True):
            states[place] = value

        def body(states: list[Any], each: tuple[Any, Any]) -> tuple[list[Any], Any]:
            x, target = each
            env = rule.forward_again(steps.leaves_of(now, states, x))
            return rule.new_states(env), steps.loss_of(target)(rule.results(env))

        last, losses = lax.scan(body, states, given)
        return losses.sum(), (last, losses)

    start = [carried[place] for place in hidden.values()]
    _, pull, (last, losses) = jax.vjp(summed, [params[place] for place in learned], start, has_aux=True)
    inside, at_entry = pull(jnp.ones((), losses.dtype))
    gradients = {names[place]: value for place, value in zip(learned, inside, strict=True)}
    entries = dict(zip(hidden, at_entry, strict=True))
    env = dict(zip(names, params, strict=True))
    for name, trace in rule.traces.items():
        group = rule.plan.groups[trace.group]
        weights = dict(zip(trace.weight_names, trace.chain.weights(env), strict=True))
        parts = trace.gradient(traces[name], {}, {}, by_slot(group, entries), {**env, **weights})
        rule.add(gradients, name, parts, env)

    def roll(
        now: tuple[list[Any], dict[str, dict[str, Any]]], each: Any
    ) -> tuple[tuple[list[Any], dict[str, dict[str, Any]]], None]:
        states, before = now
        values = rule.forward(steps.leaves_of(params, states, each))
        return (rule.new_states(values), rule.keep(rule.advance(before, values))), None

    start_traces = {name: dict(before) for name, before in traces.items()}
    (_, rolled), _ = lax.scan(roll, (list(carried), start_traces), given[0])
    found = rule.in_order(gradients)
    return (last, rolled, jax.tree.map(add, total, found)), losses

"""Several steps with the same parameters: the same sum of gradients, in matrix products.

For D-RTRL:

Within a chunk of n steps the traces are never formed. The sum over the steps of signal times trace is a sum over
the steps of data times an adjoint, which runs backward through the diagonal blocks of the Jacobian, and costs no
more than the states themselves:

    a_t[k, b] = s_t[k, b] + s'_{t+1}[k, b] + sum_c D_{t+1}[k, c, b] a_{t+1}[k, c]
    grad      = sum_t x_t (x) sum_b F_t[k, b] a_t[k, b]  +  sum_b a_0[k, b] e_0[i, k, b]

The traces are read and written once for each chunk, with the product P_t = D_n ... D_{t+1}:

    e_n[i, k, a] = sum_b P_0[k, a, b] e_0[i, k, b] + sum_t x_t[i] sum_b P_t[k, a, b] F_t[k, b]

Both are the recursions of D-RTRL with the sums in another order, so the results are equal up to rounding. ES-D-RTRL has
no such traces to save; its outer products are summed over the chunk in one matrix product.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple, TypeAlias

import jax
from jax import lax
from jax import numpy as jnp

from .adjoints import Adjoints
from .base import TraceUse
from .derivatives import Entries, SlotValues
from .host import Environment
from .low_rank import LowRankTrace
from .rules import OnlineRule, PieceState, Steps, by_slot
from .traces import EligibilityTrace

__all__ = ["ChunkedRule", "chunk_length"]

_Signals: TypeAlias = tuple[SlotValues, SlotValues]

_LONGEST = 64
_SHORTEST = 8


def chunk_length(steps: int) -> int:
    """Return how many steps to take together: a divisor of the number of steps, if there is a good one."""
    if steps == 0:
        return 1
    best = max(length for length in range(1, min(steps, _LONGEST) + 1) if steps % length == 0)
    return best if best >= min(_SHORTEST, steps) else min(steps, _LONGEST)


class _Chunk(NamedTuple):
    """A chunk whose steps are taken.

    Parameters
    ----------
    traces : mapping
        Before it.
    rolled : dict
        What went from step to step, after the last one.
    seen : Any
        What the steps left, with a leading axis of steps.
    env : mapping
        Holds the parameters.
    steps : int
        How many there were.
    """

    traces: Mapping[str, Any]
    rolled: dict[str, Any]
    seen: Any
    env: Environment
    steps: int


class ChunkedRule(ABC):
    """Takes the steps of a rule in chunks; made by :meth:`of`.

    Parameters
    ----------
    rule : OnlineRule
    """

    def __init__(self, rule: OnlineRule) -> None:
        self.rule = rule

    @staticmethod
    def of(rule: OnlineRule) -> ChunkedRule | None:
        """Return what takes the steps of a rule in chunks, if its traces are outer products of data and known here."""
        traces = rule.traces
        whole = {name: trace for name, trace in traces.items() if type(trace) is EligibilityTrace and trace.is_outer}
        low_rank = {name: trace for name, trace in traces.items() if type(trace) is LowRankTrace and trace.is_outer}
        # Where there are none, the first does nothing.
        if len(low_rank) == len(traces):
            return _LowRankTraces(rule, low_rank)
        return _WholeTraces(rule, whole) if len(whole) == len(traces) else None

    def run(self, steps: Steps, state: PieceState, given: tuple[Any, Any]) -> tuple[PieceState, Any]:
        """Take the steps of one chunk.

        Parameters
        ----------
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
        rule, params = self.rule, steps.params
        carried, traces, total = state
        names = [name for name, _ in rule.params]
        ordinary = rule.plan.exit_form.params
        start = [jnp.zeros_like(params[names.index(name)]) for name in ordinary]
        first = (list(carried), self.start(traces), start)
        (carried, rolled, sums), (losses, seen) = lax.scan(partial(self._step, steps), first, given)
        gradients = dict(zip(ordinary, sums, strict=True))
        env = dict(zip(names, params, strict=True))
        new = self.finish(_Chunk(traces, rolled, seen, env, len(losses)), gradients)
        return (carried, new, jax.tree.map(add, total, rule.in_order(gradients))), losses

    def _step(self, steps: Steps, now: Any, each: tuple[Any, Any]) -> tuple[Any, tuple[Any, Any]]:
        """Take one step; ordinary gradients are summed up."""
        rule = self.rule
        states, rolled, sums = now
        x, target = each
        leaves = steps.leaves_of(steps.params, states, x)
        env = rule.forward(leaves)
        value, gradients, exits, entries = rule.signals(leaves, steps.loss_of(target))
        sums = [one + gradients[name] for one, name in zip(sums, rule.plan.exit_form.params, strict=True)]
        signals = [(by_slot(plan, exits), by_slot(plan, entries)) for plan in rule.plan.groups]
        jacobians = [jacobian.arrays(env) for jacobian in rule.jacobians]
        rolled, seen = self.see(env, jacobians, signals, rolled)
        return (rule.new_states(env), rolled, sums), (value, seen)

    @abstractmethod
    def start(self, traces: Mapping[str, Any]) -> dict[str, Any]:
        """Return what goes from step to step within a chunk, from the traces before it."""

    @abstractmethod
    def see(
        self, env: Environment, jacobians: Sequence[Entries], signals: Sequence[_Signals], rolled: dict[str, Any]
    ) -> tuple[dict[str, Any], Any]:
        """Look at one step.

        Parameters
        ----------
        env : mapping
        jacobians : sequence of dicts
            For each group, the entries of its Jacobian that are no numbers.
        signals : sequence of pairs of dicts
            For each group, at exits and entries.
        rolled : dict
            From :meth:`start`, or the step before.

        Returns
        -------
        rolled : dict
        seen : Any
            What the step leaves for :meth:`finish`.
        """

    @abstractmethod
    def finish(self, chunk: _Chunk, gradients: dict[str, Any]) -> dict[str, Any]:
        """Add the gradients of a chunk to those of the parameter leaves, and return the traces after it."""


class _WholeTraces(ChunkedRule):
    """For D-RTRL."""

    def __init__(self, rule: OnlineRule, traces: Mapping[str, EligibilityTrace]) -> None:
        super().__init__(rule)
        self.traces = traces

    def start(self, traces: Mapping[str, Any]) -> dict[str, Any]:
        return {}

    def see(
        self, env: Environment, jacobians: Sequence[Entries], signals: Sequence[_Signals], rolled: dict[str, Any]
    ) -> tuple[dict[str, Any], Any]:
        uses = {
            name: [(use.direct.arrays(env), [env[each] for each in use.rule.operands]) for use in trace.uses]
            for name, trace in self.traces.items()
        }
        return rolled, (jacobians, signals, uses)

    def finish(self, chunk: _Chunk, gradients: dict[str, Any]) -> dict[str, Any]:
        jacobians, signals, seen = chunk.seen
        backward = [
            Adjoints(self.rule, place, *each, chunk.steps)
            for place, each in enumerate(zip(jacobians, signals, strict=True))
        ]
        new = {}
        for name, trace in self.traces.items():
            uses = [_SeenUse(use, chunk.steps, *each) for use, each in zip(trace.uses, seen[name], strict=True)]
            weights, after = trace.chain.weights(chunk.env), backward[trace.group]
            self.rule.add(gradients, name, _gradient(trace, chunk.traces[name], uses, weights, after), chunk.env)
            new[name] = _roll(trace, chunk.traces[name], uses, after)
        return new


class _LowRankTraces(ChunkedRule):
    """For ES-D-RTRL."""

    def __init__(self, rule: OnlineRule, traces: Mapping[str, LowRankTrace]) -> None:
        super().__init__(rule)
        self.traces = traces

    def start(self, traces: Mapping[str, Any]) -> dict[str, Any]:
        # How many steps there were before is known without a loop.
        kept = {name: traces[name] for name in self.traces if name not in self.rule.owners}
        return {name: {key: each[key] for key in each if key != "steps"} for name, each in kept.items()}

    def see(
        self, env: Environment, jacobians: Sequence[Entries], signals: Sequence[_Signals], rolled: dict[str, Any]
    ) -> tuple[dict[str, Any], Any]:
        after, factors = {}, {}
        for name, before in rolled.items():
            trace = self.traces[name]
            new = trace.roll(before, env, {**self.rule.jacobians[trace.group].numbers, **jacobians[trace.group]})
            factors[name] = trace.factors(before, new, *signals[trace.group], env)
            after[name] = trace.keep(new)
        return after, factors

    def finish(self, chunk: _Chunk, gradients: dict[str, Any]) -> dict[str, Any]:
        for name, trace in self.traces.items():
            owner = self.rule.owners.get(name, name)
            weights, before = trace.chain.weights(chunk.env), chunk.traces[owner]["steps"]
            for ahead, (operands, pairs) in chunk.seen[owner].items():
                counts = before + ahead + jnp.arange(chunk.steps, dtype=before.dtype)
                corrected = jax.vmap(trace.corrected)(pairs, counts)
                self.rule.add(gradients, name, trace.rule.over_steps(weights, operands, corrected), chunk.env)
        steps = {name: chunk.traces[name]["steps"] + chunk.steps for name in chunk.rolled}
        return {name: {**each, "steps": steps[name]} for name, each in chunk.rolled.items()}


class _SeenUse:
    """One use of a weight in the steps of a chunk; all has a leading axis of steps."""

    def __init__(self, use: TraceUse, steps: int, arrays: dict[int, Any], operands: Sequence[Any]) -> None:
        self.use, self.operands = use, operands
        numbers = use.direct.numbers()
        self.direct = {slot: jnp.broadcast_to(each, (steps, *each.shape)) for slot, each in numbers.items()} | arrays
        self.data = jax.vmap(use.data, axis_size=steps)(operands)


def _gradient(
    trace: EligibilityTrace,
    old: Mapping[str, Any],
    uses: Sequence[_SeenUse],
    weights: Sequence[Any],
    backward: Adjoints,
) -> list[Any]:
    adjoint, first = backward.adjoint, backward.first_adjoint
    found = [jnp.zeros_like(weight) for weight in weights]
    for seen in uses:
        terms = [each * jax.vmap(trace.pair)(adjoint[slot]) for slot, each in seen.direct.items() if slot in adjoint]
        if terms:
            added = seen.use.rule.over_steps(weights, seen.operands, reduce(add, terms))
            found = jax.tree.map(add, found, added)
    traces = trace.by_slot(old)
    before = {slot: first[slot] for slot in trace.kept if slot in first}
    if before:
        earlier = trace.weigh([trace.spread(signal) * traces[slot] for slot, signal in before.items()], weights)
        found = jax.tree.map(add, found, earlier)
    return found


def _roll(
    trace: EligibilityTrace, old: Mapping[str, Any], uses: Sequence[_SeenUse], backward: Adjoints
) -> dict[str, Any]:
    products, first = backward.products, backward.first_products
    before = trace.by_slot(old)
    new = {}
    for a in trace.kept:
        number = a in trace.vectors
        terms = [trace.spread(first[a, b], number=number) * before[b] for b in trace.kept if (a, b) in first]
        for seen in uses:
            passed = [jax.vmap(trace.pair)(products[a, b]) * seen.direct[b] for b in seen.direct if (a, b) in products]
            if passed:
                terms.append(trace.outer(seen.data, reduce(add, passed), number=number))
        new[a] = trace.total(a, terms)
    return trace.keep(new)

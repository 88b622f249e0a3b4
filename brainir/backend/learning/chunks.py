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

from collections.abc import Collection, Mapping, Sequence
from functools import partial, reduce
from operator import add
from typing import Any, NamedTuple

import jax
from jax import lax
from jax import numpy as jnp

from .base import TraceUse
from .derivatives import Entries
from .low_rank import LowRankTrace, without_steps
from .rules import OnlineRule, PieceState, Steps, by_slot
from .traces import EligibilityTrace

__all__ = ["ChunkedRule", "chunk_length"]

_LONGEST = 64
_SHORTEST = 8


def chunk_length(steps: int) -> int:
    """Return how many steps to take together: a divisor of the number of steps, if there is a good one."""
    if steps == 0:
        return 1
    best = max(length for length in range(1, min(steps, _LONGEST) + 1) if steps % length == 0)
    return best if best >= min(_SHORTEST, steps) else min(steps, _LONGEST)


class ChunkedRule:
    """Takes the steps of a rule in chunks.

    Parameters
    ----------
    rule : OnlineRule
        Each of whose traces is one that chunks are known for; see :meth:`fits`.
    """

    def __init__(self, rule: OnlineRule) -> None:
        self.rule = rule
        self.full = {name: trace for name, trace in rule.traces.items() if isinstance(trace, EligibilityTrace)}
        self.low_rank = {name: trace for name, trace in rule.traces.items() if isinstance(trace, LowRankTrace)}

    @staticmethod
    def fits(rule: OnlineRule) -> bool:
        """Whether all traces of a rule are outer products of data, and follow the recursions above."""
        known = EligibilityTrace, LowRankTrace
        return all(type(trace) in known and trace.is_outer for trace in rule.traces.values())

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
        # How many steps there were before is known without a loop.
        filtered = {name: without_steps(traces[name]) for name in self.low_rank if name not in rule.owners}
        first = (list(carried), filtered, start)
        (carried, new, sums), (losses, seen) = lax.scan(partial(self._forward, steps), first, given)
        gradients = dict(zip(ordinary, sums, strict=True))
        env = dict(zip(names, params, strict=True))
        new.update(self._add_full(gradients, traces, seen, env, len(losses)))
        self._add_low_rank(gradients, traces, seen, env, len(losses))
        for name in filtered:
            new[name] = {**new[name], "steps": traces[name]["steps"] + len(losses)}
        found = rule.in_order(gradients)
        return (carried, new, jax.tree.map(add, total, found)), losses

    def _forward(self, steps: Steps, now: Any, each: tuple[Any, Any]) -> tuple[Any, tuple[Any, _Seen]]:
        """Take one step; ordinary gradients are summed up, and the traces of ES-D-RTRL carried on."""
        rule, ordinary = self.rule, self.rule.plan.exit_form.params
        states, before, sums = now
        x, target = each
        leaves = steps.leaves_of(steps.params, states, x)
        env = rule.forward(leaves)
        value, gradients, exits, entries = rule.signals(leaves, steps.loss_of(target))
        sums = [one + gradients[name] for one, name in zip(sums, ordinary, strict=True)]
        signals = [(by_slot(plan, exits), by_slot(plan, entries)) for plan in rule.plan.groups]
        jacobians = [jacobian.arrays(env) for jacobian in rule.jacobians]
        uses = {
            name: [(use.direct.arrays(env), [env[each] for each in use.rule.operands]) for use in trace.uses]
            for name, trace in self.full.items()
        }
        factors, advanced = {}, {}
        for name in before:
            trace = self.low_rank[name]
            jacobian = {**rule.jacobians[trace.group].numbers, **jacobians[trace.group]}
            new = trace.roll(before[name], env, jacobian)
            factors[name] = trace.factors(before[name], new, *signals[trace.group], env)
            advanced[name] = trace.keep(new)
        blocks = (jacobians, signals) if self.full else ([], [])
        return (rule.new_states(env), advanced, sums), (value, _Seen(*blocks, uses, factors))

    def _add_full(
        self, gradients: dict[str, Any], traces: Mapping[str, Any], seen: _Seen, env: Mapping[str, Any], count: int
    ) -> dict[str, Any]:
        """Add the gradients that the traces of D-RTRL before the chunk give; return those after it."""
        backward = [
            _Backward(self.rule, place, jacobian, signals, count)
            for place, (jacobian, signals) in enumerate(zip(seen.jacobians, seen.signals, strict=True))
        ]
        new = {}
        for name, trace in self.full.items():
            uses = [
                _SeenUse(use, count, arrays, operands)
                for use, (arrays, operands) in zip(trace.uses, seen.uses[name], strict=True)
            ]
            weights, after = trace.chain.weights(env), backward[trace.group]
            self.rule.add(gradients, name, _gradient(trace, traces[name], uses, weights, after), env)
            new[name] = _roll(trace, traces[name], uses, after)
        return new

    def _add_low_rank(
        self, gradients: dict[str, Any], traces: Mapping[str, Any], seen: _Seen, env: Mapping[str, Any], count: int
    ) -> None:
        """Add the gradients that the traces of ES-D-RTRL give."""
        for name, trace in self.low_rank.items():
            owner = self.rule.owners.get(name, name)
            weights, before = trace.chain.weights(env), traces[owner]["steps"]
            for ahead, (operands, pairs) in seen.factors[owner].items():
                counts = before + ahead + jnp.arange(count, dtype=before.dtype)
                corrected = jax.vmap(trace.corrected)(pairs, counts)
                self.rule.add(gradients, name, trace.rule.over_steps(weights, operands, corrected), env)


class _Seen(NamedTuple):
    """What the steps of a chunk leave for the gradient; all has a leading axis of steps.

    Parameters
    ----------
    jacobians : list of dicts
        For each group, the entries of its Jacobian that are no numbers.
    signals : list of pairs of dicts
        For each group, at exits and entries.
    uses : dict
        For each trace of D-RTRL, derivatives and data of each of its uses.
    factors : dict
        For each trace of ES-D-RTRL, the factors of its gradient.
    """

    jacobians: Any
    signals: Any
    uses: Any
    factors: Any


class _Backward:
    """What goes backward through the steps of a chunk, in one loop.

    Parameters
    ----------
    rule : OnlineRule
    place : int
        Of the group.
    jacobian : dict
        Its entries with a leading axis of steps, without those that are numbers.
    signals : pair of dicts
        At exits and entries, with a leading axis of steps.
    length : int
        The number of steps: a group of states without derivatives has nothing that tells it.

    Attributes
    ----------
    adjoint, products : dict
        The adjoint of each slot, and the product of all later Jacobians, after each step; products by row and column.
        Rows are the slots that are kept, which are those that have a column.
    first_adjoint, first_products : dict
        The same before the first step.
    """

    def __init__(
        self,
        rule: OnlineRule,
        place: int,
        jacobian: Entries,
        signals: tuple[dict[int, Any], dict[int, Any]],
        length: int,
    ) -> None:
        blocks = rule.jacobians[place]
        self._numbers, self._slots, self._kept = blocks.numbers, blocks.rows, blocks.columns
        exits, entries = ({slot: found[slot] for slot in found if slot in self._slots} for found in signals)
        plan = rule.plan.groups[place]
        # One element type for all slots: the widest, as each goes into the adjoints and products of others.
        members = {member: plan.group.hidden_invars[member].dtype for member, _ in plan.slots}
        kind = jnp.result_type(*members.values()) if members else None
        self._zero = {slot: jnp.zeros(plan.group.varshape, kind) for slot in self._slots}
        known = {*self._numbers, *jacobian}
        chain = _reachable(known, self._kept)
        arrays = _arrays(chain, known, {*jacobian})
        ones = (1,) * len(plan.group.varshape)
        start = {(a, b): jnp.full(plan.group.varshape if (a, b) in arrays else ones, a == b, kind) for a, b in chain}
        each = (jacobian, exits, entries)
        first, steps = lax.scan(self._body, (self._zero, start), each, length=length, reverse=True)
        self.first_adjoint, self.first_products = first
        self.adjoint, self.products = steps

    def _body(self, after: tuple[dict[int, Any], Entries], each: Any) -> tuple[Any, Any]:
        adjoint, products = after
        blocks, leaving, entering = each
        blocks = {**self._numbers, **blocks}
        here = {slot: value + leaving[slot] if slot in leaving else value for slot, value in adjoint.items()}
        before = {slot: zero + entering[slot] if slot in entering else zero for slot, zero in self._zero.items()}
        for (row, column), block in blocks.items():
            before[column] = before[column] + block * here[row]
        earlier = {}
        for a, b in products:
            terms = [products[a, c] * blocks[c, b] for c in self._kept if (a, c) in products and (c, b) in blocks]
            earlier[a, b] = reduce(add, terms) if terms else jnp.zeros_like(products[a, b])
        return (before, earlier), (here, products)


def _arrays(
    chain: Sequence[tuple[int, int]], known: Collection[tuple[int, int]], arrays: Collection[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Return which entries of a product of Jacobians differ between positions, if these of one Jacobian do."""
    found: set[tuple[int, int]] = set()
    while more := {
        (a, b)
        for a, c in chain
        for d, b in known
        if c == d and (a, b) in chain and (a, b) not in found and ((a, c) in found or (c, b) in arrays)
    }:
        found |= more
    return found


def _reachable(jacobian: Collection[tuple[int, int]], slots: Sequence[int]) -> list[tuple[int, int]]:
    """Return the entries that a product of Jacobians can have."""
    found = {(a, a) for a in slots} | {(a, b) for a, b in jacobian if a in slots}
    while more := {(a, d) for a, b in found for c, d in jacobian if b == c and (a, d) not in found}:
        found |= more
    return sorted(found)


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
    backward: _Backward,
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
    trace: EligibilityTrace, old: Mapping[str, Any], uses: Sequence[_SeenUse], backward: _Backward
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

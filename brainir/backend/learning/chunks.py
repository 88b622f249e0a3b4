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

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from .low_rank import LowRankTrace
from .rules import OnlineRule, PieceState, Steps, by_slot
from .traces import EligibilityTrace

__all__ = ["ChunkedRule", "chunk_length"]

_LONGEST = 32
_SHORTEST = 8

Entries = dict[tuple[int, int], Any]


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
        Each of whose traces is an outer product of data; see :meth:`fits`.
    """

    def __init__(self, rule: OnlineRule) -> None:
        self.rule = rule
        self.full = {name: trace for name, trace in rule.traces.items() if isinstance(trace, EligibilityTrace)}
        self.low_rank = {name: trace for name, trace in rule.traces.items() if isinstance(trace, LowRankTrace)}

    @staticmethod
    def fits(rule: OnlineRule) -> bool:
        """Whether all traces of a rule are outer products of data."""
        return all(trace.is_outer for trace in rule.traces.values())

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
        filtered = {name: dict(traces[name]) for name in self.low_rank if name not in rule.owners}

        def body(now: Any, each: tuple[Any, Any]) -> tuple[Any, Any]:
            states, before, sums = now
            x, target = each
            leaves = steps.leaves_of(params, states, x)
            env = rule.forward(leaves)
            value, gradients, exits, entries = rule.signals(leaves, steps.loss_of(target))
            sums = [one + gradients[name] for one, name in zip(sums, ordinary, strict=True)]
            signals = [(by_slot(plan, exits), by_slot(plan, entries)) for plan in rule.plan.groups]
            jacobians = rule.jacobians(env)
            kept = {
                name: (trace.direct(env), [env[operand] for operand in trace.rule.operands], trace.form.data(env))
                for name, trace in self.full.items()
            }
            factors, after = {}, {}
            for name in before:
                trace, place = self.low_rank[name], rule.groups[name]
                new = trace.advance(before[name], env, jacobians[place])
                factors[name] = trace.factors(before[name], new, *signals[place], env)
                after[name] = trace.keep(new)
            blocks = (jacobians, signals) if self.full else ([], [])
            return (rule.new_states(env), after, sums), (value, blocks, kept, factors)

        first = (list(carried), filtered, start)
        (carried, new, sums), (losses, blocks, kept, factors) = lax.scan(body, first, given)
        gradients = dict(zip(ordinary, sums, strict=True))
        env = dict(zip(names, params, strict=True))
        adjoints = [_adjoint(*both) for both in zip(*blocks, strict=True)]
        products = [_products(each) for each in blocks[0]]
        for name, trace in self.full.items():
            place = rule.groups[name]
            direct, operands, data = kept[name]
            weights = rule.chains[name].weights(env)
            parts = _gradient(trace, traces[name], direct, operands, weights, adjoints[place])
            rule.add(gradients, name, parts, env)
            new[name] = _roll(trace, traces[name], direct, data, products[place])
        for name, low_rank in self.low_rank.items():
            weights = rule.chains[name].weights(env)
            for operands, pairs in factors[rule.owners.get(name, name)]:
                rule.add(gradients, name, low_rank.rule.over_steps(weights, operands, pairs), env)
        found = rule.in_order(gradients)
        return (carried, new, [one + two for one, two in zip(total, found, strict=True)]), losses


def _adjoint(
    jacobian: Entries, signals: tuple[dict[int, Any], dict[int, Any]]
) -> tuple[dict[int, Any], dict[int, Any]]:
    """Return the adjoint of each slot after each step, and before the first."""
    exits, entries = signals
    slots = sorted({slot for pair in jacobian for slot in pair} | {*exits, *entries})
    example = {
        **{column: value for (_, column), value in jacobian.items()},
        **{row: value for (row, _), value in jacobian.items()},
        **exits,
        **entries,
    }
    zero = {slot: jnp.zeros_like(example[slot][0]) for slot in slots}

    def body(after: dict[int, Any], each: Any) -> tuple[dict[int, Any], dict[int, Any]]:
        blocks, leaving, entering = each
        here = {slot: after[slot] + leaving[slot] if slot in leaving else after[slot] for slot in slots}
        before = {slot: entering[slot] if slot in entering else zero[slot] for slot in slots}
        for (row, column), block in blocks.items():
            before[column] = before[column] + block * here[row]
        return before, here

    first, steps = lax.scan(body, zero, (jacobian, exits, entries), reverse=True)
    return steps, first


def _products(jacobian: Entries) -> tuple[Entries, Entries]:
    """Return the product of the Jacobians after each step, and of all of them, by row and column.

    Rows are the slots that are kept, which are those that have a column.
    """
    slots = sorted({column for _, column in jacobian})
    if not slots:
        return {}, {}
    shape = next(iter(jacobian.values()))[0]
    chain = _reachable(jacobian, slots)
    start = {(a, b): jnp.ones_like(shape) if a == b else jnp.zeros_like(shape) for a, b in chain}

    def body(after: Entries, blocks: Entries) -> tuple[Entries, Entries]:
        before = {}
        for a, b in chain:
            terms = [after[a, c] * blocks[c, b] for c in slots if (a, c) in after and (c, b) in blocks]
            before[a, b] = sum(terms[1:], terms[0]) if terms else jnp.zeros_like(shape)
        return before, after

    first, steps = lax.scan(body, start, jacobian, reverse=True)
    return steps, first


def _reachable(jacobian: Entries, slots: Sequence[int]) -> list[tuple[int, int]]:
    """Return the entries that a product of Jacobians can have."""
    found = {(a, a) for a in slots} | {(a, b) for a, b in jacobian if a in slots}
    while more := {(a, d) for a, b in found for c, d in jacobian if b == c and (a, d) not in found}:
        found |= more
    return sorted(found)


def _gradient(
    trace: EligibilityTrace,
    old: Mapping[str, Any],
    direct: Mapping[int, Any],
    operands: Sequence[Any],
    weights: Sequence[Any],
    adjoint: tuple[dict[int, Any], dict[int, Any]],
) -> list[Any]:
    steps, first = adjoint
    terms = [direct[slot] * jax.vmap(trace.pair)(steps[slot]) for slot in direct if slot in steps]
    found = [jnp.zeros_like(weight) for weight in weights]
    if terms:
        found = trace.rule.over_steps(weights, operands, sum(terms[1:], terms[0]))
    traces = trace.by_slot(old)
    before = {slot: first[slot] for slot in trace.kept if slot in first}
    if before:
        earlier = trace.weigh([trace.spread(signal) * traces[slot] for slot, signal in before.items()], weights)
        found = [one + two for one, two in zip(found, earlier, strict=True)]
    return found


def _roll(
    trace: EligibilityTrace,
    old: Mapping[str, Any],
    direct: Mapping[int, Any],
    data: Any,
    products: tuple[Entries, Entries],
) -> dict[str, Any]:
    steps, first = products
    before = trace.by_slot(old)
    new = {}
    for a in trace.kept:
        number = a in trace.vectors
        terms = [trace.spread(first[a, b], number=number) * before[b] for b in trace.kept if (a, b) in first]
        passed = [jax.vmap(trace.pair)(steps[a, b]) * direct[b] for b in direct if (a, b) in steps]
        if not steps and a in direct:
            passed = [direct[a]]
        if passed:
            terms.append(trace.outer(data, sum(passed[1:], passed[0]), number=number))
        new[a] = trace.total(terms)
    return trace.keep(new)

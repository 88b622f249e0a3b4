"""Eligibility traces of D-RTRL: their update, and the gradient that they give, as elementwise expressions."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from operator import add
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from ...analysis.learning.plan import GroupPlan, TracePlan
from ...analysis.learning.spaces import has_data_apart
from ...analysis.learning.terms import Term
from .base import TermTrace, TraceUse
from .derivatives import Entries, SlotValues
from .element_types import as_type, real_if
from .host import Environment, PlanFunctions
from .settling import settled

__all__ = ["EligibilityTrace"]


class EligibilityTrace(TermTrace):
    """The trace of one term in one hidden group, or the sum of those of several uses of one weight.

    ``e[i, k, a] <- sum_b D[k, a, b] e[i, k, b] + x[i] F[k, a]``, with one array for each slot a that is kept, or
    one vector over i where the trace is equal at all positions k. The sum over b is written out over the entries
    that are not zero by structure; it is elementwise, and XLA makes loops of it that read and write each trace once.

    A loop of XLA writes one array, in place only if no other loop still has to read what was there. Two traces of
    which one is computed from the other are therefore kept as the real and the imaginary part of one array. The
    update takes the parts apart, and the gradient is ``Re((e_a + i e_b) (s_a - i s_b)) = s_a e_a + s_b e_b``.

    Parameters
    ----------
    plan : GroupPlan
    trace : TracePlan
    terms : sequence of Term
        All terms of the plan.
    functions : PlanFunctions

    Attributes
    ----------
    uses : tuple of TraceUse
        The uses of the weight.
    is_large : bool
        Whether the trace has more elements than there are positions.
    twins : tuple of pairs of int
        Slots that share an array.
    """

    def __init__(self, plan: GroupPlan, trace: TracePlan, terms: Sequence[Term], functions: PlanFunctions) -> None:
        term = terms[trace.tail.term]
        super().__init__(plan, trace, term, functions)
        self.uses = tuple(TraceUse(plan, each, terms[each.tail.term], functions) for each in (trace, *trace.others))
        self._pairs, self.form = self.uses[0].pairs, self.uses[0].form
        self.is_outer = has_data_apart(term, trace.tail)
        self.is_large = self.form.space != plan.group.varshape
        has_complex = self._dtype in (jnp.float32, jnp.float64)
        self.twins = tuple(_twins(plan, trace.slots("full"))) if self.is_large and has_complex else ()

    def init(self) -> dict[str, Any]:
        """See :meth:`TermTrace.init`."""
        vector, space = self.form.vector, self.form.space
        return self.keep({a: jnp.zeros(vector if a in self.vectors else space, self._dtype) for a in self.kept})

    def keep(self, new: Mapping[Any, Any]) -> dict[str, Any]:
        """See :meth:`TermTrace.keep`; by slot, or pair of slots."""
        paired = {slot for pair in self.twins for slot in pair}
        found = {_key(pair): lax.complex(new[pair[0]], new[pair[1]]) for pair in self.twins}
        return {**found, **{str(a): new[a] for a in self.kept if a not in paired}}

    def by_slot(self, kept: Environment) -> dict[int, Any]:
        """Return the traces that :meth:`keep` put together."""
        paired = [
            (slot, part(kept[_key(pair)]))
            for pair in self.twins
            for slot, part in zip(pair, (lax.real, lax.imag), strict=True)
        ]
        return {**dict(paired), **{a: kept[str(a)] for a in self.kept if str(a) in kept}}

    def advance(self, old: Environment, env: Environment, jacobian: Entries) -> dict[Any, Any]:
        """See :meth:`TermTrace.advance`."""
        given, before = [(use.direct(env), use.form.data(env)) for use in self.uses], self.by_slot(old)
        if self.is_large:
            given, jacobian = jax.tree.map(settled, (given, jacobian))
        new: dict[Any, Any] = {}
        for a in self.wanted:
            number = a in self.vectors
            terms = [self.spread(jacobian[a, b], number=number) * before[b] for b in self.kept if (a, b) in jacobian]
            terms += [
                (_number(direct[a]) if number else self._spread(direct[a])) * data
                for direct, data in given
                if a in direct
            ]
            new[a] = self.total(a, terms)
        return new

    def gradient(
        self, old: Environment, new: Mapping[Any, Any], exits: SlotValues, entries: SlotValues, env: Environment
    ) -> list[Any]:
        """See :meth:`TermTrace.gradient`."""
        if self.is_large:
            exits, entries = jax.tree.map(settled, (exits, entries))
        now = {**self.keep(new), **{str(a): new[a] for a in self.wanted if a not in self.kept}} if exits else {}
        weights = [env[name] for name in self.weight_names]
        return self.weigh([*self._terms(now, exits), *self._terms(old, entries)], weights)

    def _terms(self, traces: Environment, signals: SlotValues) -> Iterator[Any]:
        """Yield signals times traces."""
        for pair in self.twins:
            found = [self.spread(signals[slot]) if slot in signals else None for slot in pair]
            if found != [None, None]:
                zero = jnp.zeros((), self._dtype)
                left, right = (zero if each is None else each.astype(self._dtype) for each in found)
                left, right = jnp.broadcast_arrays(left, right)
                yield lax.real(traces[_key(pair)] * lax.complex(left, -right))
        for slot, signal in signals.items():
            if str(slot) in traces:
                yield self.spread(signal) * traces[str(slot)]

    def weigh(self, terms: Sequence[Any], weights: Sequence[Any]) -> list[Any]:
        """Sum signals times traces into a gradient for each weight."""
        if not terms:
            return [jnp.zeros_like(weight) for weight in weights]
        total = jnp.broadcast_to(reduce(add, terms), self.form.space)
        total = real_if(not any(map(jnp.iscomplexobj, weights)), total)
        env = dict(zip(self.weight_names, weights, strict=True))
        return [as_type(part, weight.dtype) for part, weight in zip(self.form.fold(total, env), weights, strict=True)]

    def pair(self, positions: Any) -> Any:
        """Take a value for each position to one for each pair of result and position."""
        return self._pairs.of_positions(positions)

    def spread(self, positions: Any, *, number: bool = False) -> Any:
        """Give a value for each position the axes of the trace; with `number`, the one that they all have."""
        return _number(positions) if number else self._spread(self.pair(positions))

    def _spread(self, pairs: Any) -> Any:
        """Give a value for each pair the axes of the trace; one number keeps axes of length one."""
        if math.prod(pairs.shape) == 1:
            return pairs.reshape((1,) * len(self.form.space))
        return self.form.spread(pairs)

    def total(self, slot: int, terms: Sequence[Any]) -> Any:
        """Sum the parts of the new trace of a slot."""
        shape = self.form.vector if slot in self.vectors else self.form.space
        return jnp.broadcast_to(reduce(add, terms).astype(self._dtype), shape)

    def outer(self, data: Any, pairs: Any, *, number: bool) -> Any:
        """Return the sum over a leading axis of steps of the outer products of data and values for each pair."""
        if number:
            return jnp.tensordot(pairs.reshape(len(pairs), math.prod(pairs.shape[1:]))[:, 0], data, axes=1)
        spread = jax.vmap(self._spread)(pairs)
        axes = range(len(self.form.space))
        of_data = [axis for axis in axes if data.shape[axis + 1] != 1]
        of_pairs = [axis for axis in axes if spread.shape[axis + 1] != 1]
        steps, last = len(self.form.space), [axis for axis in axes if axis in of_data or axis in of_pairs]
        found = jnp.einsum(
            data.reshape(-1, *(data.shape[axis + 1] for axis in of_data)),
            [steps, *of_data],
            spread.reshape(-1, *(spread.shape[axis + 1] for axis in of_pairs)),
            [steps, *of_pairs],
            last,
        )
        return found.reshape([size if axis in last else 1 for axis, size in enumerate(self.form.space)])


def _twins(plan: GroupPlan, slots: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Pair slots of which one is computed from the other."""
    left = [*slots]
    while left:
        a = left.pop(0)
        coupled = (b for b in left if plan.jacobian[a][b] != "zero" or plan.jacobian[b][a] != "zero")
        b = next(coupled, None)
        if b is not None:
            left.remove(b)
            yield a, b


def _key(pair: tuple[int, int]) -> str:
    return f"{pair[0]},{pair[1]}"


def _number(positions: Any) -> Any:
    return positions.reshape(-1)[0]

"""Eligibility traces of D-RTRL: their update, and the gradient that they give, as one elementwise expression."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax import numpy as jnp

from ...analysis.learning.plan import GroupPlan, TracePlan
from ...analysis.learning.tails import takes_data
from ...analysis.learning.terms import Term
from .derivatives import DirectDerivative, SlotValues
from .forms import form_of
from .operations import OperationRule

__all__ = ["EligibilityTrace"]

Environment = Mapping[str, Any]


class EligibilityTrace:
    """The trace of one term in one hidden group.

    ``e[i, k, a] <- sum_b D[k, a, b] e[i, k, b] + x[i] F[k, a]``, with one array for each slot a that is kept, or
    one vector over i where the trace is equal at all positions k. The sum over b is written out over the entries
    that are not zero by structure. There is no operation between reading the old traces and writing the new ones
    and the gradient that is not elementwise, so that XLA can make one loop of it.

    Parameters
    ----------
    plan : GroupPlan
    trace : TracePlan
    term : Term

    Attributes
    ----------
    kept, wanted, vectors : tuple of int
        Slots that go on to the next step, slots that are computed, and slots whose trace is a vector.
    is_outer : bool
        Whether each step adds an outer product with data.
    """

    def __init__(self, plan: GroupPlan, trace: TracePlan, term: Term) -> None:
        self.term = term
        self.direct = DirectDerivative(plan, trace)
        self.form = form_of(term, trace.tail, plan.group.varshape)
        self.rule = OperationRule(term, trace.tail, self.form)
        self.weight_names = tuple(weight.name for weight in term.weights)
        self.kept = trace.slots("vector", "full")
        self.wanted = trace.slots("passing", "vector", "full")
        self.vectors = trace.slots("vector")
        self.is_outer = term.form == "elementwise" or takes_data(term.form, trace.tail.pairing)
        members = {member: plan.group.hidden_invars[member].dtype for member, _ in plan.slots}
        self._dtype = jnp.result_type(*(weight.dtype for weight in term.weights), *members.values())

    def init(self) -> dict[str, Any]:
        """Return traces of zero, by slot."""
        vector, space = self.form.vector, self.form.space
        return {str(a): jnp.zeros(vector if a in self.vectors else space, self._dtype) for a in self.kept}

    def advance(self, old: Environment, env: Environment, jacobian: Mapping[tuple[int, int], Any]) -> dict[Any, Any]:
        """Return the new traces by slot, those included that are not kept."""
        direct, data = self.direct(env), self.form.data(env)
        new: dict[Any, Any] = {}
        for a in self.wanted:
            number = a in self.vectors
            terms = [self.spread(jacobian[a, b], number=number) * old[str(b)] for b in self.kept if (a, b) in jacobian]
            if a in direct:
                terms.append((_number(direct[a]) if number else self.form.spread(direct[a])) * data)
            new[a] = self.total(terms)
        return new

    def gradient(
        self, old: Environment, new: Mapping[Any, Any], exits: SlotValues, entries: SlotValues, env: Environment
    ) -> list[Any]:
        """Return the gradient of each weight: signals at the exit times new traces, at the entry times old ones."""
        terms = [self.spread(exits[a]) * new[a] for a in self.wanted if a in exits]
        terms += [self.spread(entries[b]) * old[str(b)] for b in self.kept if b in entries]
        return self.weigh(terms, [env[weight.name] for weight in self.term.weights])

    def weigh(self, terms: Sequence[Any], weights: Sequence[Any]) -> list[Any]:
        """Sum signals times traces into a gradient for each weight."""
        if not terms:
            return [jnp.zeros_like(weight) for weight in weights]
        total = jnp.broadcast_to(sum(terms[1:], terms[0]), self.form.space)
        env = dict(zip((weight.name for weight in self.term.weights), weights, strict=True))
        return [part.astype(weight.dtype) for part, weight in zip(self.form.fold(total, env), weights, strict=True)]

    def keep(self, new: Mapping[Any, Any]) -> dict[str, Any]:
        """Return what goes on to the next step."""
        return {str(a): new[a] for a in self.kept}

    def pair(self, positions: Any) -> Any:
        """Take a value for each position to one for each pair of result and position."""
        return self.direct.pair(positions, self.term.y.shape)

    def spread(self, positions: Any, *, number: bool = False) -> Any:
        """Give a value for each position the axes of the trace; with `number`, the one that they all have."""
        return _number(positions) if number else self.form.spread(self.pair(positions))

    def total(self, terms: Sequence[Any]) -> Any:
        """Sum the parts of a new trace."""
        return sum(terms[1:], terms[0]).astype(self._dtype)

    def outer(self, data: Any, pairs: Any, *, number: bool) -> Any:
        """Return the sum over a leading axis of steps of the outer products of data and values for each pair."""
        if number:
            return jnp.tensordot(pairs.reshape(pairs.shape[0], -1)[:, 0], data, axes=1)
        spread = jax.vmap(self.form.spread)(pairs)
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
        return found.reshape(self.form.space)


def _number(positions: Any) -> Any:
    return positions.reshape(-1)[0]

"""Eligibility traces of D-RTRL: their update, and the gradient that they give, as one elementwise expression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jax import numpy as jnp

from ...analysis.learning.plan import GroupPlan, TracePlan
from ...analysis.learning.terms import Term
from .derivatives import DirectDerivative, SlotValues
from .forms import form_of

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
    """

    def __init__(self, plan: GroupPlan, trace: TracePlan, term: Term) -> None:
        self.plan, self.trace, self.term = plan, trace, term
        self.direct = DirectDerivative(plan, trace)
        self.form = form_of(term, trace.tail, plan.group.varshape)
        self.kept = trace.slots("vector", "full")
        self.wanted = trace.slots("passing", "vector", "full")
        self.vectors = trace.slots("vector")
        members = {member: plan.group.hidden_invars[member].dtype for member, _ in plan.slots}
        self._dtype = jnp.result_type(*(weight.dtype for weight in term.weights), *members.values())

    def init(self) -> dict[str, Any]:
        """Return traces of zero, by slot."""
        vector, space = self.form.vector, self.form.space
        return {str(a): jnp.zeros(vector if a in self.vectors else space, self._dtype) for a in self.kept}

    def advance(
        self, old: Mapping[str, Any], env: Environment, jacobian: Mapping[tuple[int, int], Any]
    ) -> dict[int, Any]:
        """Return the new traces by slot, those included that are not kept."""
        direct, data = self.direct(env), self.form.data(env)
        new: dict[int, Any] = {}
        for a in self.wanted:
            terms = [
                self._spread(jacobian[a, b], number=a in self.vectors) * old[str(b)]
                for b in self.kept
                if (a, b) in jacobian
            ]
            if a in direct:
                terms.append(self._pairs(direct[a], number=a in self.vectors) * data)
            new[a] = _sum(terms).astype(self._dtype)
        return new

    def gradient(
        self,
        old: Mapping[str, Any],
        new: Mapping[int, Any],
        exits: SlotValues,
        entries: SlotValues,
        env: Environment,
    ) -> list[Any]:
        """Return the gradient of each weight: signals at the exit times new traces, at the entry times old ones."""
        terms = [self._spread(exits[a]) * new[a] for a in self.wanted if a in exits]
        terms += [self._spread(entries[b]) * old[str(b)] for b in self.kept if b in entries]
        if not terms:
            return [jnp.zeros_like(env[weight.name]) for weight in self.term.weights]
        total = jnp.broadcast_to(_sum(terms), self.form.space)
        folded = self.form.fold(total, env)
        return [part.astype(weight.dtype) for part, weight in zip(folded, self.term.weights, strict=True)]

    def keep(self, new: Mapping[int, Any]) -> dict[str, Any]:
        """Return what goes on to the next step."""
        return {str(a): new[a] for a in self.kept}

    def _spread(self, positions: Any, *, number: bool = False) -> Any:
        """Give a value for each position the axes of the trace; with `number`, the one that they all have."""
        if number:
            return positions.reshape(-1)[0]
        return self.form.spread(self.direct.pair(positions, self.term.y.shape))

    def _pairs(self, pairs: Any, *, number: bool) -> Any:
        return pairs.reshape(-1)[0] if number else self.form.spread(pairs)


def _sum(terms: list[Any]) -> Any:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total

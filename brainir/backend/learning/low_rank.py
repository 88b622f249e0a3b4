"""Traces of ES-D-RTRL: a trace of the data and a trace of the derivatives, whose product stands for the whole."""

from __future__ import annotations

from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any

from jax import numpy as jnp

from ...analysis.learning.plan import GroupPlan, TracePlan
from ...analysis.learning.terms import Term
from .base import TermTrace, TraceUse
from .derivatives import Entries, SlotValues
from .element_types import as_type
from .host import Environment, PlanFunctions
from .settling import settled

__all__ = ["LowRankTrace"]


class LowRankTrace(TermTrace):
    """The trace of one term in one hidden group.

    ``x <- decay x + x_t`` and ``f <- decay D f + (1 - decay) F``. The gradient is the operation's rule, applied
    once to the trace of the data and to ``sum_a s[k, a] f[k, a] / c``, with ``c = 1 - decay^(n + 1)`` after n
    earlier steps. A bias and a weight that meets data element by element have no data.

    Parameters
    ----------
    plan : GroupPlan
    trace : TracePlan
    term : Term
    decay : float
    functions : PlanFunctions

    Attributes
    ----------
    is_outer : bool
        Whether the data itself is filtered; integers are seen through the form, as one-hot data.
    """

    def __init__(self, plan: GroupPlan, trace: TracePlan, term: Term, decay: float, functions: PlanFunctions) -> None:
        super().__init__(plan, trace, term, functions)
        self.decay = decay
        use = TraceUse(plan, trace, term, functions)
        self._pairs, self.direct, self.form, self.rule = use.pairs, use.direct, use.form, use.rule
        self.is_outer = term.x is None or term.x.aval.is_inexact

    def init(self) -> dict[str, Any]:
        """See :meth:`TermTrace.init`; ``x``, ``steps``, and ``f`` by slot."""
        found = {str(a): jnp.zeros(self._shape(a), self._dtype) for a in self.kept}
        found["steps"] = jnp.zeros((), jnp.int32)
        if self.term.x is not None:
            shape = self.term.x.shape if self.is_outer else self.form.vector
            found["x"] = jnp.zeros(shape, self._dtype)
        return found

    def advance(self, old: Environment, env: Environment, jacobian: Entries) -> dict[Any, Any]:
        """See :meth:`TermTrace.advance`; ``x`` and ``steps``, too."""
        return {**self.roll(old, env, jacobian), "steps": old["steps"] + 1}

    def roll(self, old: Environment, env: Environment, jacobian: Entries) -> dict[Any, Any]:
        """Return the new traces without the number of steps."""
        direct = self.direct(env)
        new: dict[Any, Any] = {}
        for a in self.wanted:
            number = a in self.vectors
            terms = [
                self.decay * self._alike(self._pairs.of_positions(jacobian[a, b]), number) * old[str(b)]
                for b in self.kept
                if (a, b) in jacobian
            ]
            if a in direct:
                terms.append((1 - self.decay) * self._alike(direct[a], number))
            new[a] = jnp.broadcast_to(reduce(add, terms).astype(self._dtype), self._shape(a))
        if self.term.x is not None:
            data = env[self.term.x.name] if self.is_outer else self.form.data(env)
            new["x"] = (self.decay * old["x"] + data).astype(self._dtype)
        return new

    def _shape(self, slot: int) -> tuple[int, ...]:
        """Return the shape of the trace of the derivatives: of a vector, that of one number."""
        return (1,) * len(self._pairs.shape) if slot in self.vectors else self._pairs.shape

    def _alike(self, pairs: Any, number: bool) -> Any:
        """Return the one number that all pairs have, if they are alike."""
        return pairs.reshape(-1)[:1].reshape((1,) * len(self._pairs.shape)) if number else pairs

    def gradient(
        self, old: Environment, new: Mapping[Any, Any], exits: SlotValues, entries: SlotValues, env: Environment
    ) -> list[Any]:
        """See :meth:`TermTrace.gradient`."""
        weights = [env[name] for name in self.weight_names]
        found = [jnp.zeros_like(weight) for weight in weights]
        for after, (operands, uncorrected) in self.factors(old, new, exits, entries, env).items():
            total = self.corrected(uncorrected, old["steps"] + after)
            if self.is_outer:
                parts = self.rule(
                    weights, [settled(operand) for operand in operands[:1]] + operands[1:], settled(total)
                )
            else:
                parts = self.form.fold(self.form.spread(total) * operands[0], env)
            found = [one + as_type(two, one.dtype) for one, two in zip(found, parts, strict=True)]
        return found

    def factors(
        self, old: Environment, new: Mapping[Any, Any], exits: SlotValues, entries: SlotValues, env: Environment
    ) -> dict[int, tuple[list[Any], Any]]:
        """Return what the rule of the operation takes: its operands, with the trace of the data, and a gradient.

        The key 1 is for the traces after the step, 0 for those before. The gradient is not corrected yet.
        """
        now = [self._pairs.of_positions(exits[a]) * new[a] for a in self.wanted if a in exits]
        before = [self._pairs.of_positions(entries[b]) * old[str(b)] for b in self.kept if b in entries]
        found = ((1, now, new), (0, before, old))
        return {after: self._factor(terms, at, env) for after, terms, at in found if terms}

    def corrected(self, total: Any, steps: Any) -> Any:
        """Divide what has been seen in some steps by the sum of their weights."""
        correction = 1 - jnp.power(jnp.asarray(self.decay, self._dtype), steps.astype(self._dtype))
        # Before the first step all is zero, and so is the correction.
        return total / jnp.where(steps > 0, correction, 1)

    def _factor(self, terms: list[Any], at: Mapping[Any, Any], env: Environment) -> tuple[list[Any], Any]:
        total = reduce(add, terms)
        if self.term.x is None:
            return [], total
        operands = [env[name] for name in self.rule.operands]
        return [as_type(at["x"], operands[0].dtype) if self.is_outer else at["x"], *operands[1:]], total

    def keep(self, new: Mapping[Any, Any]) -> dict[str, Any]:
        """See :meth:`TermTrace.keep`."""
        return {str(key): value for key, value in new.items() if key in self.kept or not isinstance(key, int)}

"""What the traces of all rules have in common: whose they are, what is kept of them, what a rule asks of them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

from jax import numpy as jnp

from ...analysis.learning.plan import GroupPlan, TracePlan
from ...analysis.learning.terms import Term
from .derivatives import DirectDerivative, Entries, SlotValues
from .forms import form_of
from .host import Environment, PlanFunctions
from .operations import OperationRule
from .pairs import Pairs
from .weights import WeightChain

__all__ = ["TermTrace", "TraceUse"]


class TraceUse:
    """One use of a weight: what it adds to a trace.

    Attributes
    ----------
    pairs : Pairs
    direct : DirectDerivative
    form : Form
    rule : OperationRule
    """

    def __init__(self, plan: GroupPlan, trace: TracePlan, term: Term, functions: PlanFunctions) -> None:
        self.pairs = Pairs(trace.tail, plan.group.varshape)
        self.direct = DirectDerivative(plan, trace, self.pairs, functions)
        self.form = form_of(term, trace.tail, plan.group.varshape, self.pairs, functions)
        self.rule = OperationRule(term, self.pairs, self.form, functions)

    def data(self, operands: Sequence[Any]) -> Any:
        """Return what each weight multiplies, from the operands of the operation's rule; for outer products."""
        return self.form.data(dict(zip(self.rule.operands, operands, strict=True)))


class TermTrace(ABC):
    """The trace of one term in one hidden group, whose slots are counted within the group.

    Parameters
    ----------
    plan : GroupPlan
    trace : TracePlan
    term : Term
    functions : PlanFunctions

    Attributes
    ----------
    group : int
        The place of the group.
    chain : WeightChain
        The operations between the parameters and the weights of the term.
    weight_names : tuple of str
    kept, wanted, vectors : tuple of int
        Slots that go on to the next step, slots that are computed, and slots whose trace is a vector.
    is_outer : bool
        Whether each step adds an outer product with data.
    """

    is_outer: bool

    def __init__(self, plan: GroupPlan, trace: TracePlan, term: Term, functions: PlanFunctions) -> None:
        self.term = term
        self.group = trace.tail.group
        self.chain = WeightChain(term, functions)
        self.weight_names = tuple(weight.name for weight in term.weights)
        self.kept = trace.slots("vector", "full")
        self.wanted = trace.slots("passing", "vector", "full")
        self.vectors = trace.slots("vector")
        members = {member: plan.group.hidden_invars[member].dtype for member, _ in plan.slots}
        self._dtype = jnp.result_type(*(weight.dtype for weight in term.weights), *members.values())

    @abstractmethod
    def init(self) -> dict[str, Any]:
        """Return the traces before the first step."""

    @abstractmethod
    def advance(self, old: Environment, env: Environment, jacobian: Entries) -> dict[Any, Any]:
        """Return the traces after a step, by slot; those included that are not kept."""

    @abstractmethod
    def gradient(
        self, old: Environment, new: Mapping[Any, Any], exits: SlotValues, entries: SlotValues, env: Environment
    ) -> list[Any]:
        """Return the gradient of each weight: of the exit with the new traces, of the entry with the old ones."""

    @abstractmethod
    def keep(self, new: Mapping[Any, Any]) -> dict[str, Any]:
        """Return what goes on to the next step."""

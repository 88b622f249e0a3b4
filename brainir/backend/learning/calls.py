"""One call of a learner: what its user holds to leaves, through the steps of the rule, and back."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from operator import add
from typing import Any

import jax
from jax import lax
from jax import numpy as jnp

from ...ir.errors import EmissionError
from .boundary import LearnerBoundary, loss_value
from .chunks import ChunkedRule, chunk_length
from .rules import LeafLoss, OnlineRule, PieceState, StepResult, Steps, array_types
from .windows import window_gradient

__all__ = ["Carry", "LearnerCall"]

Carry = dict[str, Any]
Loss = Callable[[Any, Any], Any]


class LearnerCall:
    """Takes the steps of one call, which have the same parameters.

    Parameters
    ----------
    rule : OnlineRule
    boundary : LearnerBoundary
        Of this call alone: it knows the containers that come in.
    loss : callable
        From the result of a step and a target to the loss.
    params : Any
        As the user holds them.
    """

    def __init__(self, rule: OnlineRule, boundary: LearnerBoundary, loss: Loss, params: Any) -> None:
        self._rule = rule
        self._boundary = boundary
        self._loss = loss
        self._steps = Steps(self._leaves, self._loss_of, boundary.param_leaves(params))

    def step(self, carry: Any, x: Any, target: Any) -> tuple[Carry, Any, Any]:
        """Take one step; return the new carry, the loss and the gradients."""
        carried, traces = self._opened(carry)
        carried, traces, value, gradients = self._stepped(carried, traces, x, target)
        return {"states": self._boundary.states(carried), "traces": traces}, value, self._boundary.gradients(gradients)

    def steps(self, carry: Any, given: tuple[Any, Any]) -> tuple[Carry, Any, Any]:
        """Take a step for each entry of the leading axis of inputs and targets, one by one.

        Returns
        -------
        carry : dict
        losses : array
            One for each step.
        grads : Any
            Summed over the steps, as the user holds parameters.
        """
        return self._run(carry, given, lambda state, _: lax.scan(self._one, state, given))

    def windows(self, carry: Any, given: tuple[Any, Any], length: int) -> tuple[Carry, Any, Any]:
        """Do what :meth:`steps` does, with gradients over windows of so many steps."""
        take = functools.partial(window_gradient, self._rule, self._steps)
        return self._run(carry, given, lambda state, count: _in_pieces(take, state, given, count, length))

    def chunks(self, carry: Any, given: tuple[Any, Any], rule: ChunkedRule) -> tuple[Carry, Any, Any]:
        """Do what :meth:`steps` does, several steps together."""
        take = functools.partial(rule.run, self._steps)
        return self._run(carry, given, lambda state, count: _in_pieces(take, state, given, count, chunk_length(count)))

    def _run(
        self, carry: Any, given: tuple[Any, Any], take: Callable[[PieceState, int], tuple[PieceState, Any]]
    ) -> tuple[Carry, Any, Any]:
        """Take all steps from a carry on; `take` gets their number, too."""
        count = self._boundary.length(given)
        start = *self._opened(carry), [jnp.zeros_like(leaf) for leaf in self._steps.params]
        (carried, traces, gradients), losses = take(start, count)
        return {"states": self._boundary.states(carried), "traces": traces}, losses, self._boundary.gradients(gradients)

    def _opened(self, carry: Any) -> tuple[list[Any], dict[str, dict[str, Any]]]:
        """Take a carry apart.

        Raises
        ------
        EmissionError
            If it is not from this learner.
        """
        if not isinstance(carry, Mapping) or carry.keys() != {"states", "traces"}:
            raise EmissionError(
                "carry must be a dict of 'states' and 'traces', from init or from the step before, not "
                f"{sorted(map(str, carry)) if isinstance(carry, Mapping) else type(carry).__name__}"
            )
        wanted, given = self._rule.trace_types, array_types(carry["traces"])
        wrong = sorted(name for name in {*wanted, *given} if wanted.get(name) != given.get(name))
        if wrong:
            raise EmissionError(
                f"carry['traces'] are not those of this learner: {wrong[0]} is {given.get(wrong[0], 'missing')}, not "
                f"{wanted.get(wrong[0], 'one of them')}; start from learner.init(states)"
            )
        return self._boundary.carried_leaves(carry["states"]), carry["traces"]

    def _stepped(self, carried: list[Any], traces: Mapping[str, Any], x: Any, target: Any) -> StepResult:
        return self._rule.step(self._leaves(self._steps.params, carried, x), traces, self._loss_of(target))

    def _one(self, state: PieceState, given: tuple[Any, Any]) -> tuple[PieceState, Any]:
        carried, traces, total = state
        carried, traces, value, gradients = self._stepped(carried, traces, *given)
        return (carried, traces, jax.tree.map(add, total, gradients)), value

    def _leaves(self, params: list[Any], carried: Sequence[Any], x: Any) -> list[Any]:
        return self._boundary.all_leaves(params, carried, self._boundary.input_leaves(x))

    def _loss_of(self, target: Any) -> LeafLoss:
        return functools.partial(self._leaf_loss, target=target)

    def _leaf_loss(self, results: Any, *, target: Any) -> Any:
        return loss_value(self._loss(self._boundary.result(list(results)), target))


def _in_pieces(
    take: Callable[[PieceState, Any], tuple[PieceState, Any]], state: PieceState, given: Any, steps: int, length: int
) -> tuple[PieceState, Any]:
    """Take steps in pieces of one length, and what is left over in a shorter one."""
    whole = steps // length
    losses = []
    if whole == 1 and steps == length:
        return take(state, given)
    if whole:
        first = jax.tree.map(lambda leaf: leaf[: whole * length].reshape(whole, length, *leaf.shape[1:]), given)
        state, values = lax.scan(take, state, first)
        losses.append(values.reshape(-1))
    if whole * length < steps or not whole:
        state, values = take(state, jax.tree.map(lambda leaf: leaf[whole * length :], given))
        losses.append(values)
    return state, jnp.concatenate(losses)

"""From gradients of weights, as they meet data, to gradients of the parameter leaves behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax

from ...analysis.learning.terms import Term
from .host import PlanFunctions

__all__ = ["WeightChain"]


class WeightChain:
    """The operations between parameter leaves and the weights of a term: a mask, a scale, a sign.

    Parameters
    ----------
    term : Term
    functions : PlanFunctions
    """

    def __init__(self, term: Term, functions: PlanFunctions) -> None:
        function = term.chain.entry_function
        self._run = functions.of_part(term.chain)
        self.leaves = tuple(value.name for value in term.chain_invars)
        self._smooth = [value.name for value in term.chain_invars if value.aval.is_inexact]
        self._is_direct = not function.nodes and function.outputs == function.inputs

    def weights(self, env: Mapping[str, Any]) -> list[Any]:
        """Return the weights, from the parameter leaves."""
        return list(self._run(*(env[name] for name in self.leaves)))

    def gradient(self, weights: Sequence[Any], env: Mapping[str, Any]) -> dict[str, Any]:
        """Return the gradient of each leaf that has one, by name; integers have none."""
        if self._is_direct:
            return dict(zip(self.leaves, weights, strict=True))
        _, pull = jax.vjp(self._run, *(env[name] for name in self.leaves))
        found = dict(zip(self.leaves, pull(tuple(weights)), strict=True))
        return {name: found[name] for name in self._smooth}

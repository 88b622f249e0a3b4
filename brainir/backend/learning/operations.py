"""The rule of a weight operation: from its data and the gradient of its result to the gradient of the weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax

from ...analysis.learning.terms import Term
from .element_types import as_type
from .forms import ElementwiseForm, Form
from .host import PlanFunctions
from .pairs import Pairs

__all__ = ["OperationRule"]


class OperationRule:
    """Applies the vector-Jacobian product of an operation with respect to its weights.

    Parameters
    ----------
    term : Term
    pairs : Pairs
    form : Form
    functions : PlanFunctions
    """

    def __init__(self, term: Term, pairs: Pairs, form: Form, functions: PlanFunctions) -> None:
        self._form = form
        self._result = term.y
        self._weights = [weight.name for weight in term.weights]
        self._run: Callable[..., Any] | None = None
        if term.operation is not None:
            self._run = functions.of_part(term.operation)
        self._pairs = pairs
        self.operands = [value.name for value in term.operation_invars[len(term.weights) :]]
        """What the rule needs of each step: the data first."""

    def __call__(self, weights: Sequence[Any], operands: Sequence[Any], pairs: Any) -> list[Any]:
        """Return the gradient of each weight from a gradient for each pair of result and position."""
        if self._run is None:
            return self._folded(pairs, weights)
        run = self._run

        def result(*changed: Any) -> Any:
            return run(*changed, *operands)[0]

        _, pull = jax.vjp(result, *weights)
        return list(pull(self._cotangent(pairs)))

    def over_steps(self, weights: Sequence[Any], operands: Sequence[Any], pairs: Any) -> list[Any]:
        """Return the sum over a leading axis of steps; for a product, one product for all steps."""
        if self._run is None or isinstance(self._form, ElementwiseForm):
            return self._folded(pairs.sum(axis=0), weights)
        run = self._run

        def results(*changed: Any) -> Any:
            return jax.vmap(lambda *each: run(*changed, *each)[0])(*operands)

        _, pull = jax.vjp(results, *weights)
        return list(pull(jax.vmap(self._cotangent)(pairs)))

    def _folded(self, pairs: Any, weights: Sequence[Any]) -> list[Any]:
        parts = self._form.fold(pairs, {})
        return [as_type(part, weight.dtype) for part, weight in zip(parts, weights, strict=True)]

    def _cotangent(self, pairs: Any) -> Any:
        return self._pairs.summed(as_type(pairs, self._result.dtype))

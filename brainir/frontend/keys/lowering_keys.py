"""What a value is while one program is lowered, as a key: rules of equations with equal parameters are the same.

Within one program less can change than between two (:mod:`.function_keys`): a function of a module, a class and an
object of any kind stay what they are. So each of these has a key, and equals itself only, whatever another looks like.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Hashable, Sequence
from typing import Any, ClassVar

import jax
from jax.extend import core

from .function_keys import FunctionKeys, Kinds, Reader
from .key import Parts, Same
from .objects import is_compared_by_fields, is_importable, noted_results
from .wrapped import UnknownBehaviourError, closure

__all__ = ["LoweringKeys", "is_too_high"]

_MOST_ORDERS = 3
_MOST_KNOWN_ORDERS = 8


def is_too_high(parts: Parts, around: Sequence[Parts]) -> bool:
    """Whether a rule is of a higher order of derivative than is stored of rules that lead to others without end.

    Where parts are made anew for every order, the next one has as many rules as this one has calls, times these. Where
    only numbers are other ones, they are few.

    Parameters
    ----------
    parts, around : frozenset, sequence of frozenset
        What can be made anew of the rule, and of those of its kind that it is in.
    """
    made, known = 0, Parts()
    for place, each in enumerate(around):
        made += place == 0 or not each <= known
        known |= each
    return len(around) >= _MOST_KNOWN_ORDERS or (made >= _MOST_ORDERS and not parts <= known)


class LoweringKeys(FunctionKeys):
    """Makes keys of numbers, small arrays, jaxprs, pytrees and closures by what they hold, of others as themselves.

    A key keeps alive what it stands for. Its parts are jaxprs, and what equals itself.
    """

    def _of(self, value: Any) -> Hashable:
        try:
            return super()._of(value)
        except UnknownBehaviourError:
            return self._part(Same(value))

    def _function(self, function: types.FunctionType) -> Hashable:
        if is_importable(function) or set(vars(function)) - {"__wrapped__"}:
            return Same(function)
        return (
            function.__code__,
            function.__name__,
            Same(function.__globals__),
            self._of((function.__defaults__, function.__kwdefaults__)),
            tuple([(name, self._of(held)) for name, held in closure(function)]),
        )

    @staticmethod
    def _place(equation: Any) -> Hashable:
        return None  # a jaxpr is the same wherever it was written

    def _equation_alone(self, equation: Any) -> Hashable:
        return self._part(self._equation(equation, {}))

    def _fields(self, value: Any) -> Hashable:
        return Same(type(value)), tuple([self._of(getattr(value, field.name)) for field in dataclasses.fields(value)])

    def _noted(self, value: Any) -> Hashable:
        return Same(type(value)), self._of(noted_results(value))

    def _container(self, value: Any) -> Hashable:
        leaves, tree = jax.tree.flatten(value)
        return self._tree(tree), self._of(leaves)

    def _unknown(self, value: Any) -> Hashable:
        raise UnknownBehaviourError(type(value).__name__)

    _readers: ClassVar[dict[type, Reader]] = {
        **FunctionKeys._readers,
        type: FunctionKeys._itself,
        core.Primitive: FunctionKeys._itself,
    }

    _kinds: ClassVar[Kinds] = (
        (lambda value: isinstance(value, type | types.ModuleType), FunctionKeys._itself),
        (lambda value: is_compared_by_fields(type(value)), _fields),
        (lambda value: noted_results(value) is not None, _noted),
        (lambda value: not jax.tree_util.all_leaves([value]), _container),
        (lambda value: isinstance(value, core.Primitive), FunctionKeys._itself),
        (lambda value: isinstance(value, core.JaxprEqn), _equation_alone),
        *FunctionKeys._kinds[:-1],
        (lambda value: True, _unknown),
    )

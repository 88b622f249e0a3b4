"""Keys of jaxprs and of equations."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np

from .. import jax_compat
from ..sources import source_of
from .walk import Walk
from .wrapped import UnknownBehaviourError

__all__ = ["JaxprWalk"]

_MOST_EQUATIONS = 1000


class JaxprWalk(Walk):
    """Makes keys of jaxprs."""

    def _jaxpr(self, jaxpr: Any) -> Hashable:
        return self._part(self._equations(jaxpr))

    def _equations(self, jaxpr: Any) -> Hashable:
        """Return the key of a jaxpr, whatever its variables are called; of an open one, constants are some of these."""
        is_open = not hasattr(jaxpr, "consts")
        opened = jax_compat.open_jaxpr(jax_compat.as_closed(jaxpr, jaxpr.constvars) if is_open else jaxpr)
        if len(opened.equations) > _MOST_EQUATIONS:
            raise UnknownBehaviourError(f"a jaxpr of {len(opened.equations)} equations")
        numbers: dict[Any, int] = {}
        return (
            (opened.function_name, opened.function_file),
            self._atoms((*opened.constvars, *opened.invars), numbers),
            tuple([self._data(const) for const in opened.consts if not is_open]),
            tuple([self._equation(equation, numbers) for equation in opened.equations]),
            self._atoms(opened.outvars, numbers),
        )

    def _lone_equation(self, equation: Any) -> Hashable:
        return self._part(self._equation(equation, self._variables))

    def _equation(self, equation: Any, numbers: dict[Any, int]) -> Hashable:
        params = tuple([(name, self._of(value)) for name, value in sorted(equation.params.items())])
        context = jax_compat.marks(equation), jax_compat.threefry_partitionable(equation), self._place(equation)
        operands, results = self._atoms(equation.invars, numbers), self._atoms(equation.outvars, numbers)
        return self._of(equation.primitive), params, context, operands, results

    @staticmethod
    def _place(equation: Any) -> Hashable:
        """Return the scope and the model's line of an equation, which nodes are lowered with."""
        return jax_compat.name_stack(equation), source_of(equation)

    def _atoms(self, atoms: Sequence[Any], numbers: dict[Any, int]) -> Hashable:
        """Return the key of operands or results, of which variables have numbers in the order in which they are met."""
        return tuple([(atom.aval, self._atom(atom, numbers)) for atom in atoms])

    def _atom(self, atom: Any, numbers: dict[Any, int]) -> Hashable:
        if not isinstance(atom, jax_compat.Literal):
            return numbers.setdefault(atom, len(numbers))
        return self._data(atom.val)

    def _data(self, value: Any) -> Hashable:
        """Return the key of a constant or literal: a number, an array, or a record of JAX around one of numpy."""
        if isinstance(value, int | float | complex):
            return self._of(np.asarray(value))
        held = jax_compat.numpy_array(value)
        return self._of(value if held is None else held)

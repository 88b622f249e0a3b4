"""Between what a user of a learner holds (params, states, inputs) and the leaves of the step."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
from jax import numpy as jnp

from ...ir.errors import EmissionError
from ...ir.interface import State
from ...ir.printer import format_path
from ...ir.program import Program
from ...ir.trees import leaf_count
from ...ir.types import TensorType
from ..callable import checked_leaf
from ..trees import Origins, TreeBuilder
from ..values import stored_value

__all__ = ["LearnerBoundary", "loss_value"]


class LearnerBoundary:
    """Takes leaves out of the arguments of a learner, and puts results together.

    Parameters
    ----------
    program : Program
    """

    def __init__(self, program: Program) -> None:
        self._interface = program.interface
        self._trees = TreeBuilder(program.interface.units)
        self._origins = Origins()
        entry = program.entry_function
        self._types = entry.input_types
        results = leaf_count(self._interface.result)
        self._result_types = entry.output_types[len(entry.outputs) - results :]
        self._states: list[tuple[State, range]] = []
        place = 0
        for state in self._interface.states:
            self._states.append((state, range(place, place + leaf_count(state.tree))))
            place += leaf_count(state.tree)
        self.state_count = place
        self.params = [at for state, places in self._states if state.role == "param" for at in places]
        self.carried = [at for state, places in self._states if state.role != "param" for at in places]
        self.is_step = self._interface.kind == "step"

    def for_call(self) -> LearnerBoundary:
        """Return one for a single call: what custom containers hold besides arrays is that of what comes in there."""
        made = copy.copy(self)
        made._origins = Origins()
        return made

    def param_leaves(self, params: Any) -> list[Any]:
        """Return the leaves of the parameters, in state order."""
        return self._state_leaves(params, "params", param=True)

    def carried_leaves(self, states: Any) -> list[Any]:
        """Return the leaves of all other states, in state order."""
        return self._state_leaves(states, "states", param=False)

    def _state_leaves(self, given: Any, what: str, *, param: bool) -> list[Any]:
        if self.is_step:
            tree = self._interface.params if param else self._interface.hidden
            if tree is None:
                raise EmissionError("the program is a step without trees for params and hidden")
            leaves = self._trees.flatten(tree, given, what, self._origins)
            return self._checked(leaves, self.params if param else self.carried)
        if not isinstance(given, Mapping):
            raise EmissionError(
                f"{what} must be a dict from state path to value, as brainir.read_states gives, not of type "
                f"{type(given).__name__}"
            )
        known = {state.path for state, _ in self._states}
        unknown = ", ".join(sorted(str(path) for path in set(given) - known))
        if unknown:
            raise EmissionError(f"{what} has states that the program does not have: {unknown}")
        found: list[Any] = []
        for state, places in self._states:
            if (state.role == "param") != param:
                continue
            if state.path not in given:
                raise EmissionError(
                    f"{what} has no value for {format_path(state.path)}; use brainir.read_states(module, program)"
                )
            where = f"state {format_path(state.path)}"
            found += self._checked(self._trees.flatten(state.tree, given[state.path], where, self._origins), places)
        return found

    def _checked(self, leaves: Iterator[tuple[Any, str]], places: Sequence[int]) -> list[Any]:
        return [
            jnp.asarray(checked_leaf(leaf, self._types[place], where))
            for (leaf, where), place in zip(leaves, places, strict=True)
        ]

    def input_leaves(self, x: Any) -> list[Any]:
        """Return the leaves of the inputs of one step."""
        arguments = self._interface.arguments
        if len(arguments) == 1:
            given: Sequence[Any] = (x,)
        else:
            if not isinstance(x, tuple) or len(x) != len(arguments):
                names = ", ".join(argument.name for argument in arguments) or "no inputs"
                raise EmissionError(
                    f"the step takes {len(arguments)} inputs ({names}); give x as a tuple of that length, not "
                    f"{type(x).__name__}"
                )
            given = x
        leaves = (
            leaf
            for argument, value in zip(arguments, given, strict=True)
            for leaf in self._trees.flatten(
                argument.tree, value, f"input {argument.name}", self._origins, plain=argument.plain
            )
        )
        return self._checked(leaves, range(self.state_count, len(self._types)))

    def all_leaves(self, params: Sequence[Any], carried: Sequence[Any], inputs: Sequence[Any]) -> list[Any]:
        """Return the leaves of all states and inputs in the order of the entry."""
        found: list[Any] = [None] * self.state_count
        for places, values in ((self.params, params), (self.carried, carried)):
            for place, value in zip(places, values, strict=True):
                found[place] = value
        return [*found, *inputs]

    def states(self, carried: Sequence[Any]) -> Any:
        """Put the states that are no parameters together."""
        return self._together(carried, param=False)

    def gradients(self, leaves: Sequence[Any]) -> Any:
        """Put gradients together in the structure and units of the parameters."""
        return self._together(leaves, param=True)

    def _together(self, leaves: Sequence[Any], *, param: bool) -> Any:
        rest = iter(leaves)
        if self.is_step:
            tree = self._interface.params if param else self._interface.hidden
            return None if tree is None else self._trees.unflatten(tree, rest, self._origins)
        return {
            state.path: self._trees.unflatten(state.tree, rest, self._origins)
            for state, _ in self._states
            if (state.role == "param") == param
        }

    def by_path(self, named: Any) -> Any:
        """Return states that are named by texts by their paths; see :meth:`brainir.Learner.named`."""
        if self.is_step:
            return named
        paths = {format_path(state.path): state.path for state, _ in self._states}
        return {paths[name]: value for name, value in named.items()}

    def examples(self) -> tuple[Any, Any, Any]:
        """Return parameters, other states and inputs of zeros."""
        values = [_zeros(kind) for kind in self._types]
        leaves = iter(values[self.state_count :])
        inputs = tuple(
            self._trees.unflatten(argument.tree, leaves, Origins()) for argument in self._interface.arguments
        )
        params, carried = ([values[place] for place in places] for places in (self.params, self.carried))
        return self.gradients(params), self.states(carried), inputs[0] if len(inputs) == 1 else inputs

    def example_result(self) -> Any:
        """Return a result of zeros."""
        return self.result([_zeros(kind) for kind in self._result_types])

    def result(self, leaves: Sequence[Any]) -> Any:
        """Put the result of the step together."""
        return self._trees.unflatten(self._interface.result, iter(leaves), self._origins)

    @staticmethod
    def length(xs: Any) -> int:
        """Return the length of the leading axis that all leaves have.

        Raises
        ------
        EmissionError
            If there are none, or they differ.
        """
        shapes = [jnp.shape(leaf) for leaf in jax.tree.leaves(xs)]
        lengths = dict.fromkeys(shape[0] if shape else None for shape in shapes)
        if len(lengths) != 1 or None in lengths:
            found = " and ".join("none" if length is None else str(length) for length in lengths)
            raise EmissionError(
                "inputs and targets of a run need one leading axis of steps, of the same length in every array; "
                f"theirs are {found or 'missing'}"
            )
        return int(shapes[0][0])


def loss_value(value: Any) -> Any:
    """Return what a loss returned as a number without a unit.

    Raises
    ------
    EmissionError
        If it is anything but one floating point number.
    """
    mantissa = getattr(value, "mantissa", None)
    if mantissa is not None:
        if not value.unit.is_unitless:
            raise EmissionError(f"the loss must be a plain number, not in {value.unit}; divide it by its unit")
        value = mantissa
    if not hasattr(value, "shape") or value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise EmissionError(
            "the loss must be one floating point number, not "
            f"{jax.typeof(value) if hasattr(value, 'shape') else type(value).__name__}; take a sum or a mean"
        )
    return value


def _zeros(kind: TensorType) -> Any:
    dtype, shape = kind.storage
    return stored_value(jnp.zeros(shape, dtype), kind)

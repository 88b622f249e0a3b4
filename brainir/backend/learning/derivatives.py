"""What one step computes at each position: Jacobian, direct derivatives, and learning signals."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from ...analysis.learning.plan import Forward, GroupPlan, LearningPlan, TracePlan
from ...ir.errors import EmissionError
from .host import Environment, PlanFunctions, Run, goes_forward
from .pairs import Pairs

__all__ = ["DirectDerivative", "Entries", "ForwardStep", "GroupJacobian", "Signals", "SlotValues"]

SlotValues = dict[int, Any]
Entries = dict[tuple[int, int], Any]


class ForwardStep:
    """Runs the step and returns every value that the learning needs, by name."""

    def __init__(self, forward: Forward, run: Run) -> None:
        self._run = run
        self._names = forward.names
        self._inputs = forward.program.entry_function.inputs

    def __call__(self, leaves: Sequence[Any]) -> dict[str, Any]:
        """Return the environment: inputs and computed values."""
        return {
            **dict(zip(self._inputs, leaves, strict=True)),
            **dict(zip(self._names, self._run(*leaves), strict=True)),
        }


class GroupJacobian:
    """The diagonal blocks of the Jacobian of a hidden group.

    An entry is an array of positions; one that is a number is known beforehand, and has an axis of length one for each
    axis of the positions. Those that are zero by structure are left out.

    Parameters
    ----------
    plan : GroupPlan
    rows, columns : collection of int
        The slots that signals meet a trace at, and those whose traces are kept: the entries that are needed.
    functions : PlanFunctions

    Attributes
    ----------
    numbers : dict
        The entries that are numbers.
    """

    def __init__(
        self, plan: GroupPlan, rows: Collection[int], columns: Collection[int], functions: PlanFunctions
    ) -> None:
        self.rows, self.columns = sorted(rows), sorted(columns)
        self._run = functions.of_part(plan.group.transition)
        self._push = _push if goes_forward(plan.group.transition) else _push_by_pullback
        self._names = [value.name for value in plan.group.transition_invars]
        self._grouped = [state.num_state > 1 for state in plan.group.hidden_states]
        self._plan = plan
        self.numbers: Entries = {}
        for row in self.rows:
            kind = plan.group.hidden_invars[plan.slots[row][0]].dtype
            for column in self.columns:
                entry = plan.jacobian[row][column]
                if not isinstance(entry, str):
                    self.numbers[row, column] = one_number(entry, kind, len(plan.group.varshape))

    def __call__(self, env: Environment) -> Entries:
        """Return all entries."""
        return {**self.numbers, **self.arrays(env)}

    def arrays(self, env: Environment) -> Entries:
        """Return the entries that are no numbers."""
        plan = self._plan
        operands = [env[name] for name in self._names]
        found: Entries = {}
        for column in self.columns:
            varying = [row for row in self.rows if plan.jacobian[row][column] in ("uniform", "any")]
            if not varying:
                continue
            member, component = plan.slots[column]
            tangent = _unit(operands[member], component, self._grouped[member])
            tangents = self._push(self._run, operands, member, tangent)
            for row in varying:
                target, part = plan.slots[row]
                found[row, column] = tangents[target][..., part] if self._grouped[target] else tangents[target]
        return found


class DirectDerivative:
    """The derivative of the new states of a group with respect to the result of a term, for each pair.

    One that is a number is known beforehand, and has an axis of length one for each axis of the pairs. That of a real
    state h by a complex result y is ``dh/dRe y - i dh/dIm y``, as JAX has it: h changes by the real part of its product
    with the change of y.
    """

    def __init__(self, plan: GroupPlan, trace: TracePlan, pairs: Pairs, functions: PlanFunctions) -> None:
        tail = trace.tail
        self._run = functions.of_part(tail.program)
        self._push = _push if goes_forward(tail.program) else _push_by_pullback
        self._names = [value.name for value in tail.invars]
        self._plan, self._trace, self._pairs = plan, trace, pairs
        self._grouped = [state.num_state > 1 for state in plan.group.hidden_states]
        self._place = {member: place for place, member in enumerate(tail.members)}

    def __call__(self, env: Environment) -> SlotValues:
        """Return one array of pairs, or number, for each slot that the term reaches."""
        return {**self.numbers(), **self.arrays(env)}

    def numbers(self) -> SlotValues:
        """Return the derivatives that are numbers."""
        plan = self._plan
        return {
            slot: one_number(found, plan.group.hidden_invars[plan.slots[slot][0]].dtype, len(self._pairs.shape))
            for slot, found in enumerate(self._trace.direct)
            if not isinstance(found, str)
        }

    def arrays(self, env: Environment) -> SlotValues:
        """Return the other derivatives."""
        operands = [env[name] for name in self._names]
        slots = [slot for slot, found in enumerate(self._trace.direct) if found in ("uniform", "any")]
        if not slots:
            return {}
        if self._pairs.pairing == "by_result":
            return {slot: self._pull(operands, slot) for slot in slots}
        one = jnp.ones_like(operands[0])
        tangents = self._push(self._run, operands, 0, one)
        turned = self._push(self._run, operands, 0, 1j * one) if jnp.iscomplexobj(one) else {}
        found = {}
        for slot in slots:
            member, component = self._plan.slots[slot]
            place = self._place[member]
            tangent = tangents[place]
            if turned and not jnp.iscomplexobj(tangent):
                tangent = lax.complex(tangent, -turned[place])
            found[slot] = self._pairs.of_positions(tangent[..., component] if self._grouped[member] else tangent)
        return found

    def _pull(self, operands: list[Any], slot: int) -> Any:
        member, component = self._plan.slots[slot]

        def reached(y: Any) -> Any:
            return self._run(y, *operands[1:])[self._place[member]]

        new, pull = jax.vjp(reached, operands[0])
        return pull(_unit(new, component, self._grouped[member]))[0]


class Signals:
    """The loss of one step, and its gradient at exits, entries, and along paths that no trace covers."""

    def __init__(self, plan: LearningPlan, functions: PlanFunctions) -> None:
        form = plan.exit_form
        function = form.program.entry_function
        count = len(plan.program.entry_function.inputs)
        self._form = form
        self._run = functions.of_part(form.program)
        self._extra = [function.type_of(name) for name in function.inputs[count:]]
        self._places = [function.inputs.index(name) for name in form.params]

    def __call__(
        self, leaves: Sequence[Any], loss: Callable[[Sequence[Any]], Any]
    ) -> tuple[Any, dict[str, Any], dict[int, Any], dict[int, Any]]:
        """Return the loss, gradients of parameter leaves by name, and signals at exits and entries by state."""
        zeros = [jnp.zeros(kind.shape, kind.dtype) for kind in self._extra]

        def objective(changed: Sequence[Any], added: Sequence[Any]) -> Any:
            operands = list(leaves)
            for place, value in zip(self._places, changed, strict=True):
                operands[place] = value
            return loss(self._run(*operands, *added))

        value, pull = jax.vjp(objective, [leaves[place] for place in self._places], zeros)
        gradients, added = pull(jnp.ones_like(value))
        count = len(self._form.exits)
        exits = dict(zip(self._form.exits, added[:count], strict=True))
        entries = dict(zip(self._form.entries, added[count:], strict=True))
        return value, dict(zip(self._form.params, gradients, strict=True)), exits, entries


def one_number(value: float, dtype: str, rank: int) -> Any:
    """Return a number as an array that NumPy holds, so that it is none of the values of a step."""
    return np.full((1,) * rank, value, jnp.dtype(dtype))


def _push(run: Run, operands: Sequence[Any], place: int, tangent: Any) -> Mapping[int, Any]:
    """Push one tangent through a function; the other operands have none, not even zeros."""
    tangents: dict[int, Any] = jax.jvp(_moving(run, operands, place), (operands[place],), (tangent,))[1]
    return tangents


def _push_by_pullback(run: Run, operands: Sequence[Any], place: int, tangent: Any) -> Mapping[int, Any]:
    """Do the same by the transpose of what pulls cotangents back, which is all that backward rules give."""
    results, pull = jax.vjp(_moving(run, operands, place), operands[place])
    tangents: dict[int, Any]
    try:
        (tangents,) = jax.linear_transpose(lambda cotangents: pull(cotangents)[0], results)(tangent)
    except (AssertionError, NotImplementedError, RuntimeError) as error:  # as the first operation says it
        raise EmissionError(
            "a backward rule of the step is not linear in the cotangents that it takes, as one that clips them, so "
            "there is no derivative that a trace could hold; change the gradients that the learner gives instead"
        ) from error
    return tangents


def _moving(run: Run, operands: Sequence[Any], place: int) -> Callable[[Any], dict[int, Any]]:
    """Return a function of one operand, to the results that can have tangents."""

    def of(value: Any) -> dict[int, Any]:
        results = run(*operands[:place], value, *operands[place + 1 :])
        return {index: result for index, result in enumerate(results) if jnp.issubdtype(result.dtype, jnp.inexact)}

    return of


def _unit(value: Any, component: int, grouped: bool) -> Any:
    if not grouped:
        return jnp.ones_like(value)
    return jnp.zeros_like(value).at[..., component].set(1)

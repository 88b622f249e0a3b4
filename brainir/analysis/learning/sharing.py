"""Filtered derivatives of ES-D-RTRL that are the same for two terms, so that one of them is kept."""

from __future__ import annotations

from collections.abc import Sequence

from .plan import GroupPlan, TracePlan
from .spaces import pairs_shape
from .terms import Term

__all__ = ["with_shared"]


def with_shared(
    traces: Sequence[TracePlan], groups: Sequence[GroupPlan], terms: Sequence[Term]
) -> tuple[TracePlan, ...]:
    """Say of each trace whether it is that of another term.

    The trace of a bias is that of a product to which it is added, if both reach the states in no other way: the
    derivatives of the new states with respect to both are the same, and a bias has no data.
    """

    def is_same(bias: TracePlan, other: TracePlan) -> bool:
        if terms[bias.tail.term].x is not None or bias.tail.group != other.tail.group or bias.roles != other.roles:
            return False
        positions = groups[bias.tail.group].group.varshape
        shapes = {pairs_shape(each.tail, positions) for each in (bias, other)}
        return len(shapes) == 1 and bias.tail.pairing == other.tail.pairing and _joins_only(bias, other)

    return tuple(
        trace.model_copy(update={"same_as": next((each.name for each in traces if is_same(trace, each)), "")})
        for trace in traces
    )


def _joins_only(bias: TracePlan, other: TracePlan) -> bool:
    """Whether a bias is only added to a sum of which another result is a part, and that goes nowhere else."""
    function = bias.tail.program.entry_function
    name, users = function.inputs[0], function.users.get(function.inputs[0], ())
    if len(users) != 1 or users[0].op != "add":
        return False
    stands_for = dict(zip(function.inputs, (value.name for value in bias.tail.invars), strict=True))
    total = next((stands_for.get(operand) for operand in users[0].inputs if operand != name), None)
    followed = other.tail.program.entry_function
    part = followed.inputs[0]
    while part != total and [node.op for node in followed.users.get(part, ())] == ["add"]:
        part = followed.users[part][0].outputs[0]
    return part == total and len(followed.users.get(part, ())) == 1

"""What is kept of a trace for each slot of its group."""

from __future__ import annotations

from collections.abc import Sequence

from .plan import GroupPlan, Role
from .tails import Derivative

__all__ = ["roles_of"]


def roles_of(plan: GroupPlan, direct: Sequence[Derivative], *, factor: bool) -> tuple[Role, ...]:
    """Decide what is kept for each slot.

    A trace is worth computing if a signal can meet it, or if it feeds one that is; it is worth keeping from step
    to step if it feeds one in the next step, or meets the signal at the next entry. It is zero unless the term
    reaches it, directly or through others. It is equal at all positions, and so a vector over the inputs, if all
    that it is made from is: its row of the Jacobian, its direct derivative, and the traces that feed it.

    Parameters
    ----------
    plan : GroupPlan
    direct : sequence
        For each slot, the derivative of its new value with respect to the result of the term.
    factor : bool
        Whether the trace has its data apart, so that it can be a vector.
    """
    jacobian, slots = plan.jacobian, range(len(direct))
    feeding = [{b for b in slots if jacobian[a][b] != "zero"} for a in slots]
    reached = {a for a in slots if direct[a] != "zero"}
    while more := {a for a in slots if feeding[a] & reached} - reached:
        reached |= more
    met = {*plan.exits, *plan.entries} & reached
    kept = {*plan.entries} & reached
    while more := {b for a in met | kept for b in feeding[a] & reached} - kept:
        kept |= more
    equal = {a for a in reached if factor and direct[a] != "any"}
    while bad := {a for a in equal if any(jacobian[a][b] == "any" or b not in equal for b in feeding[a] & reached)}:
        equal -= bad

    def role(slot: int) -> Role:
        if slot not in met | kept:
            return "none"
        if slot not in kept:
            return "passing"
        return "vector" if slot in equal else "full"

    return tuple(map(role, slots))

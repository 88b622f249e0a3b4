"""What is kept of a trace for each slot of its group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .plan import GroupPlan, Role
from .tails import Derivative

__all__ = ["roles_of"]


def roles_of(plan: GroupPlan, direct: Sequence[Derivative], *, factor: bool) -> tuple[Role, ...]:
    """Decide what is kept for each slot.

    A trace is worth computing if a signal can meet it, or if it feeds one that is; it is worth keeping from step
    to step if it feeds one in the next step, or meets the signal at the next entry. It is zero unless the term
    reaches it, directly or through others. It is equal at all positions, and so a vector over the inputs, if all
    that it is made from is: its row of the Jacobian, its direct derivative, and the traces that feed it.
    """
    jacobian = plan.jacobian
    slots = range(len(direct))
    reached = {slot for slot in slots if direct[slot] != "zero"}
    while more := {a for a in slots if a not in reached and any(jacobian[a][b] != "zero" for b in reached)}:
        reached |= more
    wanted = {*plan.exits, *plan.entries} & reached
    kept = {*plan.entries} & reached
    while more := set(_feeding(jacobian, wanted, reached)) - kept:
        kept |= more
        wanted |= more
    equal = {a for a in reached if factor and direct[a] != "any"}
    while bad := {a for a in equal if any(not _is_equal(jacobian[a][b], b in equal) for b in reached)}:
        equal -= bad
    return tuple(
        "none" if a not in wanted else "passing" if a not in kept else "vector" if a in equal else "full" for a in slots
    )


def _feeding(jacobian: Sequence[Sequence[Derivative]], wanted: set[int], reached: set[int]) -> Iterator[int]:
    for b in reached:
        if any(jacobian[a][b] != "zero" for a in wanted):
            yield b


def _is_equal(entry: Derivative, before: bool) -> bool:
    return entry == "zero" or (entry != "any" and before)

"""The learning plan: which traces are kept, in which form, and what each step computes for them."""

from __future__ import annotations

from typing import Literal

from ...ir.program import Program
from ..facts import Facts
from ..groups import HiddenGroup
from .exits import ExitForm
from .report import LearningReport
from .tails import Derivative, Tail
from .terms import Term

__all__ = ["Algorithm", "Forward", "GroupPlan", "LearningPlan", "Role", "TracePlan"]

Algorithm = Literal["d_rtrl", "es_d_rtrl"]
Role = Literal["none", "passing", "vector", "full"]


class GroupPlan(Facts):
    """A hidden group, its slots, and the structure of its Jacobian.

    A slot is a member, or one of the states that a grouped member holds along its last axis.

    Parameters
    ----------
    group : HiddenGroup
    numbers : tuple of int
        Numbers of the members among the hidden states.
    slots : tuple of pairs of int
        Member and component of each slot; members without derivative have none.
    jacobian : tuple of tuples of str
        For each slot and each slot before: ``zero``, the number that it always is, ``uniform`` (one number for all
        positions) or ``any``.
    exits, entries : tuple of int
        Slots at which the loss can have a signal at the exit, and at the entry.
    """

    group: HiddenGroup
    numbers: tuple[int, ...]
    slots: tuple[tuple[int, int], ...]
    jacobian: tuple[tuple[Derivative, ...], ...]
    exits: tuple[int, ...]
    entries: tuple[int, ...]

    def slot_name(self, slot: int) -> str:
        """Return what the state of a slot is called, for people."""
        member, component = self.slots[slot]
        name = self.group.hidden_invars[member].name
        return name if self.group.hidden_states[member].num_state == 1 else f"{name}[{component}]"


class TracePlan(Facts):
    """The eligibility trace of one term in one group, or the sum of those of several uses of one weight.

    Parameters
    ----------
    name : str
        Key of the trace in the carry.
    tail : Tail
    direct : tuple of str
        For each slot of the group, the derivative of its new value with respect to the result of the term.
    roles : tuple of str
        What is kept for each slot: ``none``, since no signal can reach it or nothing reaches it; ``passing``:
        computed within the step and not kept; ``vector``: equal at all positions, so that one number for each
        input is kept; ``full``.
    others : tuple of TracePlan
        Of further terms of the same weight that lie in the same way over the positions. All traces of a group follow
        the same Jacobian, and all that is asked of them is linear, so their sum is kept instead; for D-RTRL.
    same_as : str
        The name of the trace that this one always equals, and that is kept in its place; for ES-D-RTRL.
    """

    name: str
    tail: Tail
    direct: tuple[Derivative, ...]
    roles: tuple[Role, ...]
    others: tuple[TracePlan, ...] = ()
    same_as: str = ""

    @property
    def is_needed(self) -> bool:
        """Whether a signal can meet it."""
        return any(role != "none" for role in self.roles)

    def slots(self, *roles: Role) -> tuple[int, ...]:
        """Return the slots with one of these roles."""
        return tuple(slot for slot, role in enumerate(self.roles) if role in roles)


class Forward(Facts):
    """The step with more outputs: new states, results, and values that the learning needs.

    Parameters
    ----------
    program : Program
    names : tuple of str
        The value behind each output.
    """

    program: Program
    names: tuple[str, ...]


class LearningPlan(Facts):
    """All that is needed to generate the learning step of a program.

    Parameters
    ----------
    algorithm : {"d_rtrl", "es_d_rtrl"}
    window : bool
        Whether signals come from windows of several steps, which need the traces of all states.
    program : Program
        The step.
    hidden : tuple of str
        Old values of the hidden states, in state order; empty for one without derivative.
    groups : tuple of GroupPlan
    terms : tuple of Term
    traces : tuple of TracePlan
    exit_form : ExitForm
    forward : Forward
    report : LearningReport
    """

    algorithm: Algorithm
    window: bool
    program: Program
    hidden: tuple[str, ...]
    groups: tuple[GroupPlan, ...]
    terms: tuple[Term, ...]
    traces: tuple[TracePlan, ...]
    exit_form: ExitForm
    forward: Forward
    report: LearningReport

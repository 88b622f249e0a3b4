"""What goes backward through the steps of a chunk: adjoints of the states, and products of Jacobians."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import reduce
from operator import add
from typing import Any

from jax import lax
from jax import numpy as jnp

from .derivatives import Entries
from .rules import OnlineRule

__all__ = ["Adjoints"]


class Adjoints:
    """The adjoints and products of one group, found in one loop over the steps of a chunk.

    Parameters
    ----------
    rule : OnlineRule
    place : int
        Of the group.
    jacobian : dict
        Its entries with a leading axis of steps, without those that are numbers.
    signals : pair of dicts
        At exits and entries, with a leading axis of steps.
    length : int
        The number of steps: a group of states without derivatives has nothing that tells it.

    Attributes
    ----------
    adjoint, products : dict
        The adjoint of each slot, and the product of all later Jacobians, after each step; products by row and column.
        Rows are the slots that are kept, which are those that have a column.
    first_adjoint, first_products : dict
        The same before the first step.
    """

    def __init__(
        self,
        rule: OnlineRule,
        place: int,
        jacobian: Entries,
        signals: tuple[dict[int, Any], dict[int, Any]],
        length: int,
    ) -> None:
        blocks = rule.jacobians[place]
        self._numbers, self._slots, self._kept = blocks.numbers, blocks.rows, blocks.columns
        exits, entries = ({slot: found[slot] for slot in found if slot in self._slots} for found in signals)
        plan = rule.plan.groups[place]
        # One element type for all slots: the widest, as each goes into the adjoints and products of others.
        members = {member: plan.group.hidden_invars[member].dtype for member, _ in plan.slots}
        kind = jnp.result_type(*members.values()) if members else None
        self._zero = {slot: jnp.zeros(plan.group.varshape, kind) for slot in self._slots}
        known = {*self._numbers, *jacobian}
        chain = _reachable(known, self._kept)
        arrays = _arrays(chain, known, {*jacobian})
        ones = (1,) * len(plan.group.varshape)
        start = {(a, b): jnp.full(plan.group.varshape if (a, b) in arrays else ones, a == b, kind) for a, b in chain}
        each = (jacobian, exits, entries)
        first, steps = lax.scan(self._body, (self._zero, start), each, length=length, reverse=True)
        self.first_adjoint, self.first_products = first
        self.adjoint, self.products = steps

    def _body(self, after: tuple[dict[int, Any], Entries], each: Any) -> tuple[Any, Any]:
        adjoint, products = after
        blocks, leaving, entering = each
        blocks = {**self._numbers, **blocks}
        here = {slot: value + leaving[slot] if slot in leaving else value for slot, value in adjoint.items()}
        before = {slot: zero + entering[slot] if slot in entering else zero for slot, zero in self._zero.items()}
        for (row, column), block in blocks.items():
            before[column] = before[column] + block * here[row]
        earlier = {}
        for a, b in products:
            terms = [products[a, c] * blocks[c, b] for c in self._kept if (a, c) in products and (c, b) in blocks]
            earlier[a, b] = reduce(add, terms) if terms else jnp.zeros_like(products[a, b])
        return (before, earlier), (here, products)


def _arrays(
    chain: Sequence[tuple[int, int]], known: Collection[tuple[int, int]], arrays: Collection[tuple[int, int]]
) -> set[tuple[int, int]]:
    """Return which entries of a product of Jacobians differ between positions, if these of one Jacobian do."""
    found: set[tuple[int, int]] = set()
    while more := {
        (a, b)
        for a, c in chain
        for d, b in known
        if c == d and (a, b) in chain and (a, b) not in found and ((a, c) in found or (c, b) in arrays)
    }:
        found |= more
    return found


def _reachable(jacobian: Collection[tuple[int, int]], slots: Sequence[int]) -> list[tuple[int, int]]:
    """Return the entries that a product of Jacobians can have."""
    found = {(a, a) for a in slots} | {(a, b) for a, b in jacobian if a in slots}
    while more := {(a, d) for a, b in found for c, d in jacobian if b == c and (a, d) not in found}:
        found |= more
    return sorted(found)

"""Matching that spreads from matched nodes to those that use them."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol

from .graph import Graph, Interner

__all__ = ["Spreading"]

_NEAR = 8
_DEEPEST = 3


class Numbered(Protocol):
    """What spreading needs to know of one of the two functions; see the sides of a matching."""

    graph: Graph
    todo: list[int]
    partner: list[int]
    slots: list[int]
    exact_leaves: list[int]


class Spreading:
    """Matches nodes of equal content whose operands are all matched, and so on for those that use them.

    Where that comes to an end, nodes without a counterpart are looked past: what uses their first result is compared as
    if it used their first operand. So nodes that were put in, taken out or replaced, one by one, do not stop it. Each
    node is looked at when its last operand gets a number, so that the time is linear in the number of edges.

    Parameters
    ----------
    old, new : Numbered
    intern : Interner
    """

    def __init__(self, old: Numbered, new: Numbered, intern: Interner) -> None:
        self._intern = intern
        self._sides = _Front(old, intern), _Front(new, intern)
        self._changed: list[Hashable] = []
        for front in self._sides:
            for index in front.side.todo:
                if not front.missing[index]:
                    self._reach(front, index)

    def settled(self, old: int, new: int) -> None:
        """Take note of a pair of nodes that were matched."""
        for front, index in zip(self._sides, (old, new), strict=True):
            if front.passed[index]:
                # Its users were compared by what stood for it.
                front.passed[index] = 0
                for _, _, user in front.side.graph.uses[index]:
                    if not front.missing[user]:
                        self._reach(front, user)
            else:
                self._give(front, index)

    def spread(self, settle: Callable[[int, int], None], *, past: bool) -> bool:
        """Match what can be matched, with or without looking past nodes; return whether that was anything.

        Parameters
        ----------
        settle : callable
            Makes partners of an old and a new node, and calls :meth:`settled`.
        past : bool
        """
        found = self._match(settle)
        while past and self._pass():
            found |= self._match(settle)
        return found

    def _match(self, settle: Callable[[int, int], None]) -> bool:
        old, new = self._sides
        found = False
        while self._changed:
            key = self._changed.pop()
            before, after = old.waiting(key), new.waiting(key)
            if len(before) == len(after) == 1:
                settle(before[0], after[0])
                found = True
        return found

    def _pass(self) -> bool:
        """Look past the nodes that stop the spreading; return whether there are any."""
        found = False
        for front in self._sides:
            fresh, front.fresh = front.fresh, []
            for index in fresh:
                if front.side.partner[index] < 0 and not front.passed[index] and front.stand_in(index):
                    front.passed[index] = 1
                    self._give(front, index)
                    found = True
        return found

    def _give(self, front: _Front, index: int) -> None:
        """Let the users of a node know that it has a number."""
        for _, _, user in front.side.graph.uses[index]:
            front.missing[user] -= 1
            if not front.missing[user]:
                self._reach(front, user)

    def _reach(self, front: _Front, index: int) -> None:
        """Give a node a number, now that all of its operands have one."""
        if front.side.partner[index] < 0:
            key = self._intern["spread", front.side.graph.exact[index], *front.operands(index)]
            front.keys[index] = key
            front.reached.setdefault(key, []).append(index)
            front.fresh.append(index)
            self._changed.append(key)


class _Front:
    """How far the spreading has come in one function.

    Attributes
    ----------
    missing : list of int
        For each node the operands that have no number yet.
    passed : bytearray
        The nodes that were looked past.
    reached : dict of int to list of int
        By what they are, the nodes whose operands all have numbers.
    keys : list of int
        What each node was last reached as.
    fresh : list of int
        The nodes reached since the spreading last came to an end.
    """

    def __init__(self, side: Numbered, intern: Interner) -> None:
        graph = side.graph
        self.side = side
        self._intern = intern
        owner, partner = graph.owner, side.partner
        self.missing = [0] * len(graph.nodes)
        for index in side.todo:
            operands = graph.operands[index]
            self.missing[index] = sum([operand >= 0 and partner[owner[operand]] < 0 for operand in operands])
        self.passed = bytearray(len(graph.nodes))
        self.depth = [0] * len(graph.nodes)
        self.reached: dict[Hashable, list[int]] = {}
        self.keys: list[Hashable] = [None] * len(graph.nodes)
        self.fresh: list[int] = []
        self._stand_ins: dict[int, int] = {}

    def operands(self, index: int) -> list[int]:
        return [self._number(operand) for operand in self.side.graph.operands[index]]

    def _number(self, operand: int) -> int:
        if operand < 0:
            return self.side.exact_leaves[~operand]
        graph = self.side.graph
        owner = graph.owner[operand]
        if not self.passed[owner]:
            return self.side.slots[operand]
        rank = operand - graph.start[owner]
        return self._intern["past", self._stand_ins[owner], rank] if rank else self._stand_ins[owner]

    def waiting(self, key: Hashable) -> list[int]:
        """Return the unmatched nodes that were last reached as `key`; too many to tell apart count as none."""
        found = self.reached.get(key, [])
        if len(found) > _NEAR:
            return []
        return [index for index in dict.fromkeys(found) if self.side.partner[index] < 0 and self.keys[index] == key]

    def stand_in(self, index: int) -> bool:
        """Let the first operand that is no number stand for a node, unless too many do so in a row."""
        graph = self.side.graph
        behind = [
            owner
            for operand in graph.operands[index][:_NEAR]
            if operand >= 0 and self.passed[owner := graph.owner[operand]]
        ]
        self.depth[index] = 1 + max((self.depth[owner] for owner in behind), default=0)
        if self.depth[index] > _DEEPEST or graph.start[index + 1] == graph.start[index]:
            return False
        for operand in graph.operands[index][:_NEAR]:
            if operand >= 0 or not graph.is_number(~operand):
                self._stand_ins[index] = self._number(operand)
                return True
        return False

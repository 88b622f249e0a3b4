"""Matching of the nodes of two versions of a function.

Nodes are numbered by what they compute (bottom-up) and by what becomes of their results (top-down). After an edit the
first numbers change and the second stay; before it, the other way round. So one edit leaves only itself unmatched.
Between two edits both change; there the matching spreads from what is matched, past what is not. What is left is
numbered again, with matched nodes as equal leaves. A round takes time in the number of nodes that are still unmatched,
and the time of all rounds is bounded, so that versions with little in common are not searched for long.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

from .graph import Graph, Interner
from .spreading import Spreading

__all__ = ["Pairs", "match_nodes"]

Pairs = Sequence[tuple[int, int]]
"""Positions or indices in the old and in the new version that correspond."""

_VISITS = 32
"""How often rounds may look at each node of two large functions; an edit in every layer of a model takes twenty."""
_ALWAYS = 100_000
"""As many visits as need not be counted."""
_Keys = Iterable[Hashable]
"""A key for each unmatched node of a side, in order; None for what cannot be matched."""


def match_nodes(old: Graph, new: Graph, inputs: Pairs, outputs: Pairs, intern: Interner) -> list[int]:
    """Return for each node of the old function its partner in the new one, or -1.

    Parameters
    ----------
    old, new : Graph
    inputs, outputs : pairs of int
        The inputs and the outputs that correspond, by position.
    intern : Interner
        The one that numbered the content of both graphs.
    """
    matching = _Matching(
        _Side(old, "old", dict(inputs), dict(outputs), intern),
        _Side(
            new,
            "new",
            {position: before for before, position in inputs},
            {position: before for before, position in outputs},
            intern,
        ),
        intern,
    )
    matching.run()
    return matching.old.partner


class _Side:
    """One of the two functions, and the numbers of its nodes.

    A matched input, output or node has the same number on both sides.
    """

    def __init__(
        self, graph: Graph, name: str, inputs: Mapping[int, int], outputs: Mapping[int, int], intern: Interner
    ) -> None:
        self.graph = graph
        self.partner = [-1] * len(graph.nodes)
        self.todo = list(range(len(graph.nodes)))
        self.slots = [-1] * len(graph.owner)
        self.up = [-1] * len(graph.nodes)
        self.down = [-1] * len(graph.nodes)

        def number(kind: str, positions: Mapping[int, int], position: int) -> Hashable:
            if position not in positions:
                return kind, name, position
            return kind, position if name == "old" else positions[position]

        self.outputs = [intern[number("output", outputs, position)] for position in range(len(graph.outputs))]
        self.exact_leaves = graph.leaf_tokens(intern, lambda position: number("input", inputs, position))
        self.loose_leaves = graph.loose_leaf_tokens(intern, lambda position: number("input", inputs, position))

    def hash(self, exact: bool, intern: Interner) -> None:
        content = self.graph.exact if exact else self.graph.loose
        leaves = self.exact_leaves if exact else self.loose_leaves
        self.graph.hash_up(self.todo, content, leaves, self.slots, self.up, intern)
        self.graph.hash_down(reversed(self.todo), content, self.outputs, self.down, intern)

    def settle(self, index: int, partner: int, number: int, intern: Interner) -> None:
        self.partner[index] = partner
        self.up[index] = self.down[index] = number
        self.graph.set_slots(self.slots, index, number, intern)

    # Keys of the unmatched nodes

    def both(self) -> _Keys:
        return [(self.up[index], self.down[index]) for index in self.todo]

    def ups(self) -> _Keys:
        return [self.up[index] for index in self.todo]

    def downs(self) -> _Keys:
        uses, returned = self.graph.uses, self.graph.returned
        return [self.down[index] if uses[index] or returned[index] else None for index in self.todo]


class _Matching:
    def __init__(self, old: _Side, new: _Side, intern: Interner) -> None:
        self.old = old
        self.new = new
        self.intern = intern
        self.spreading: Spreading | None = None
        self._hashed: bool | None = None

    def run(self) -> None:
        stages = (
            self._equal,
            self._equal_in_order,
            self._equal_past_another,
            self._alike,
            self._used_alike,
            self._made_alike,
        )
        stage = 0
        left = max(_ALWAYS, _VISITS * (len(self.old.todo) + len(self.new.todo)))
        while stage < len(stages) and left > 0 and self.old.todo and self.new.todo:
            left -= len(self.old.todo) + len(self.new.todo)
            if stages[stage]():
                self._spread(past=False)
                stage = 0
            else:
                stage += 1

    # The stages, strictest first; each says whether it matched anything.

    def _equal(self) -> bool:
        """Match nodes of equal content with equal consequences, then with equal operands."""
        self._hash(exact=True)
        return self._match_hashed()

    def _equal_in_order(self) -> bool:
        """Match what is equal several times in order, preferably within a scope."""
        self._hash(exact=True)

        def both_in_scope(side: _Side) -> _Keys:
            return [(side.up[index], side.down[index], side.graph.nodes[index].scope) for index in side.todo]

        found = self._match(both_in_scope, in_order=True)
        found |= self._match(_Side.both, in_order=True)
        return self._match(_Side.ups, in_order=True) or found

    def _equal_past_another(self) -> bool:
        """Match nodes with equal operands, if one looks past nodes that were put in, taken out or replaced."""
        return self._spread(past=True)

    def _spread(self, *, past: bool) -> bool:
        if self.spreading is None:
            # Not before most nodes are matched, which it then need not look at.
            self.spreading = Spreading(self.old, self.new, self.intern)
        found = self.spreading.spread(self._settle, past=past)
        self._forget_matched()
        return found

    def _alike(self) -> bool:
        """Match nodes of one operation, whatever the attributes, types and numbers."""
        self._hash(exact=False)
        return self._match_hashed()

    def _match_hashed(self) -> bool:
        """Match nodes with equal consequences and operands, with equal consequences, then with equal operands."""
        found = self._match(_Side.both)
        # What uses a node tells live nodes apart; a node that nothing uses is told by its operands alone.
        found |= self._match(_Side.downs)
        return self._match(_Side.ups) or found

    def _used_alike(self) -> bool:
        """Match nodes that the same matched nodes use in the same places: an operation was replaced."""

        def keys(side: _Side) -> _Keys:
            def of(index: int) -> Hashable:
                uses, returned = side.graph.uses[index], side.graph.returned[index]
                if not (uses or returned) or any(side.partner[user] < 0 for _, _, user in uses):
                    return None
                return (
                    side.graph.nodes[index].types,
                    tuple(sorted((rank, position, side.down[user]) for rank, position, user in uses)),
                    tuple([(rank, side.outputs[position]) for rank, position in returned]),
                )

            return map(of, side.todo)

        return self._match(keys)

    def _made_alike(self) -> bool:
        """Match nodes of one operation that share a matched operand in the same place."""

        def keys(side: _Side) -> _Keys:
            def of(index: int) -> Hashable:
                graph = side.graph
                known = [
                    (position, side.slots[operand])
                    for position, operand in enumerate(graph.operands[index])
                    if operand >= 0 and side.partner[graph.owner[operand]] >= 0
                ]
                return (graph.nodes[index].op, graph.nodes[index].types, tuple(known)) if known else None

            return map(of, side.todo)

        return self._match(keys)

    def _hash(self, *, exact: bool) -> None:
        """Hash what is unmatched, unless that was done and nothing was matched since."""
        if self._hashed is not exact:
            self.old.hash(exact, self.intern)
            self.new.hash(exact, self.intern)
            self._hashed = exact

    def _match(self, keys: Callable[[_Side], _Keys], *, in_order: bool = False) -> bool:
        """Match the nodes with equal keys: those whose key is unique on both sides, or all in order."""
        groups: dict[Hashable, list[int]] = {}
        for index, key in zip(self.new.todo, keys(self.new), strict=True):
            if key is not None:
                groups.setdefault(key, []).append(index)
        olds: dict[Hashable, list[int]] = {}
        for index, key in zip(self.old.todo, keys(self.old), strict=True):
            if key in groups:
                olds.setdefault(key, []).append(index)
        matched = False
        for key, before in olds.items():
            after = groups[key]
            if in_order or len(before) == len(after) == 1:
                for first, second in zip(before, after, strict=False):
                    self._settle(first, second)
                matched = True
        if matched:
            self._forget_matched()
        return matched

    def _forget_matched(self) -> None:
        for side in (self.old, self.new):
            side.todo = [index for index in side.todo if side.partner[index] < 0]

    def _settle(self, before: int, after: int) -> None:
        self._hashed = None
        number = self.intern["pair", before, after]
        self.old.settle(before, after, number, self.intern)
        self.new.settle(after, before, number, self.intern)
        if self.spreading is not None:
            self.spreading.settled(before, after)

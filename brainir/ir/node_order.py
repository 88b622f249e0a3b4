"""The canonical order of the nodes of a function."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

from .effects import runs_effects
from .encoding import dump_bare_node
from .program import Function

__all__ = ["Walk", "content_hash"]


def content_hash(*parts: object) -> str:
    """Return the sha256 of texts, numbers and tuples of them."""
    return hashlib.sha256(repr(parts).encode()).hexdigest()


class Walk:
    """The canonical order of the nodes of a function.

    Parameters
    ----------
    function, callee_keys, effectful
        As :func:`~brainir.ir.canonical.structural_key` takes them.
    content : dict of str to pair of str
        Type and hash of each constant, by name.

    Attributes
    ----------
    order : list of int
        Indices of the nodes.
    settled : bool
        Whether the order is the same whatever the referenced functions are.
    """

    def __init__(
        self,
        function: Function,
        callee_keys: Mapping[str, str],
        effectful: Collection[str],
        content: dict[str, tuple[str, str]],
    ) -> None:
        self.order: list[int] = []
        self.settled = True
        self._nodes = function.nodes
        self._producer = {name: index for index, node in enumerate(function.nodes) for name in node.outputs}
        self._ordered = bytearray(len(function.nodes))
        for index, node in enumerate(function.nodes):
            # Before the outputs, which may need effectful nodes in another order than they run in.
            if runs_effects(node, effectful):
                self._visit(index)
        for output in function.outputs:
            if output in self._producer:
                self._visit(self._producer[output])
        if len(self.order) < len(self._nodes):
            self._place: dict[str, object] = {**content}
            self._place.update((name, f"x{position}") for position, name in enumerate(function.inputs))
            self._visit_dead(callee_keys)

    def _visit(self, root: int) -> None:
        """Append a node, after all it needs, operands in order."""
        entered: set[int] = set()
        stack = [root]
        while stack:
            index = stack[-1]
            if self._ordered[index]:
                stack.pop()
            elif index in entered:
                stack.pop()
                self._ordered[index] = 1
                self.order.append(index)
            else:
                entered.add(index)
                operands = (self._producer.get(operand) for operand in reversed(self._nodes[index].inputs))
                stack.extend(operand for operand in operands if operand is not None and not self._ordered[operand])

    def _visit_dead(self, callee_keys: Mapping[str, str]) -> None:
        """Append the nodes that neither outputs nor effects need.

        Only their content and their place in the graph give these an order. They are coloured by both; nodes
        of equal colour can change places, so any of them may come first, and what is left is coloured anew.
        """
        dead = [index for index in range(len(self._nodes)) if not self._ordered[index]]
        self.settled = not any(self._nodes[index].reference_names() for index in dead)
        content = {index: dump_bare_node(self._nodes[index], (), (), callee_keys) for index in dead}
        placed = 0
        pending = [dead]
        while pending:
            part = pending.pop()
            if len(part) == 1:
                self._visit(part[0])
                continue
            for position in range(placed, len(self.order)):
                outputs = self._nodes[self.order[position]].outputs
                self._place.update((name, f"v{position}.{rank}") for rank, name in enumerate(outputs))
            placed = len(self.order)
            users = self._users(part)
            colors = self._colors(part, users, content)
            groups = _connected(users)
            if len(groups) > 1:
                groups.sort(key=lambda group: sorted(colors[index] for index in group), reverse=True)
                pending.extend(groups)
                continue
            sinks = sorted((index for index in part if not users[index]), key=colors.__getitem__)
            for index, following in zip(sinks, [*sinks[1:], None], strict=True):
                self._visit(index)
                if following is not None and colors[following] == colors[index]:
                    break
            if rest := [index for index in part if not self._ordered[index]]:
                pending.append(rest)

    def _users(self, part: list[int]) -> dict[int, list[tuple[int, int, int]]]:
        """Return for each node its users in the part: rank of the result, position of the operand, user."""
        users: dict[int, list[tuple[int, int, int]]] = {index: [] for index in part}
        for index in part:
            for position, operand in enumerate(self._nodes[index].inputs):
                producer = self._producer.get(operand)
                if producer in users:
                    rank = self._nodes[producer].outputs.index(operand)
                    users[producer].append((rank, position, index))
        return users

    def _colors(
        self, part: list[int], users: dict[int, list[tuple[int, int, int]]], content: dict[int, str]
    ) -> dict[int, str]:
        """Colour nodes by content, operands and users, until no colour splits."""
        colors = {index: content[index] for index in part}
        classes, refined = 0, len(set(colors.values()))
        while refined > classes:
            classes = refined
            for index in part:
                operands: list[tuple[object, int]] = []
                for operand in self._nodes[index].inputs:
                    producer = self._producer.get(operand)
                    if producer in colors:
                        operands.append((colors[producer], self._nodes[producer].outputs.index(operand)))
                    else:
                        operands.append((self._place.get(operand, operand), -1))
                colors[index] = content_hash(colors[index], operands)
            for index in reversed(part):
                above = sorted((rank, position, colors[user]) for rank, position, user in users[index])
                colors[index] = content_hash(colors[index], above)
            refined = len(set(colors.values()))
        return colors


def _connected(users: dict[int, list[tuple[int, int, int]]]) -> list[list[int]]:
    """Split nodes into groups that no edge joins, each in program order."""
    neighbours: dict[int, list[int]] = {index: [] for index in users}
    for index, edges in users.items():
        for _, _, user in edges:
            neighbours[index].append(user)
            neighbours[user].append(index)
    groups = []
    seen: set[int] = set()
    for start in users:
        group, waiting = [], [start]
        while waiting:
            index = waiting.pop()
            if index not in seen:
                seen.add(index)
                group.append(index)
                waiting.extend(neighbours[index])
        if group:
            groups.append(sorted(group))
    return groups

"""A function as arrays of numbers: what a node is, what it uses and who uses it, ready to be hashed."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable

from ..node import Node
from ..program import Function
from ..types import is_literal

__all__ = ["Graph", "Interner"]


class Interner(defaultdict[Hashable, int]):
    """Gives equal things equal numbers, and different things different ones, without hashing large keys again."""

    def __init__(self) -> None:
        super().__init__(itertools.count().__next__)


class Graph:
    """The nodes of a function and the edges between them.

    Results of nodes have a slot each, in order. An operand is a slot, or ``~k`` for leaf ``k``: an input, a constant
    or a literal.

    Parameters
    ----------
    function : Function
    intern : Interner
    reference : callable
        What stands for a function that a node refers to; equal for functions that count as equal.

    Attributes
    ----------
    exact, loose : list of int
        What each node is, all attributes and result types included; its operation alone.
    start : list of int
        The first slot of each node, and the number of slots.
    owner : list of int
        The node of each slot.
    operands : list of tuple of int
    outputs : tuple of int
        What the function returns.
    uses : list of list of tuple of int
        For each node the places that use it: rank of the result, position of the operand, user.
    returned : list of list of tuple of int
        For each node the outputs that return it: rank of the result, position of the output.
    leaves : list of str
        The names and literals of the leaves.
    referring : list of int
        The nodes that refer to functions.
    contents : dict of str to pair of str
        Type and sha256 of each constant.
    """

    def __init__(self, function: Function, intern: Interner, reference: Callable[[str], Hashable]) -> None:
        self.function = function
        self.nodes = function.nodes
        self.contents = {constant.name: (constant.type, constant.digest()) for constant in function.constants}
        self.leaves: list[str] = []
        self.start: list[int] = []
        self.owner: list[int] = []
        self.operands: list[tuple[int, ...]] = []
        self.uses: list[list[tuple[int, int, int]]] = [[] for _ in function.nodes]
        self.returned: list[list[tuple[int, int]]] = [[] for _ in function.nodes]
        self.exact: list[int] = []
        self.loose: list[int] = []
        self._place: dict[str, int] = {}
        for index, node in enumerate(function.nodes):
            operands = self._operands(node.inputs)
            for position, operand in enumerate(operands):
                if operand >= 0:
                    owner = self.owner[operand]
                    self.uses[owner].append((operand - self.start[owner], position, index))
            self.operands.append(operands)
            self.start.append(len(self.owner))
            for name in node.outputs:
                self._place[name] = len(self.owner)
                self.owner.append(index)
            self.exact.append(intern[_content(node, reference)])
            self.loose.append(intern["op", node.op])
        self.start.append(len(self.owner))
        self.referring = [index for index, node in enumerate(function.nodes) if type(node).reference_names()]
        self.outputs = tuple(
            [self._place[name] if name in self._place else self._leaf(name) for name in function.outputs]
        )
        for position, operand in enumerate(self.outputs):
            if operand >= 0:
                owner = self.owner[operand]
                self.returned[owner].append((operand - self.start[owner], position))

    def _operands(self, names: Iterable[str]) -> tuple[int, ...]:
        place = self._place
        return tuple([place[name] if name in place else self._leaf(name) for name in names])

    def _leaf(self, name: str) -> int:
        self.leaves.append(name)
        place = self._place[name] = ~(len(self.leaves) - 1)
        return place

    def is_number(self, leaf: int) -> bool:
        """Whether a leaf is a literal or a constant."""
        return is_literal(self.leaves[leaf]) or self.leaves[leaf] in self.contents

    def refer(self, intern: Interner, reference: Callable[[str], Hashable]) -> None:
        """Renumber the content of the nodes that refer to functions."""
        for index in self.referring:
            self.exact[index] = intern[_content(self.nodes[index], reference)]

    def leaf_tokens(self, intern: Interner, input_token: Callable[[int], Hashable]) -> list[int]:
        """Return a number for each leaf: literals and constants by content, inputs as the caller says."""
        position = {name: index for index, name in enumerate(self.function.inputs)}
        return [
            intern["literal", name]
            if is_literal(name)
            else intern["constant", *self.contents[name]]
            if name in self.contents
            else intern["input", input_token(position[name])]
            for name in self.leaves
        ]

    def loose_leaf_tokens(self, intern: Interner, input_token: Callable[[int], Hashable]) -> list[int]:
        """Return a number for each leaf, where one constant or literal is like another."""
        position = {name: index for index, name in enumerate(self.function.inputs)}
        number = intern["number",]
        return [intern["input", input_token(position[name])] if name in position else number for name in self.leaves]

    def hash_up(
        self,
        todo: Iterable[int],
        content: list[int],
        leaves: list[int],
        slots: list[int],
        up: list[int],
        intern: Interner,
    ) -> None:
        """Give nodes numbers by what they compute: content and operands.

        Parameters
        ----------
        todo : iterable of int
            The nodes, in order; others have their number already.
        content, leaves : list of int
            Numbers of nodes and leaves.
        slots, up : list of int
            The numbers of results and of nodes; filled in.
        intern : Interner
        """
        for index in todo:
            operands = [slots[operand] if operand >= 0 else leaves[~operand] for operand in self.operands[index]]
            number = up[index] = intern[content[index], *operands]
            if self.start[index + 1] - self.start[index] == 1:
                slots[self.start[index]] = number
            else:
                self.set_slots(slots, index, number, intern)

    def set_slots(self, slots: list[int], index: int, number: int, intern: Interner) -> None:
        """Give the results of a node the numbers that follow from the number of the node."""
        first, end = self.start[index], self.start[index + 1]
        if end > first:
            slots[first] = number
        for slot in range(first + 1, end):
            slots[slot] = intern["rank", number, slot - first]

    def hash_down(
        self,
        todo: Iterable[int],
        content: list[int],
        outputs: list[int],
        down: list[int],
        intern: Interner,
    ) -> None:
        """Give nodes numbers by what becomes of their results.

        Parameters
        ----------
        todo : iterable of int
            The nodes, last first; others have their number already.
        content : list of int
        outputs : list of int
            The numbers of the function's outputs.
        down : list of int
            The numbers of nodes; filled in.
        intern : Interner
        """
        for index in todo:
            uses, returned = self.uses[index], self.returned[index]
            if len(uses) == 1 and not returned:
                rank, position, user = uses[0]
                down[index] = intern["down", content[index], rank, position, down[user]]
            else:
                used = sorted([(rank, position, down[user]) for rank, position, user in uses])
                kept = [(rank, outputs[position]) for rank, position in returned]
                down[index] = intern["down", content[index], tuple(used), tuple(kept)]


def _content(node: Node, reference: Callable[[str], Hashable]) -> Hashable:
    names = type(node).attribute_names()
    if not names:
        return node.op, node.types
    references = type(node).reference_names()
    if not references:
        # 1, 1.0 and True are different attributes, and so are 0.0 and -0.0; their text tells them apart.
        return node.op, node.types, tuple([repr(getattr(node, name)) for name in names])
    values: list[Hashable] = []
    for name in names:
        value = getattr(node, name)
        if name not in references or value is None:
            values.append(repr(value))
        else:
            values.append(reference(value) if isinstance(value, str) else tuple(map(reference, value)))
    return node.op, node.types, tuple(values)

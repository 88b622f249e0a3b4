"""Nodes that moved from one function to another."""

from __future__ import annotations

from collections.abc import Hashable, Iterator

from ..node import Node
from .program_matching import ProgramMatching

__all__ = ["Moves"]


class Moves:
    """Nodes without counterpart that have just one equal in another function of the other version.

    Equal are nodes of one operation with the same attributes, types and source but for the line number.

    Parameters
    ----------
    matching : ProgramMatching

    Attributes
    ----------
    origin : dict of int to pair of str and Node
        By the ``id`` of a new node: the function it was in, and the old node.
    gone : set of int
        The ``id`` of each old node that moved.
    """

    def __init__(self, matching: ProgramMatching) -> None:
        self.origin: dict[int, tuple[str, Node]] = {}
        self.gone: set[int] = set()
        came = _by_content(_unmatched(matching, old=False))
        if not came:
            return
        for key, olds in _by_content(_unmatched(matching, old=True)).items():
            news = came.get(key, [])
            if len(olds) == len(news) == 1:
                (before, old), (after, new) = olds[0], news[0]
                pair = matching.of_new.get(after)
                if pair is None or pair.old.name != before:
                    self.origin[id(new)] = before, old
                    self.gone.add(id(old))


def _unmatched(matching: ProgramMatching, *, old: bool) -> Iterator[tuple[str, Node]]:
    program, known = (matching.old, matching.of_old) if old else (matching.new, matching.of_new)
    for function in program.functions:
        pair = known.get(function.name)
        if pair is None:
            if not matching.has_equal(**{"old" if old else "new": function.name}):
                yield from ((function.name, node) for node in function.nodes)
        else:
            partners = pair.nodes if old else pair.old_nodes
            yield from ((function.name, node) for node, at in zip(function.nodes, partners, strict=True) if at < 0)


def _by_content(nodes: Iterator[tuple[str, Node]]) -> dict[Hashable, list[tuple[str, Node]]]:
    groups: dict[Hashable, list[tuple[str, Node]]] = {}
    for name, node in nodes:
        attributes = repr([value for key, value in node.attributes().items() if key not in node.reference_names()])
        groups.setdefault((node.op, node.types, attributes, node.place), []).append((name, node))
    return groups

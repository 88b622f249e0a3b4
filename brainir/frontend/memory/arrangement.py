"""How the functions of a program stand in it in the end, remembered by the functions that it is made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...ir.program import Function
from .latest import Latest

__all__ = ["ARRANGEMENTS", "Arrangement"]


@dataclass(frozen=True, slots=True)
class Arrangement:
    """What an entry refers to, directly or not, in the order and under the names that it has in the program.

    Parameters
    ----------
    made_of : tuple of Function
        As they were lowered. Kept alive, because their ids are in the key.
    outlines : frozenset
        What they look like from far; an entry that looks like one of them can be equal to it.
    functions : tuple of Function
        In order of reference, equal ones once.
    names : mapping of str to str
        What each function that was lowered is called now, and the entry.
    mixed : int
        How often a function stands for an equal one that is written otherwise.
    """

    made_of: tuple[Function, ...]
    outlines: frozenset[object]
    functions: tuple[Function, ...]
    names: Mapping[str, str]
    mixed: int

    @property
    def nodes(self) -> int:
        """How many nodes the functions have."""
        return sum([len(function.nodes) for function in self.made_of])


ARRANGEMENTS: Latest[Arrangement] = Latest(1 << 16, lambda arrangement: arrangement.nodes)
"""The arrangements that were used last, up to so many nodes, by the entry and by the ids of what it is made of."""

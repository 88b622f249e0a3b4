"""How the functions of a program stand in it in the end, remembered by the functions that it is made of."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from ...ir.program import Function

__all__ = ["ARRANGEMENTS", "Arrangement", "ArrangementMemory"]

_MOST_NODES = 1 << 16


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


class ArrangementMemory:
    """The arrangements that were used last."""

    def __init__(self) -> None:
        self._held: OrderedDict[Hashable, Arrangement] = OrderedDict()
        self._nodes = 0
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Arrangement | None:
        """Return what is known."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def keep(self, key: Hashable, arrangement: Arrangement) -> None:
        """Remember an arrangement by the entry and by the ids of what it is made of."""
        with self._lock:
            replaced = self._held.pop(key, None)
            self._nodes += arrangement.nodes - (replaced.nodes if replaced is not None else 0)
            self._held[key] = arrangement
            while self._nodes > _MOST_NODES:
                self._nodes -= self._held.popitem(last=False)[1].nodes

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._nodes = 0


ARRANGEMENTS = ArrangementMemory()
"""The memory of this process."""

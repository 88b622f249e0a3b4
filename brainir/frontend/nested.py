"""The nested functions of a program by the jaxpr that each comes from, and those that are the same in every program."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from ..ir.program import Function
from .jit_memory import JITS, LoweredFunctions, LoweredJit, Octets, Rule
from .remembering import Remembering
from .table import Table

__all__ = ["NestedFunctions"]

_MOST_BYTES = 1 << 12


class _Met(NamedTuple):
    """A jaxpr that was met, kept alive because its id is a key.

    Parameters
    ----------
    closed
    name : str
        Of the function in the table.
    wanted : str
        The name that was asked for.
    alone : bool
        Whether the function depends on nothing but the jaxpr and `depends`.
    depends : tuple of Rule or Octets
    """

    closed: Any
    name: str
    wanted: str
    alone: bool
    depends: tuple[Rule | Octets, ...]


class NestedFunctions:
    """Lowers each jaxpr of a program once, and that of a nested jit once in a process where nothing can tell.

    Parameters
    ----------
    table : Table
        Where the functions are.
    memory : Remembering
        Says what derivative rules depend on.
    keep : frozenset of str
        Names of primitives that are left as they are.

    Attributes
    ----------
    met : dict
        Jaxprs that were lowered, by their ids.
    jits : dict
        Which of them are those of nested jits.
    """

    def __init__(self, table: Table, memory: Remembering, keep: frozenset[str]) -> None:
        self._table = table
        self._memory = memory
        self._keep = keep
        self.met: dict[int, _Met] = {}
        self.jits: dict[int, None] = {}
        self._depends: list[Rule | Octets] = []
        self._ties = 0

    def tie(self) -> None:
        """Note that what is being lowered depends on more than its jaxpr."""
        self._ties += 1

    def depend(self, rule: Rule) -> None:
        """Note the derivative rules that what is being lowered depends on."""
        self._depends.append(rule)

    def read(self, array: np.ndarray[Any, Any]) -> None:
        """Note an array of numpy that is part of what is being lowered."""
        if array.nbytes > _MOST_BYTES:
            self.tie()
        else:
            self._depends.append(Octets(array, array.tobytes()))

    def lowered(self, closed: Any, wanted: str, lower: Callable[[], Function]) -> str:
        """Return the name of the function of a jaxpr, lowered if it was not met before."""
        met = self.met.get(id(closed))
        if met is None:
            first, ties = len(self._depends), self._all_ties()
            name = self._table.stored(lower())
            alone = self._all_ties() == ties
            depends = {id(each): each for each in self._depends[first:]}
            met = self.met[id(closed)] = _Met(closed, name, wanted, alone, tuple(depends.values()))
        else:
            self._ties += not met.alone or met.wanted != wanted
            self._depends += met.depends
        return met.name

    def recall(self, closed: Any, wanted: str) -> None:
        """Take what the jaxpr of a nested jit was lowered to in an earlier program, if it would be lowered to that."""
        if id(closed) in self.met:
            return
        self.jits[id(closed)] = None
        known = JITS.find(closed)
        if known is not None and self._holds(known, wanted) and self._table.take(known):
            self.met[id(closed)] = _Met(closed, known.name, wanted, True, known.depends)

    def finished(self, entry: str) -> tuple[Function, ...]:
        """Return the functions that the entry leads to, as :meth:`Table.finished` does, and remember those of jits."""
        mixed = self._table.mixed
        finished = self._table.finished(entry)
        if self._table.mixed == mixed and not finished.is_known:
            self._remember(finished.functions[1:], finished.names)
        return finished.functions

    def _remember(self, functions: Sequence[Function], names: Mapping[str, str]) -> None:
        table = self._table
        jits = [met for met in map(self.met.__getitem__, self.jits) if met.alone and met.name in names]
        if not jits:
            return
        wanted = {new: table.wanted[old] for old, new in names.items()}
        rules = frozenset([names[name] for name in table.rules if name in names])
        together = LoweredFunctions(functions, [names[met.name] for met in jits], wanted, rules)
        for met in jits if together.can_be_kept() else ():
            JITS.keep(met.closed, LoweredJit(names[met.name], together, met.depends, self._settings()))

    def _holds(self, known: LoweredJit, wanted: str) -> bool:
        return (
            known.settings == self._settings()
            and known.functions.wanted[known.name] == wanted
            and all(map(self._is_as_it_was, known.depends))
        )

    def _settings(self) -> Hashable:
        return self._keep, self._memory.settings

    def _is_as_it_was(self, known: Rule | Octets) -> bool:
        if isinstance(known, Octets):
            return known.array.tobytes() == known.octets
        return self._memory.of_rules(known.equation, known.base) == known.behaviour

    def _all_ties(self) -> int:
        return self._ties + self._table.mixed

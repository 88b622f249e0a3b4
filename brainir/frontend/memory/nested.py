"""The nested functions of a program by the jaxpr that each comes from, and those that are the same in every program."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, NamedTuple

from ...ir.program import Function
from .. import jax_compat
from ..derivatives.jax_rules import made_of
from ..table import Table
from .dependencies import ArrayDependency, Dependencies, Dependency
from .jaxprs import LOWERED_JAXPRS, LoweredFunctions, LoweredJaxpr
from .remembering import RuleMemory

__all__ = ["NestedFunctions"]


class _Met(NamedTuple):
    """A jaxpr that was met.

    Parameters
    ----------
    jaxpr
        Kept alive, because its id is a key.
    name : str
        Of the function in the table.
    wanted : str
        The name that was asked for.
    depends : Dependencies
        What the function depends on.
    """

    jaxpr: Any
    name: str
    wanted: str
    depends: Dependencies


class NestedFunctions:
    """Lowers each jaxpr of a program once, and one that JAX keeps once in a process where nothing can tell.

    Parameters
    ----------
    table : Table
        Where the functions are.
    memory : RuleMemory
        Says what derivative rules depend on.
    keep : frozenset of str
        Names of primitives that are left as they are.

    Attributes
    ----------
    met : dict
        Jaxprs that were lowered, by their ids.
    kept : dict
        Which of them JAX keeps, as far as is known; whether they were lowered for this program.
    """

    def __init__(self, table: Table, memory: RuleMemory, keep: frozenset[str]) -> None:
        self._table = table
        self._memory = memory
        self._keep = keep
        self.met: dict[int, _Met] = {}
        self.kept: dict[int, bool] = {}

    def lowered(self, closed: Any, wanted: str, around: Dependencies, lower: Callable[[Dependencies], Function]) -> str:
        """Return the name of the function of a jaxpr, lowered if it was not met before.

        Parameters
        ----------
        closed
        wanted : str
            Name that its function is to have.
        around : Dependencies
            Of the function that calls it.
        lower : callable
            Lowers it, and notes what it depends on.
        """
        jaxpr = jax_compat.kept_jaxpr(closed)
        met = self.met.get(id(jaxpr))
        if met is None:
            depends, mixed = Dependencies(), self._table.mixed
            name = self._table.stored(lower(depends))
            if self._table.mixed != mixed:
                depends.tie()
            met = self.met[id(jaxpr)] = _Met(jaxpr, name, wanted, depends)
        elif met.wanted != wanted:
            around.tie()
        around.include(met.depends)
        return met.name

    def recall(self, closed: Any, wanted: str, is_kept: bool) -> None:
        """Take what a jaxpr was lowered to in an earlier program, if it would be lowered to that.

        Parameters
        ----------
        closed
        wanted : str
            Name that its function is to have.
        is_kept : bool
            Whether JAX keeps the jaxpr in any case; else it does if it was met before.
        """
        jaxpr = jax_compat.kept_jaxpr(closed)
        if id(jaxpr) in self.met:
            return
        if jaxpr not in LOWERED_JAXPRS:
            LOWERED_JAXPRS.keep(jaxpr, None)
            if not is_kept:
                return
        known = LOWERED_JAXPRS.find(jaxpr)
        taken = known is not None and self._holds(known, wanted) and self._table.take(known)
        self.kept[id(jaxpr)] = not taken
        if known is not None and taken:
            self.met[id(jaxpr)] = _Met(jaxpr, known.name, wanted, Dependencies(known.depends))

    def finished(self, entry: str) -> tuple[Function, ...]:
        """Return the functions that the entry leads to, as :meth:`Table.finished` does, and remember those to keep."""
        mixed = self._table.mixed
        finished = self._table.finished(entry)
        if self._table.mixed == mixed and (self._table.sources > 1 or any(self.kept.values())):
            self._remember(finished.functions[1:], finished.names)
        return finished.functions

    def _remember(self, functions: Sequence[Function], names: Mapping[str, str]) -> None:
        table = self._table
        kept = [met for met in map(self.met.__getitem__, self.kept) if met.depends.alone and met.name in names]
        if not kept:
            return
        wanted = {new: table.wanted[old] for old, new in names.items()}
        rules = frozenset([names[name] for name in table.rules if name in names])
        together = LoweredFunctions(functions, [names[met.name] for met in kept], wanted, rules)
        for met in kept if together.can_be_kept() else ():
            LOWERED_JAXPRS.keep(met.jaxpr, LoweredJaxpr(names[met.name], together, met.depends.found, self._settings()))

    def _holds(self, known: LoweredJaxpr, wanted: str) -> bool:
        return (
            known.settings == self._settings()
            and known.functions.wanted[known.name] == wanted
            and all(map(self._is_as_it_was, known.depends))
        )

    def _settings(self) -> Hashable:
        return self._keep, self._memory.settings

    def _is_as_it_was(self, known: Dependency) -> bool:
        if isinstance(known, ArrayDependency):
            return known.array.tobytes() == known.octets
        return self._memory.behaviour(known.equation, made_of(known.equation, known.base)) == known.behaviour

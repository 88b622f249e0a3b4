"""Nested functions that were lowered before, by the jaxpr that each comes from.

JAX traces a jitted function, and one that a loop or a branch runs, once for each type of its operands, and hands out
one jaxpr for as long as the Python function lives. What that was lowered to is remembered for as long as the jaxpr
lives: a call of a function that JAX knows costs lowering, like tracing, no more than the call.
"""

from __future__ import annotations

import functools
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ...ir.program import Function
from ...ir.sharing import reachable_functions, written_form
from .alive import WhileAlive
from .dependencies import Dependency
from .functions import constant_bytes

__all__ = ["LOWERED_JAXPRS", "LoweredFunctions", "LoweredJaxpr"]

_MOST_NODES = 1 << 15
_MOST_BYTES = 1 << 20


@dataclass(frozen=True)
class Reached:
    """A function and those that it leads to.

    Parameters
    ----------
    functions : dict of str to Function
        By name.
    wanted : dict of str to str
        For each, the name that it would have if it were alone.
    rules : set of str
        Which of them are derivative rules.
    """

    functions: dict[str, Function]
    wanted: dict[str, str]
    rules: frozenset[str]

    @functools.cached_property
    def forms(self) -> dict[Hashable, str]:
        """The names of those that are no rules, by :func:`~brainir.ir.sharing.written_form`."""
        return {written_form(part): name for name, part in self.functions.items() if name not in self.rules}


class LoweredFunctions:
    """Functions of one program, no two of them equal.

    Parameters
    ----------
    functions : sequence of Function
        All but the entry.
    roots : sequence of str
        What is kept of them: these, and those that they lead to.
    wanted : dict of str to str
        For each, the name that it would have if it were alone.
    rules : set of str
        Which of them are derivative rules.
    """

    def __init__(
        self, functions: Sequence[Function], roots: Sequence[str], wanted: dict[str, str], rules: frozenset[str]
    ) -> None:
        table = {function.name: function for function in functions}
        self.functions: dict[str, Function] = {}
        waiting = [*roots]
        while waiting:
            name = waiting.pop()
            if name not in self.functions:
                self.functions[name] = table[name]
                waiting.extend(table[name].callees)
        self.wanted = wanted
        self.rules = rules
        self._reached: dict[str, Reached] = {}

    def reached(self, name: str) -> Reached:
        """Return a function and those that it leads to."""
        if name not in self._reached:
            parts = {part.name: part for part in reachable_functions(self.functions, name)}
            wanted = {each: self.wanted[each] for each in parts}
            self._reached[name] = Reached(parts, wanted, self.rules & parts.keys())
        return self._reached[name]

    def can_be_kept(self) -> bool:
        """Whether they hold little."""
        functions = self.functions.values()
        nodes = sum(len(function.nodes) for function in functions)
        return nodes <= _MOST_NODES and constant_bytes(functions) <= _MOST_BYTES


@dataclass(frozen=True, slots=True)
class LoweredJaxpr:
    """What a jaxpr was lowered to.

    Parameters
    ----------
    name : str
        Name of its function among `functions`.
    functions : LoweredFunctions
        Of the program in which it was met.
    depends : tuple of Dependency
        It holds while these are what they were.
    settings : hashable
        Under which it holds.
    """

    name: str
    functions: LoweredFunctions
    depends: tuple[Dependency, ...]
    settings: Hashable


LOWERED_JAXPRS: WhileAlive[LoweredJaxpr | None] = WhileAlive()
"""What the jaxprs that were met, and are alive, were lowered to last; None where that is not known."""

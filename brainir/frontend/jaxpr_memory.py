"""Nested functions that were lowered before, by the jaxpr that each comes from.

JAX traces a jitted function, and one that a loop or a branch runs, once for each type of its operands, and hands out
one jaxpr for as long as the Python function lives. What that was lowered to is remembered for as long as the jaxpr
lives: a call of a function that JAX knows costs lowering, like tracing, no more than the call.
"""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ..ir.canonical import outline
from ..ir.program import Function
from ..ir.sharing import reachable_functions

__all__ = ["LOWERED", "JaxprMemory", "LoweredFunctions", "LoweredJaxpr", "Octets", "Rule", "written_form"]

_MOST_NODES = 1 << 15
_MOST_BYTES = 1 << 20
_MOST_ARRANGED = 1 << 6
_HASHED_BYTES = 1 << 6

Names = Mapping[str, str]
Arrangement = tuple[tuple[Function, ...], Names]


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
    names : dict of str to str
        The name of each, by that.
    """

    functions: dict[str, Function]
    wanted: dict[str, str]
    rules: frozenset[str]
    names: dict[str, str]

    @functools.cached_property
    def forms(self) -> dict[Hashable, str]:
        """The names of those that are no rules, by :func:`written_form`."""
        return {written_form(part): name for name, part in self.functions.items() if name not in self.rules}


def written_form(function: Function) -> Hashable:
    """Return what is equal for functions that were written alike, but for scopes and lines; most equal ones are."""
    nodes = [[item for item in vars(node).items() if item[0] not in ("source", "scope")] for node in function.nodes]
    constants = [(constant.name, constant.type) for constant in function.constants]
    text = repr((function.inputs, function.types, constants, nodes, function.outputs))
    return text, tuple([_Data(constant.data) for constant in function.constants])


class _Data:
    """The bytes of an array, which are only gone through where the rest is equal."""

    __slots__ = ("held",)

    def __init__(self, held: bytes | None) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Data) and self.held == other.held

    def __hash__(self) -> int:
        return hash(self.held and self.held[:_HASHED_BYTES])


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

    Attributes
    ----------
    arranged : dict
        How they stand in a program, and what they are called there, by the name of its entry and what that refers to.
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
        self.arranged: dict[tuple[str, tuple[str, ...]], Arrangement] = {}
        self._reached: dict[str, Reached] = {}

    def arrange(self, wanted: tuple[str, tuple[str, ...]], functions: tuple[Function, ...], names: Names) -> None:
        """Remember how they stand in a program."""
        if len(self.arranged) >= _MOST_ARRANGED:
            self.arranged.clear()
        self.arranged[wanted] = functions, names

    def reached(self, name: str) -> Reached:
        """Return a function and those that it leads to."""
        if name not in self._reached:
            parts = {part.name: part for part in reachable_functions(self.functions, name)}
            wanted = {each: self.wanted[each] for each in parts}
            self._reached[name] = Reached(parts, wanted, self.rules & parts.keys(), {each: each for each in parts})
        return self._reached[name]

    @functools.cached_property
    def outlines(self) -> frozenset[object]:
        """What the functions look like from far."""
        return frozenset(map(outline, self.functions.values()))

    def can_be_kept(self) -> bool:
        """Whether they hold little."""
        functions = self.functions.values()
        held = sum(len(constant.data or b"") for function in functions for constant in function.constants)
        return sum(len(function.nodes) for function in functions) <= _MOST_NODES and held <= _MOST_BYTES


class Rule(NamedTuple):
    """An equation with derivative rules, and what these depended on when they were lowered."""

    equation: Any
    base: str
    behaviour: Hashable


class Octets(NamedTuple):
    """An array of numpy in a jaxpr, which can be changed in place, and the bytes that it had."""

    array: np.ndarray[Any, Any]
    octets: bytes


@dataclass(frozen=True, slots=True)
class LoweredJaxpr:
    """What a jaxpr was lowered to.

    Parameters
    ----------
    name : str
        Name of its function among `functions`.
    functions : LoweredFunctions
        Of the program in which it was met.
    depends : tuple of Rule or Octets
        It holds while these are what they were.
    settings : hashable
        Under which it holds.
    """

    name: str
    functions: LoweredFunctions
    depends: tuple[Rule | Octets, ...]
    settings: Hashable


class JaxprMemory:
    """What is known of the jaxprs that are alive."""

    def __init__(self) -> None:
        self._held: weakref.WeakKeyDictionary[Any, LoweredJaxpr | None] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def find(self, jaxpr: Any) -> LoweredJaxpr | None:
        """Return what a jaxpr was lowered to last, if it is known."""
        with self._lock:
            return self._held.get(jaxpr)

    def note(self, jaxpr: Any) -> bool:
        """Note that a jaxpr was met; return whether it was met before."""
        with self._lock:
            met = jaxpr in self._held
            if not met:
                self._held[jaxpr] = None
            return met

    def keep(self, jaxpr: Any, lowered: LoweredJaxpr) -> None:
        """Remember what a jaxpr was lowered to."""
        with self._lock:
            self._held[jaxpr] = lowered

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()


LOWERED = JaxprMemory()
"""The memory of this process."""

"""What a function that is lowered depends on besides its jaxpr."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

__all__ = ["ArrayDependency", "Dependencies", "Dependency", "RulesDependency"]

_MOST_BYTES = 1 << 12


class RulesDependency(NamedTuple):
    """An equation with derivative rules, and what these depended on when they were lowered."""

    equation: Any
    base: str
    behaviour: Hashable


class ArrayDependency(NamedTuple):
    """An array of numpy in a jaxpr, which can be changed in place, and the bytes that it had."""

    array: np.ndarray[Any, Any]
    octets: bytes


Dependency: TypeAlias = RulesDependency | ArrayDependency
"""What can be another one in the next program that has the same jaxpr."""


class Dependencies:
    """Notes, while a function is lowered, what it depends on.

    Parameters
    ----------
    found : iterable of Dependency
        Of what is known of it.

    Attributes
    ----------
    alone : bool
        Whether it depends on nothing else than its jaxpr and what was found.
    """

    def __init__(self, found: Iterable[Dependency] = ()) -> None:
        self.alone = True
        self._found = {id(each): each for each in found}

    @property
    def found(self) -> tuple[Dependency, ...]:
        """What it depends on, each once."""
        return tuple(self._found.values())

    def tie(self) -> None:
        """Note that it depends on something that cannot be looked at again."""
        self.alone = False

    def add(self, dependency: Dependency) -> None:
        """Note something that it depends on."""
        self._found[id(dependency)] = dependency

    def read(self, array: np.ndarray[Any, Any]) -> None:
        """Note an array of numpy that is part of it."""
        if array.nbytes > _MOST_BYTES:
            self.tie()
        else:
            self.add(ArrayDependency(array, array.tobytes()))

    def include(self, inner: Dependencies) -> None:
        """Note what a function depends on that it calls."""
        self.alone &= inner.alone
        self._found.update(inner._found)

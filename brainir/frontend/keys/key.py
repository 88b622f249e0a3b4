"""Keys of functions and of what they use: data that is equal where these are the same."""

from __future__ import annotations

import weakref
from collections.abc import Hashable
from typing import NamedTuple, TypeAlias

__all__ = ["Key", "Only", "Parts", "Same"]

Parts: TypeAlias = frozenset[Hashable]


class Same:
    """A key of an object that equals nothing else."""

    __slots__ = ("held",)

    def __init__(self, held: object) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)


class Only:
    """A key of an object that equals nothing else, and does not keep it alive."""

    __slots__ = ("_hash", "held")

    def __init__(self, held: object) -> None:
        self.held = weakref.ref(held)
        self._hash = id(held)

    def __eq__(self, other: object) -> bool:
        held = self.held()
        return isinstance(other, Only) and held is not None and held is other.held()

    def __hash__(self) -> int:
        return self._hash


class Key(NamedTuple):
    """The key of a value.

    Parameters
    ----------
    content : hashable
    lasts : bool
        Whether it is the key of that value for good. It is not where the value holds what can be changed in place, such
        as an array of numpy, or reads variables of a module that is not known.
    parts : frozenset
        Keys of what can be made anew, with another content each time.
    """

    content: Hashable
    lasts: bool
    parts: Parts

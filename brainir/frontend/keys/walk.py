"""Walks through what values hold, which can lead back to themselves."""

from __future__ import annotations

import abc
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

from .key import Key
from .wrapped import UnknownBehaviourError

__all__ = ["Walk"]

_MOST_DEEP = 100
_MOST_FUNCTIONS = 1000

V = TypeVar("V")


class Walk(abc.ABC):
    """Makes keys, and remembers those of what can be met again for as long as it lives."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Key | UnknownBehaviourError]] = {}
        self._met: dict[int, tuple[int, Any]] = {}
        self._variables: dict[Any, int] = {}
        self._depth = 0
        self._changes = False
        self._parts = set[Hashable]()

    @abc.abstractmethod
    def _of(self, value: Any) -> Hashable:
        """Return the content of the key of a value."""

    def of(self, value: Any) -> Key:
        """Return the key of a function, or of a value that it uses; jaxprs and objects in it are parts.

        Raises
        ------
        UnknownBehaviourError
            If its behaviour can change without the key.
        """
        self._changes, self._parts = False, set()
        return Key(self._of(value), not self._changes, frozenset(self._parts))

    def _part(self, key: Hashable) -> Hashable:
        self._parts.add(key)
        return key

    def _once(self, value: V, content: Callable[[V], Hashable]) -> Hashable:
        """Return the key of what can be met again, or lead back to itself.

        Where a walk meets it again, it is a number, in the order of the walk, and so the same for equal functions.
        """
        if id(value) in self._met:
            self._changes = True  # as far as is known here
            return "again", self._met[id(value)][0]
        if self._met:
            return self._content(value, content)
        # What is in another walk is written otherwise, with the numbers of that.
        if id(value) not in self._known:
            self._known[id(value)] = value, self._walked(value, content)
        _, known = self._known[id(value)]
        if isinstance(known, UnknownBehaviourError):
            raise UnknownBehaviourError(*known.args)
        self._changes |= not known.lasts
        self._parts |= known.parts
        return known.content

    def _walked(self, value: V, content: Callable[[V], Hashable]) -> Key | UnknownBehaviourError:
        """Return the key of where a walk begins, whatever was met before; or why it has none."""
        outer = self._changes, self._parts
        self._changes, self._parts = False, set()
        try:
            return Key(self._content(value, content), not self._changes, frozenset(self._parts))
        except UnknownBehaviourError as error:
            return error.with_traceback(None)
        except RecursionError:
            return UnknownBehaviourError("too deep")  # as a list that is linked by attributes
        finally:
            self._changes, self._parts = outer
            self._met.clear()
            self._variables.clear()

    def _content(self, value: V, content: Callable[[V], Hashable]) -> Hashable:
        if self._depth > _MOST_DEEP or len(self._met) > _MOST_FUNCTIONS:
            raise UnknownBehaviourError("too many functions")
        # It is kept alive, because its id is the key.
        self._met[id(value)] = len(self._met), value
        self._depth += 1
        try:
            return content(value)
        finally:
            self._depth -= 1

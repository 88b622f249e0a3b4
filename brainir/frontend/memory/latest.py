"""What was used last of what is remembered from program to program."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["Latest"]

Held = TypeVar("Held")


class Latest(Generic[Held]):
    """Values by their keys: those that were used last, as many as may be held. Threads can share one.

    Parameters
    ----------
    most : int
        How much all together may weigh.
    weight : callable, optional
        Of a value; by default each weighs one.
    """

    def __init__(self, most: int, weight: Callable[[Held], int] = lambda value: 1) -> None:
        self._most = most
        self._weigh = weight
        self._weight = 0
        self._held: OrderedDict[Hashable, Held] = OrderedDict()
        self._lock = threading.Lock()

    def find(self, key: Hashable) -> Held | None:
        """Return what is held under a key."""
        with self._lock:
            found = self._held.get(key)
            if found is not None:
                self._held.move_to_end(key)
            return found

    def keep(self, key: Hashable, value: Held) -> None:
        """Hold a value, in place of what is there, and let go what was used longest ago; not one that is too heavy."""
        with self._lock:
            if key in self._held:
                self._weight -= self._weigh(self._held.pop(key))
            if self._weigh(value) > self._most:
                return
            self._held[key] = value
            self._weight += self._weigh(value)
            while self._weight > self._most:
                self._weight -= self._weigh(self._held.popitem(last=False)[1])

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()
            self._weight = 0

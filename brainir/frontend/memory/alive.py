"""What is remembered of objects for as long as they live."""

from __future__ import annotations

import threading
import weakref
from typing import Any, Generic, TypeVar

__all__ = ["WhileAlive"]

Held = TypeVar("Held")


class WhileAlive(Generic[Held]):
    """Values by the objects that they belong to, which go with these. Threads can share one."""

    def __init__(self) -> None:
        self._held: weakref.WeakKeyDictionary[Any, Held] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def __contains__(self, owner: Any) -> bool:
        with self._lock:
            return owner in self._held

    def find(self, owner: Any) -> Held | None:
        """Return what is held of an object."""
        with self._lock:
            return self._held.get(owner)

    def keep(self, owner: Any, value: Held) -> None:
        """Hold a value, in place of what is there."""
        with self._lock:
            self._held[owner] = value

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._held.clear()

"""Work that makes many objects and no garbage, with the garbage collector out of the way."""

from __future__ import annotations

import contextlib
import gc
from typing import Self

__all__ = ["collector_paused"]


class collector_paused(contextlib.ContextDecorator):  # noqa: N801  # used as a function
    """Keep the garbage collector from running.

    It would look through everything in the process again and again as objects are made; beside JAX, that takes longer
    than the work, and tracing is such work too.
    """

    def _recreate_cm(self) -> Self:
        return type(self)()

    def __enter__(self) -> None:
        self._was_enabled = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        if self._was_enabled:
            gc.enable()

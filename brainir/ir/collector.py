"""Work that makes many objects and no garbage, with the garbage collector out of the way."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["collector_paused"]


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from running.

    It would look through everything in the process again and again as objects are made; beside JAX, that takes longer
    than the work, and tracing is such work too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

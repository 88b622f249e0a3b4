"""Work that makes many objects and no garbage, with the garbage collector held back."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

__all__ = ["collector_paused"]


@contextlib.contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the garbage collector from running, as a context or a decorator.

    It would look through everything in the process again and again; beside JAX, that takes longer than the work.
    Objects without cycles are freed all the same.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()

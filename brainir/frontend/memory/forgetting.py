"""Everything that is remembered of the programs that were lowered before."""

from __future__ import annotations

from ..discharge import PURE
from .arrangement import ARRANGEMENTS
from .functions import FUNCTIONS
from .jaxprs import LOWERED_JAXPRS
from .rules import LOWERED_RULES

__all__ = ["forget"]


def forget() -> None:
    """Forget it all: what is lowered next is lowered as by a new process."""
    for memory in (ARRANGEMENTS, FUNCTIONS, LOWERED_JAXPRS, PURE, LOWERED_RULES):
        memory.clear()

"""Index maps: which element of a source each element of a value comes from.

A map of a value is an integer array in the value's shape; its entries are flat positions of the source, and
-1 where the element does not come from the source. Structural operations act on a map as they act on the
value itself.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...ir.errors import AnalysisError

__all__ = [
    "MAX_MAP_SIZE",
    "IndexMap",
    "agrees",
    "canonical",
    "merge",
    "merged",
    "nowhere",
    "same",
]

IndexMap: TypeAlias = NDArray[np.int64]

MAX_MAP_SIZE = 1 << 22
"""Values with more elements than this get no map of their own: their dependence counts as mixing."""

_MOST_POSITIONS = 1 << 30


@functools.lru_cache(maxsize=256)
def canonical(shape: tuple[int, ...], members: int = 1) -> IndexMap:
    """Return the map in which flat element ``e`` comes from position ``e // members``.

    Raises
    ------
    AnalysisError
        If there are so many elements that their positions would take more than 8 GiB.
    """
    size = math.prod(shape)
    if size > _MOST_POSITIONS:
        raise AnalysisError(
            f"a value has {size:,} elements, and analyses keep the positions of up to {_MOST_POSITIONS:,}; "
            "analyse the model with smaller states, which has the same groups and relations"
        )
    array = (np.arange(size, dtype=np.int64) // members).reshape(shape)
    array.flags.writeable = False
    return array


@functools.lru_cache(maxsize=256)
def nowhere(shape: tuple[int, ...]) -> IndexMap:
    """Return the map of a value that does not come from the source."""
    return np.broadcast_to(np.int64(-1), shape)


def same(first: IndexMap, second: IndexMap) -> bool:
    """Whether two maps are equal, entry by entry in row-major order."""
    return first is second or np.array_equal(first.reshape(-1), second.reshape(-1))


def agrees(first: IndexMap, second: IndexMap) -> bool:
    """Whether two maps name the same position wherever both name one, and do so at least once."""
    if first is second:
        return True
    one, two = first.reshape(-1), second.reshape(-1)
    both = (one >= 0) & (two >= 0)
    return bool(both.any()) and bool((one[both] == two[both]).all())


def merge(first: IndexMap, second: IndexMap) -> IndexMap | None:
    """Return the map that holds the entries of both, or None if they name two positions somewhere."""
    if first is second:
        return first
    if first.shape == second.shape and np.array_equal(first, second):
        return first
    one, two = first.reshape(-1), second.reshape(-1)
    if bool(((one >= 0) & (two >= 0) & (one != two)).any()):
        return None
    return np.where(one >= 0, one, two).reshape(first.shape)


def merged(maps: Iterable[IndexMap]) -> list[IndexMap]:
    """Merge each of some maps with the first of those before it that names no other position anywhere."""
    found: list[IndexMap] = []
    for each in maps:
        for place, other in enumerate(found):
            both = merge(other, each)
            if both is not None:
                found[place] = both
                break
        else:
            found.append(each)
    return found

"""What one value sees of sources: which positions, element by element or mixed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, NamedTuple

import numpy as np

from .index_maps import IndexMap, canonical, same

__all__ = ["NOTHING", "NO_MAPS", "Dependence", "Source", "Verdict"]

Verdict = Literal["none", "elementwise", "mixing"]
NO_MAPS: Mapping[int, tuple[IndexMap, ...]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Source:
    """A value whose positions are followed.

    Parameters
    ----------
    shape : tuple of int
        Shape of the positions.
    members : int
        Elements that share one position, along the last axis of the value.
    """

    shape: tuple[int, ...]
    members: int = 1

    @property
    def size(self) -> int:
        """Number of positions."""
        return math.prod(self.shape)

    def own_map(self, shape: tuple[int, ...]) -> IndexMap:
        """Return the map of a value of that shape, each of whose elements sees its own position."""
        return canonical(shape, self._members_in(math.prod(shape)) or 1)

    def is_own(self, each: IndexMap) -> bool:
        """Whether by an index map each element sees its own position."""
        members = self._members_in(each.size)
        return members is not None and np.array_equal(each, canonical(each.shape, members))

    def _members_in(self, size: int) -> int | None:
        """Return how many elements of a value of that size share a position of the source, or None."""
        if size == self.size:
            return 1
        return self.members if size == self.size * self.members else None


class Dependence(NamedTuple):
    """What one value sees of the sources, numbered from 0; sets of sources are the bits of an integer.

    Parameters
    ----------
    aligned : int
        Sources of which each element sees its own position, in row-major order.
    maps : mapping
        For other sources seen element by element: one or more index maps, all of which hold.
    mixing : int
        Sources that are seen in some other way, perhaps on top of the above.
    """

    aligned: int = 0
    maps: Mapping[int, tuple[IndexMap, ...]] = NO_MAPS
    mixing: int = 0

    @property
    def any(self) -> int:
        """Sources that are seen at all."""
        return self.mapped | self.mixing

    @property
    def mapped(self) -> int:
        """Sources that are seen element by element, perhaps among other ways."""
        found = self.aligned
        if self.maps:
            for source in self.maps:
                found |= 1 << source
        return found

    def masks(self) -> tuple[int, int]:
        """Return the sources seen element by element and in one way only, and those seen in any other way."""
        elementwise, mixing = self.aligned, self.mixing
        for source, several in self.maps.items():
            if len(several) + (self.aligned >> source & 1) > 1:
                mixing |= 1 << source
            elementwise |= 1 << source
        return elementwise & ~mixing, mixing

    def verdict(self, source: int) -> Verdict:
        """Return ``"none"``, ``"elementwise"`` or ``"mixing"`` for a source."""
        elementwise, mixing = self.masks()
        return "mixing" if mixing >> source & 1 else "elementwise" if elementwise >> source & 1 else "none"

    def equals(self, other: Dependence) -> bool:
        """Whether another dependence says the same."""
        if self is other:
            return True
        if (self.aligned, self.mixing) != (other.aligned, other.mixing) or self.maps.keys() != other.maps.keys():
            return False
        pairs = ((maps, other.maps[number]) for number, maps in self.maps.items())
        return all(len(one) == len(two) and all(map(same, one, two)) for one, two in pairs)


NOTHING = Dependence()

"""Which elements of a value end up together, because an operation combines them, and where those go."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...ir.program import Program
from ..rearrange import Array
from .flow import DependenceFlow
from .index_maps import IndexMap
from .lattice import Source

__all__ = ["JoiningFlow"]


class JoiningFlow(DependenceFlow):
    """Follows the elements of one value; those that a sum or an extreme combines count as one from there on.

    An index map names one of them, and :meth:`classes` says which others it stands for.

    Parameters
    ----------
    program : Program
    shape : tuple of int
    """

    def __init__(self, program: Program, shape: tuple[int, ...]) -> None:
        super().__init__(program, [Source(shape)], through_stop_gradient=False)
        self._pairs: list[IndexMap] = []

    def join_entries(self, array: Array, axes: Sequence[int]) -> Array | None:
        """Return one of the entries along some axes, and note that it stands for all of them."""
        if not axes:
            return array
        if not array.size:
            return None
        highest: Array = array.max(axis=tuple(axes), keepdims=True)
        pairs = np.stack([array, np.broadcast_to(highest, array.shape)], axis=-1).reshape(-1, 2)
        self._pairs.append(np.unique(pairs[(pairs[:, 0] >= 0) & (pairs[:, 0] != pairs[:, 1])], axis=0))
        return highest

    def classes(self) -> IndexMap:
        """Return, for each element, one and the same of those that it was combined with."""
        found = np.arange(self.sources[0].size)
        one, other = np.concatenate([np.empty((0, 2), np.int64), *self._pairs]).T
        while True:
            lowest = np.minimum(found[one], found[other])
            joined = found.copy()
            np.minimum.at(joined, one, lowest)
            np.minimum.at(joined, other, lowest)
            joined = joined[joined]
            if np.array_equal(joined, found):
                return found
            found = joined

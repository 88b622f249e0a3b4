"""Where the elements of a value go, those included that an operation combines on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ...ir.program import Program
from ..dataflow.sites import Site
from ..pooling import common
from ..rearrange import Array
from .flow import DependenceFlow
from .index_maps import IndexMap
from .lattice import Dependence, Source

__all__ = ["JoiningFlow"]


class JoiningFlow(DependenceFlow):
    """Follows the elements of one value; what a sum or an extreme makes of several has a number of its own.

    Index maps hold these numbers, which come after those of the elements; :meth:`places` takes them apart again.

    Parameters
    ----------
    program : Program
    shape : tuple of int
    """

    def __init__(self, program: Program, shape: tuple[int, ...]) -> None:
        super().__init__(program, [Source(shape)], through_stop_gradient=False)
        self._count = self.sources[0].size
        self._parts: list[tuple[IndexMap, IndexMap]] = []
        self._known: dict[tuple[object, ...], IndexMap] = {}

    def join_entries(self, array: Array, axes: Sequence[int]) -> Array | None:
        """Return one number for what is combined along some axes, and note what it is made of."""
        shared = common(array, axes)
        if shared is not None or not array.size:
            return shared
        # The sum and the largest of the same elements, say, are made of the same.
        key = (array.shape, tuple(axes), array.tobytes())
        if key not in self._known:
            used = array >= 0
            made = used.any(axis=tuple(axes), keepdims=True)
            numbers = np.where(made, np.arange(self._count, self._count + made.size).reshape(made.shape), -1)
            self._parts.append((np.broadcast_to(numbers, array.shape)[used], array[used]))
            self._count += made.size
            self._known[key] = numbers
        return self._known[key]

    def custom_rule(self, site: Site, facts: list[Dependence]) -> Sequence[Dependence]:
        """See :meth:`ForwardAnalysis.custom_rule`; what a function with a rule combines is followed, too."""
        self._depth -= 1
        try:
            return super().custom_rule(site, facts)
        finally:
            self._depth += 1

    def places(self, results: Iterable[tuple[IndexMap, IndexMap]]) -> IndexMap | None:
        """Return the place that each element goes to, -1 for none; None if one goes to several.

        Parameters
        ----------
        results : iterable of pairs of ndarray
            Index maps of results, and the places of their elements.
        """
        found = np.full(self._count, -1)
        for numbers, at in results:
            used = numbers >= 0
            if not _put(found, numbers[used], at[used]):
                return None
        for whole, parts in reversed(self._parts):
            at = found[whole]
            if not _put(found, parts[at >= 0], at[at >= 0]):
                return None
        return found[: self.sources[0].size]


def _put(found: IndexMap, numbers: IndexMap, at: IndexMap) -> bool:
    """Note places of numbers; false if one has another place already, or gets two."""
    before = found[numbers]
    found[numbers] = at
    return not (((before >= 0) & (before != at)).any() or (found[numbers] != at).any())

"""The pairs of an element of a term's result and a position that it reaches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from jax import numpy as jnp

from ...analysis.learning.spaces import pairs_shape
from ...analysis.learning.tails import Tail

__all__ = ["Pairs"]


class Pairs:
    """The pairs of one tail: one for each element of the result, or one for each position.

    Parameters
    ----------
    tail : Tail
    positions : tuple of int
        Shape of the positions.

    Attributes
    ----------
    pairing : {"same", "by_result", "by_position"}
    shape : tuple of int
        That of the result, or that of the positions.
    """

    def __init__(self, tail: Tail, positions: tuple[int, ...]) -> None:
        self.pairing = tail.pairing
        self._result = tail.invars[0].shape
        self._by_position = tail.pairing == "by_position"
        self._places = np.asarray(tail.places)
        self.shape = pairs_shape(tail, positions)

    def of_positions(self, values: Any) -> Any:
        """Take a value for each position to one for each pair, and one number to one number."""
        if math.prod(values.shape) == 1:
            return values.reshape((1,) * len(self.shape))
        if self._by_position:
            return values
        if self.pairing == "by_result":
            values = values.reshape(-1)[np.maximum(self._places, 0)]
        return values.reshape(self.shape)

    def of_elements(self, values: Any) -> Any:
        """Take a value for each element of the result to one for each pair; values can have further axes behind."""
        if not self._by_position:
            return values
        inner = values.shape[len(self._result) :]
        return values.reshape(-1, *inner)[np.maximum(self._places, 0)].reshape(*self.shape, *inner)

    def summed(self, values: Any) -> Any:
        """Sum the values of all pairs of each element of the result."""
        if not self._by_position:
            return values.reshape(self._result)
        size = math.prod(self._result)
        if size and np.array_equal(self._places, np.tile(np.arange(size), self._places.size // size)):
            # Each element is seen once by each example of a batch.
            return values.reshape(-1, size).sum(axis=0).reshape(self._result)
        flat = jnp.where(jnp.asarray(self._places >= 0), values.reshape(-1), 0)
        return jnp.zeros(size, values.dtype).at[np.maximum(self._places, 0)].add(flat).reshape(self._result)

"""Schemas of PRNG keys and random bits."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..node import Node, Traits
from .traits import RANDOM, Ints


class RandomSeed(Node):
    """Make typed keys from integer seeds."""

    op: Literal["random_seed"] = "random_seed"
    impl: str
    family_traits: ClassVar[Traits] = RANDOM


class RandomWrap(Node):
    """Read ``uint32`` words as typed keys."""

    op: Literal["random_wrap"] = "random_wrap"
    impl: str
    family_traits: ClassVar[Traits] = RANDOM


class RandomKeys(Node):
    """Operations on typed keys without attributes: their words, or a key folded with data."""

    op: Literal["random_fold_in", "random_unwrap"]
    family_traits: ClassVar[Traits] = RANDOM


class RandomSplit(Node):
    """Derive an array of new keys from each key."""

    op: Literal["random_split"] = "random_split"
    shape: Ints
    family_traits: ClassVar[Traits] = RANDOM


class RandomBits(Node):
    """Uniform random bits from a key."""

    op: Literal["random_bits"] = "random_bits"
    bit_width: int
    shape: Ints
    family_traits: ClassVar[Traits] = RANDOM

"""Schemas of PRNG keys and random bits."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..node import Node, Traits
from .sharding import Sharding
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
    """Operations on typed keys without attributes: their words, a copy for reuse, or a key folded with data."""

    op: Literal["random_clone", "random_fold_in", "random_unwrap"]
    family_traits: ClassVar[Traits] = RANDOM


class RandomSplit(Node):
    """Derive an array of new keys from each key; ``partitionable`` as in :class:`RandomBits`."""

    op: Literal["random_split"] = "random_split"
    shape: Ints
    partitionable: bool = True
    family_traits: ClassVar[Traits] = RANDOM


class RandomBits(Node):
    """Uniform random bits from a key.

    ``partitionable`` says which bits a Threefry key gives: those under ``jax_threefry_partitionable``, or others.
    """

    op: Literal["random_bits"] = "random_bits"
    bit_width: int
    shape: Ints
    partitionable: bool = True
    family_traits: ClassVar[Traits] = RANDOM


class RandomGamma(Node):
    """Samples of the gamma distribution, one for each key and shape parameter.

    ``partitionable`` as in :class:`RandomBits`.
    """

    op: Literal["random_gamma"] = "random_gamma"
    log_space: bool
    partitionable: bool = True
    family_traits: ClassVar[Traits] = RANDOM


class Threefry2x32(Node):
    """The Threefry hash of two words of a key and two words of a counter; two words for each."""

    op: Literal["threefry2x32"] = "threefry2x32"
    family_traits: ClassVar[Traits] = RANDOM


class RngBitGenerator(Node):
    """A new state of a generator, and uniform random bits."""

    op: Literal["rng_bit_generator"] = "rng_bit_generator"
    shape: Ints
    dtype: str
    algorithm: Literal["RNG_DEFAULT", "RNG_THREE_FRY", "RNG_PHILOX"]
    out_sharding: Sharding | None = None
    family_traits: ClassVar[Traits] = RANDOM


class RngUniform(Node):
    """Uniform random numbers between two bounds, from the generator of the device."""

    op: Literal["rng_uniform"] = "rng_uniform"
    shape: Ints
    family_traits: ClassVar[Traits] = RANDOM

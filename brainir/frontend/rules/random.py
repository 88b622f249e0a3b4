"""Attributes of operations on PRNG keys."""

from __future__ import annotations

from typing import Any

from .registry import Attributes, dtype_name, ints, reads, rule
from .shardings import layout

rule("random_seed", "random_wrap")(reads(impl=lambda impl: str(impl.tag)))
rule("random_split", "rng_uniform")(reads(shape=ints))
rule("random_bits")(reads(bit_width=int, shape=ints))
rule("random_gamma")(reads(log_space=bool))


@rule("rng_bit_generator")
def _rng_bit_generator(*, shape: Any, dtype: Any, algorithm: Any, out_sharding: Any = None) -> Attributes:
    made = {"shape": ints(shape), "dtype": dtype_name(dtype), "algorithm": algorithm.name}
    return made | layout(out_sharding)

"""Attributes of operations on PRNG keys."""

from __future__ import annotations

from typing import Any

from .registry import Attributes, dtype_name, ints, rule
from .shardings import layout


@rule("random_seed", "random_wrap")
def _random_impl(*, impl: Any) -> Attributes:
    return {"impl": str(impl.tag)}


@rule("random_split")
def _random_split(*, shape: Any) -> Attributes:
    return {"shape": ints(shape)}


@rule("random_bits")
def _random_bits(*, bit_width: int, shape: Any) -> Attributes:
    return {"bit_width": int(bit_width), "shape": ints(shape)}


@rule("random_gamma")
def _random_gamma(*, log_space: bool) -> Attributes:
    return {"log_space": bool(log_space)}


@rule("rng_bit_generator")
def _rng_bit_generator(*, shape: Any, dtype: Any, algorithm: Any, out_sharding: Any = None) -> Attributes:
    made = {"shape": ints(shape), "dtype": dtype_name(dtype), "algorithm": algorithm.name}
    return made | layout(out_sharding)


@rule("rng_uniform")
def _rng_uniform(*, shape: Any) -> Attributes:
    return {"shape": ints(shape)}

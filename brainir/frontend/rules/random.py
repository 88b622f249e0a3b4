"""Attributes of operations on PRNG keys."""

from __future__ import annotations

from typing import Any

from .registry import Attributes, ints, rule


@rule("random_seed", "random_wrap")
def _random_impl(*, impl: Any) -> Attributes:
    return {"impl": str(impl.tag)}


@rule("random_split")
def _random_split(*, shape: Any) -> Attributes:
    return {"shape": ints(shape)}


@rule("random_bits")
def _random_bits(*, bit_width: int, shape: Any) -> Attributes:
    return {"bit_width": int(bit_width), "shape": ints(shape)}

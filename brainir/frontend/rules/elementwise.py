"""Attributes of elementwise operations."""

from __future__ import annotations

from typing import Any

import jax

from ...ir.ops import Binary, Compare, Unary, UnaryAccuracy
from .registry import Attributes, UnsupportedError, absent, dtype_name, no_sharding, rule


@rule(*Unary.ops())
def _unary(*, input_dtype: Any = None, accuracy: Any = None) -> Attributes:
    del input_dtype  # conj: follows from the operand
    absent(accuracy=accuracy)  # erfc, since JAX 0.12
    return {}


@rule(*UnaryAccuracy.ops())
def _unary_accuracy(*, accuracy: Any = None) -> Attributes:
    if accuracy is None:
        return {}
    if isinstance(accuracy, jax.lax.AccuracyMode):
        return {"accuracy": accuracy.name}
    raise UnsupportedError(f"accuracy={accuracy!r}")


@rule(*Binary.ops(), *Compare.ops())
def _binary(*, out_dtype: Any = None) -> Attributes:
    absent(out_dtype=out_dtype)
    return {}


@rule("select_n", "clamp", "optimization_barrier", "random_fold_in", "random_unwrap", "dynamic_update_slice")
def _plain() -> Attributes:
    return {}


@rule("integer_pow")
def _integer_pow(*, y: int) -> Attributes:
    return {"y": int(y)}


@rule("round")
def _round(*, rounding_method: Any) -> Attributes:
    return {"rounding_method": int(rounding_method)}


@rule("reduce_precision")
def _reduce_precision(*, exponent_bits: int, mantissa_bits: int) -> Attributes:
    return {"exponent_bits": int(exponent_bits), "mantissa_bits": int(mantissa_bits)}


@rule("convert_element_type")
def _convert_element_type(*, new_dtype: Any, weak_type: bool, sharding: Any = None) -> Attributes:
    no_sharding(sharding=sharding)
    return {"new_dtype": dtype_name(new_dtype), "weak_type": bool(weak_type)}


@rule("name")
def _name(*, name: str) -> Attributes:
    return {"name": name}

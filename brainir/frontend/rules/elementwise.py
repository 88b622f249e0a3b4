"""Attributes of elementwise operations."""

from __future__ import annotations

from typing import Any

import jax

from ...ir.ops import Binary, Compare, MulOutDtype, Unary, UnaryAccuracy, Unvmap
from .registry import Attributes, Operation, UnsupportedError, absent, dtype_name, reads, rule
from .shardings import layout


@rule(*Unary.ops())
def _unary(*, input_dtype: Any = None, _input_dtype: Any = None, accuracy: Any = None) -> Attributes:
    del input_dtype, _input_dtype  # conj: follows from the operand
    absent(accuracy=accuracy)  # erfc, since JAX 0.12
    return {}


@rule(*UnaryAccuracy.ops())
def _unary_accuracy(*, accuracy: Any = None) -> Attributes:
    if accuracy is None:
        return {}
    if isinstance(accuracy, jax.lax.AccuracyMode):
        return {"accuracy": accuracy.name}
    raise UnsupportedError(f"accuracy={accuracy!r}")


rule(*(op for op in Binary.ops() if op != "mul"), *Compare.ops(), *Unvmap.ops(), "clamp", "select_n")(reads())
rule("dynamic_update_slice", "optimization_barrier", "regularized_incomplete_beta")(reads())
rule("random_clone", "random_fold_in", "random_unwrap", "threefry2x32")(reads())
rule("stage", op="copy")(reads())
rule("integer_pow")(reads(y=int))
rule("round")(reads(rounding_method=int))
rule("reduce_precision")(reads(exponent_bits=int, mantissa_bits=int))


@rule("mul", others=MulOutDtype.ops())
def _mul(*, out_dtype: Any = None) -> Attributes | Operation:
    if out_dtype is None:
        return {}
    # JAX leaves a type of 64 bits as it was asked for, though the product is one of 32 where they are off.
    return Operation("mul_out_dtype", {"out_dtype": dtype_name(jax.dtypes.canonicalize_dtype(out_dtype))})


@rule("polynomial")
def _polynomial(*, unroll: int | None = None) -> Attributes:
    return {"unroll": None if unroll is None else int(unroll)}


@rule("convert_element_type")
def _convert_element_type(*, new_dtype: Any, weak_type: bool, sharding: Any = None) -> Attributes:
    return {"new_dtype": dtype_name(new_dtype), "weak_type": bool(weak_type), **layout(sharding)}


@rule("name")
def _name(*, name: str) -> Attributes:
    return {"name": name}

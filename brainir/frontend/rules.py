"""How each JAX primitive becomes a node: its operation and attributes.

Every parameter of a primitive is named as a keyword, so that one which a new JAX release adds fails loudly instead of
being dropped. Primitives that run other functions are lowered in :mod:`brainir.frontend.lowering`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from ..ir.ops import (
    Binary,
    Compare,
    Cumulative,
    GatherNumbers,
    Reduce,
    Scatter,
    ScatterNumbers,
    Unary,
    UnaryAccuracy,
)
from ..ir.types import scalar_text

__all__ = ["RULES", "Attributes", "UnsupportedError", "node_attributes"]

Attributes = dict[str, Any]
Rule = Callable[..., Attributes]


class UnsupportedError(Exception):
    """A parameter of a primitive has a value that the schema cannot hold; the text says which."""


RULES: dict[str, tuple[str, Rule]] = {}
"""Primitive name to operation and attribute rule."""


def _rule(*primitives: str, op: str | None = None) -> Callable[[Rule], Rule]:
    def register(function: Rule) -> Rule:
        for primitive in primitives:
            RULES[primitive] = (op or primitive, function)
        return function

    return register


def _absent(**params: Any) -> None:
    for name, value in params.items():
        if value is not None and value is not False:
            raise UnsupportedError(f"{name}={value!r}")


def _no_sharding(**params: Any) -> None:
    for name, value in params.items():
        if value is not None and not _is_trivial_sharding(value):
            raise UnsupportedError(f"{name}={value!r}")


def _is_trivial_sharding(sharding: Any) -> bool:
    mesh = getattr(sharding, "mesh", None)
    return mesh is not None and mesh.empty


def _ints(values: Any) -> tuple[int, ...]:
    return tuple(int(value) for value in values)


def _dtype(dtype: Any) -> str:
    return str(dtype) if jnp.issubdtype(dtype, jax.dtypes.extended) else np.dtype(dtype).name


def _precision(precision: Any) -> str | tuple[str, str] | None:
    if precision is None:
        return None
    if isinstance(precision, tuple):
        lhs, rhs = (_precision(part) for part in precision)
        return (str(lhs), str(rhs))
    if isinstance(precision, jax.lax.Precision):
        return precision.name
    raise UnsupportedError(f"precision={precision!r}")


@_rule(*Unary.ops())
def _unary(*, input_dtype: Any = None, accuracy: Any = None) -> Attributes:
    del input_dtype  # conj: follows from the operand
    _absent(accuracy=accuracy)  # erfc, since JAX 0.12
    return {}


@_rule(*UnaryAccuracy.ops())
def _unary_accuracy(*, accuracy: Any = None) -> Attributes:
    if accuracy is None:
        return {}
    if isinstance(accuracy, jax.lax.AccuracyMode):
        return {"accuracy": accuracy.name}
    raise UnsupportedError(f"accuracy={accuracy!r}")


@_rule(*Binary.ops(), *Compare.ops())
def _binary(*, out_dtype: Any = None) -> Attributes:
    _absent(out_dtype=out_dtype)
    return {}


@_rule("select_n", "clamp", "random_fold_in", "random_unwrap", "dynamic_update_slice")
def _plain() -> Attributes:
    return {}


@_rule("integer_pow")
def _integer_pow(*, y: int) -> Attributes:
    return {"y": int(y)}


@_rule("round")
def _round(*, rounding_method: Any) -> Attributes:
    return {"rounding_method": int(rounding_method)}


@_rule("reduce_precision")
def _reduce_precision(*, exponent_bits: int, mantissa_bits: int) -> Attributes:
    return {"exponent_bits": int(exponent_bits), "mantissa_bits": int(mantissa_bits)}


@_rule("convert_element_type")
def _convert_element_type(*, new_dtype: Any, weak_type: bool, sharding: Any = None) -> Attributes:
    _no_sharding(sharding=sharding)
    return {"new_dtype": _dtype(new_dtype), "weak_type": bool(weak_type)}


@_rule("bitcast_convert_type")
def _bitcast_convert_type(*, new_dtype: Any) -> Attributes:
    return {"new_dtype": _dtype(new_dtype)}


@_rule("broadcast_in_dim")
def _broadcast_in_dim(*, shape: Any, broadcast_dimensions: Any, sharding: Any = None) -> Attributes:
    _no_sharding(sharding=sharding)
    return {"shape": _ints(shape), "broadcast_dimensions": _ints(broadcast_dimensions)}


@_rule("reshape")
def _reshape(*, new_sizes: Any, dimensions: Any = None, sharding: Any = None) -> Attributes:
    _absent(dimensions=dimensions)
    _no_sharding(sharding=sharding)
    return {"new_sizes": _ints(new_sizes)}


@_rule("squeeze", "rev")
def _dimensions(*, dimensions: Any) -> Attributes:
    return {"dimensions": _ints(dimensions)}


@_rule("transpose")
def _transpose(*, permutation: Any) -> Attributes:
    return {"permutation": _ints(permutation)}


@_rule("slice")
def _slice(*, start_indices: Any, limit_indices: Any, strides: Any) -> Attributes:
    return {
        "start_indices": _ints(start_indices),
        "limit_indices": _ints(limit_indices),
        "strides": None if strides is None else _ints(strides),
    }


@_rule("split")
def _split(*, sizes: Any, axis: int) -> Attributes:
    return {"sizes": _ints(sizes), "axis": int(axis)}


@_rule("concatenate")
def _concatenate(*, dimension: int) -> Attributes:
    return {"dimension": int(dimension)}


@_rule("stack", "unstack")
def _axis(*, axis: int) -> Attributes:
    return {"axis": int(axis)}


@_rule("tile")
def _tile(*, reps: Any) -> Attributes:
    return {"reps": _ints(reps)}


_MODES = {
    jax.lax.GatherScatterMode.CLIP: "clip",
    jax.lax.GatherScatterMode.FILL_OR_DROP: "fill_or_drop",
    jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS: "promise_in_bounds",
}


@_rule("gather")
def _gather(
    *,
    dimension_numbers: Any,
    slice_sizes: Any,
    indices_are_sorted: bool,
    unique_indices: bool,
    mode: Any,
    fill_value: Any,
    out_sharding: Any = None,
) -> Attributes:
    _no_sharding(out_sharding=out_sharding)
    names = GatherNumbers.model_fields
    return {
        "dimension_numbers": GatherNumbers(**{name: _ints(getattr(dimension_numbers, name)) for name in names}),
        "slice_sizes": _ints(slice_sizes),
        "indices_are_sorted": bool(indices_are_sorted),
        "unique_indices": bool(unique_indices),
        "mode": _MODES[mode],
        "fill_value": None if fill_value is None else scalar_text(np.asarray(fill_value)),
    }


def _scatter(
    *,
    dimension_numbers: Any,
    indices_are_sorted: bool,
    unique_indices: bool,
    mode: Any,
    update_jaxpr: Any,
    update_consts: Any,
    out_sharding: Any = None,
) -> Attributes:
    del update_jaxpr, update_consts  # follow from the operation
    _no_sharding(out_sharding=out_sharding)
    names = ScatterNumbers.model_fields
    return {
        "dimension_numbers": ScatterNumbers(**{name: _ints(getattr(dimension_numbers, name)) for name in names}),
        "indices_are_sorted": bool(indices_are_sorted),
        "unique_indices": bool(unique_indices),
        "mode": _MODES[mode],
    }


RULES.update({op.replace("_", "-"): (op, _scatter) for op in Scatter.ops()})


@_rule("pad")
def _pad(*, padding_config: Any) -> Attributes:
    return {"padding_config": tuple(_ints(axis) for axis in padding_config)}


@_rule("iota")
def _iota(*, dtype: Any, shape: Any, dimension: int, sharding: Any = None) -> Attributes:
    _no_sharding(sharding=sharding)
    return {"dtype": _dtype(dtype), "shape": _ints(shape), "dimension": int(dimension)}


@_rule("dynamic_slice")
def _dynamic_slice(*, slice_sizes: Any) -> Attributes:
    return {"slice_sizes": _ints(slice_sizes)}


@_rule("dot_general")
def _dot_general(
    *, dimension_numbers: Any, precision: Any, preferred_element_type: Any, out_sharding: Any = None
) -> Attributes:
    _no_sharding(out_sharding=out_sharding)
    (lhs, rhs), (lhs_batch, rhs_batch) = dimension_numbers
    return {
        "dimension_numbers": ((_ints(lhs), _ints(rhs)), (_ints(lhs_batch), _ints(rhs_batch))),
        "precision": _precision(precision),
        "preferred_element_type": None if preferred_element_type is None else _dtype(preferred_element_type),
    }


@_rule(*Reduce.ops())
def _reduce(*, axes: Any, out_sharding: Any = None) -> Attributes:
    _no_sharding(out_sharding=out_sharding)
    return {"axes": _ints(axes)}


@_rule("argmax", "argmin")
def _arg_reduce(*, axes: Any, index_dtype: Any) -> Attributes:
    return {"axes": _ints(axes), "index_dtype": _dtype(index_dtype)}


@_rule(*Cumulative.ops())
def _cumulative(*, axis: int, reverse: bool) -> Attributes:
    return {"axis": int(axis), "reverse": bool(reverse)}


@_rule("random_seed", "random_wrap")
def _random_impl(*, impl: Any) -> Attributes:
    return {"impl": str(impl.tag)}


@_rule("random_split")
def _random_split(*, shape: Any) -> Attributes:
    return {"shape": _ints(shape)}


@_rule("random_bits")
def _random_bits(*, bit_width: int, shape: Any) -> Attributes:
    return {"bit_width": int(bit_width), "shape": _ints(shape)}


def node_attributes(primitive: str, params: Mapping[str, Any]) -> tuple[str, Attributes]:
    """Return operation and attributes for a primitive.

    Raises
    ------
    KeyError
        If no rule covers the primitive.
    UnsupportedError
        If a parameter is new or has a value that the schema cannot hold.
    """
    op, rule = RULES[primitive]
    try:
        return op, rule(**params)
    except TypeError as error:
        known = ", ".join(f"{name}={value!r}" for name, value in params.items())
        raise UnsupportedError(f"parameters ({known}) do not fit the rule: {error}") from error

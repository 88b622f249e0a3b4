"""Attributes of operations that move, repeat, drop or make elements."""

from __future__ import annotations

from typing import Any

from .registry import Attributes, Operation, UnsupportedError, absent, dtype_name, ints, platform_names, rule
from .shardings import has_layout, layout, sharding_record


@rule("bitcast_convert_type")
def _bitcast_convert_type(*, new_dtype: Any) -> Attributes:
    return {"new_dtype": dtype_name(new_dtype)}


@rule("broadcast_in_dim", others=("copy", "reshard"))
def _broadcast_in_dim(*, shape: Any, broadcast_dimensions: Any, sharding: Any = None) -> Attributes | Operation:
    if sharding is not None and not shape:  # how JAX before 0.9 writes the ``reshard`` of a scalar
        if not has_layout(sharding):
            return Operation("copy", {})
        return Operation("reshard", {"sharding": sharding_record(sharding)})
    return {"shape": ints(shape), "broadcast_dimensions": ints(broadcast_dimensions), **layout(sharding)}


@rule("reshape", others=("reshape_dimensions",))
def _reshape(*, new_sizes: Any, dimensions: Any = None, sharding: Any = None) -> Attributes | Operation:
    given = {"new_sizes": ints(new_sizes), **layout(sharding)}
    if dimensions is None:
        return given
    return Operation("reshape_dimensions", {"dimensions": ints(dimensions), **given})


@rule("squeeze", "rev")
def _dimensions(*, dimensions: Any) -> Attributes:
    return {"dimensions": ints(dimensions)}


@rule("transpose")
def _transpose(*, permutation: Any) -> Attributes:
    return {"permutation": ints(permutation)}


@rule("slice")
def _slice(*, start_indices: Any, limit_indices: Any, strides: Any) -> Attributes:
    return {
        "start_indices": ints(start_indices),
        "limit_indices": ints(limit_indices),
        "strides": None if strides is None else ints(strides),
    }


@rule("split")
def _split(*, sizes: Any, axis: int) -> Attributes:
    return {"sizes": ints(sizes), "axis": int(axis)}


@rule("concatenate")
def _concatenate(*, dimension: int) -> Attributes:
    return {"dimension": int(dimension)}


@rule("stack", "unstack")
def _axis(*, axis: int) -> Attributes:
    return {"axis": int(axis)}


@rule("tile")
def _tile(*, reps: Any) -> Attributes:
    return {"reps": ints(reps)}


@rule("pad")
def _pad(*, padding_config: Any) -> Attributes:
    return {"padding_config": tuple(ints(axis) for axis in padding_config)}


@rule("iota")
def _iota(*, dtype: Any, shape: Any, dimension: int, sharding: Any = None) -> Attributes:
    made = {"dtype": dtype_name(dtype), "shape": ints(shape), "dimension": int(dimension)}
    return made | layout(sharding)


@rule("empty")
def _empty(*, dtype: Any, shape: Any, out_sharding: Any = None) -> Attributes:
    return {"dtype": dtype_name(dtype), "shape": ints(shape), **layout(out_sharding)}


@rule("platform_index")
def _platform_index(*, platforms: Any) -> Attributes:
    return {"platforms": platform_names(platforms)}


@rule("iota_2x32_shape")
def _iota_2x32_shape(*, shape: Any) -> Attributes:
    return {"shape": ints(shape)}


@rule("dce_sink")
def _dce_sink(*, prevent_mlir_dce: bool = False) -> Attributes:
    absent(prevent_mlir_dce=prevent_mlir_dce)
    return {}


@rule("empty2", op="empty")
def _empty_scalar(*, dtype: Any, memory_space: Any) -> Attributes:
    if getattr(memory_space, "name", None) != "Device":
        raise UnsupportedError(f"memory_space={memory_space!r}")
    return {"dtype": dtype_name(dtype), "shape": ()}

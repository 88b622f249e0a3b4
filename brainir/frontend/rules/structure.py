"""Attributes of operations that move, repeat, drop or make elements."""

from __future__ import annotations

from typing import Any

from .registry import (
    Attributes,
    Operation,
    UnsupportedError,
    absent,
    dtype_name,
    int_tuples,
    ints,
    platform_names,
    reads,
    rule,
)
from .shardings import has_layout, layout, sharding_record

rule("bitcast_convert_type")(reads(new_dtype=dtype_name))
rule("concatenate")(reads(dimension=int))
rule("iota_2x32_shape")(reads(shape=ints))
rule("pad")(reads(padding_config=int_tuples))
rule("platform_index")(reads(platforms=platform_names))
rule("slice")(
    reads(start_indices=ints, limit_indices=ints, strides=lambda given: None if given is None else ints(given))
)
rule("split")(reads(sizes=ints, axis=int))
rule("squeeze", "rev")(reads(dimensions=ints))
rule("stack", "unstack")(reads(axis=int))
rule("tile")(reads(reps=ints))
rule("transpose")(reads(permutation=ints))


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


@rule("iota")
def _iota(*, dtype: Any, shape: Any, dimension: int, sharding: Any = None) -> Attributes:
    made = {"dtype": dtype_name(dtype), "shape": ints(shape), "dimension": int(dimension)}
    return made | layout(sharding)


@rule("empty")
def _empty(*, dtype: Any, shape: Any, out_sharding: Any = None) -> Attributes:
    return {"dtype": dtype_name(dtype), "shape": ints(shape), **layout(out_sharding)}


@rule("dce_sink")
def _dce_sink(*, prevent_mlir_dce: bool = False) -> Attributes:
    absent(prevent_mlir_dce=prevent_mlir_dce)
    return {}


@rule("empty2", op="empty")
def _empty_scalar(*, dtype: Any, memory_space: Any) -> Attributes:
    if getattr(memory_space, "name", None) != "Device":
        raise UnsupportedError(f"memory_space={memory_space!r}")
    return {"dtype": dtype_name(dtype), "shape": ()}

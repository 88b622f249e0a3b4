"""Attributes of operations on several devices: where arrays lie, and what devices exchange."""

from __future__ import annotations

from typing import Any

import jax

from ...ir.ops import Device, Sharding
from .registry import Attributes, Operation, UnsupportedError, int_tuples, reads, rule
from .shardings import axis_names, mesh_shape, sharding_record


def _groups(groups: Any) -> tuple[tuple[int, ...], ...] | None:
    return None if groups is None else int_tuples(groups)


@rule("sharding_constraint")
def _sharding_constraint(
    *, sharding: Any, layout: Any, context_mesh: Any, unconstrained_dims: Any = frozenset()
) -> Attributes | Operation:
    del unconstrained_dims  # they follow from the sharding
    if layout is not None:
        raise UnsupportedError(f"a sharding constraint with layout={layout!r}")
    place = _place(sharding)
    if isinstance(place, Device):  # as of numpy functions that are told a device
        return Operation("device_put", {"copy_semantics": ("REUSE_INPUT",), "targets": (place,)})
    around = mesh_shape(context_mesh)
    if isinstance(place, Sharding) and "manual" in around.types:
        # A mesh with devices says of its axes what they are outside of the shard_map.
        is_around = (place.mesh.names, place.mesh.sizes) == (around.names, around.sizes)
        place = place.model_copy(update={"mesh": around if is_around else place.mesh})
    return {"sharding": place}


@rule("psum_invariant", op="psum")
@rule("psum", "pmax", "pmin", "unreduced_psum", "unreduced_pmax", "unreduced_pmin")
def _all_reduce(*, axes: Any, axis_index_groups: Any = None) -> Attributes:
    named = (int(axis) if isinstance(axis, int) else axis_names(axis)[0] for axis in axes)
    return {"axes": tuple(named), "axis_index_groups": _groups(axis_index_groups)}


@rule("pvary")
def _pvary(*, axes: Any, axis_index_groups: Any = None) -> Attributes:
    if axis_index_groups is not None:
        raise UnsupportedError(f"pvary with axis_index_groups={axis_index_groups!r}")
    # A set: JAX 0.8 gives them in another order from process to process.
    return {"axes": tuple(sorted(axis_names(axes)))}


rule("preduced")(reads(axes=axis_names))
rule("reduced_vary_cast", "reduced_vary_cast_p", op="reduced_vary_cast")(reads(axes=axis_names))
rule("vary_unreduced_cast", "vary_unreduced_cast_p", op="vary_unreduced_cast")(reads(axes=axis_names))


@rule("all_gather_invariant", "all_gather_reduced")
def _all_gather_invariant(*, axis_name: Any, axis_size: int, all_gather_dimension: int, tiled: bool) -> Attributes:
    return _all_gather(axis_name=axis_name, axis_size=axis_size, all_gather_dimension=all_gather_dimension, tiled=tiled)


@rule("all_gather")
def _all_gather(
    *, axis_name: Any, axis_size: int, all_gather_dimension: int, tiled: bool, axis_index_groups: Any = None
) -> Attributes:
    return {
        "axes": axis_names(axis_name),
        "axis_size": int(axis_size),
        "all_gather_dimension": int(all_gather_dimension),
        "tiled": bool(tiled),
        "axis_index_groups": _groups(axis_index_groups),
    }


@rule("reduce_scatter", "unreduced_reduce_scatter")
def _reduce_scatter(
    *, axis_name: Any, axis_size: int, scatter_dimension: int, tiled: bool, axis_index_groups: Any = None
) -> Attributes:
    return {
        "axes": axis_names(axis_name),
        "axis_size": int(axis_size),
        "scatter_dimension": int(scatter_dimension),
        "tiled": bool(tiled),
        "axis_index_groups": _groups(axis_index_groups),
    }


@rule("all_to_all")
def _all_to_all(
    *, axis_name: Any, split_axis: int, concat_axis: int, tiled: bool, axis_index_groups: Any = None
) -> Attributes:
    # Without it, JAX puts operations around the primitive, which computes the same.
    del tiled
    return {
        "axes": axis_names(axis_name),
        "split_axis": int(split_axis),
        "concat_axis": int(concat_axis),
        "axis_index_groups": _groups(axis_index_groups),
    }


@rule("ragged_all_to_all")
def _ragged_all_to_all(*, axis_name: Any, axis_index_groups: Any = None) -> Attributes:
    return {"axes": axis_names(axis_name), "axis_index_groups": _groups(axis_index_groups)}


@rule("pbroadcast", "pbroadcast_dynamic", op="pbroadcast")
def _broadcast(*, axis_name: Any, source: int | None = None) -> Attributes:
    return {"axes": axis_names(axis_name), "source_index": None if source is None else int(source)}


@rule("ppermute")
def _ppermute(*, axis_name: Any, perm: Any) -> Attributes:
    return {"axes": axis_names(axis_name), "perm": int_tuples(perm)}


@rule("axis_index")
def _axis_index(*, axis_name: Any) -> Attributes:
    return {"axes": axis_names(axis_name)}


@rule("device_put")
def _device_put(*, devices: Any, srcs: Any, copy_semantics: Any) -> Attributes:
    return {
        "copy_semantics": tuple(semantics.name for semantics in copy_semantics),
        "targets": _places(devices),
        "sources": _places(srcs),
    }


def _places(given: Any) -> tuple[Device | Sharding | str | None, ...]:
    return tuple(map(_place, given)) if any(place is not None for place in given) else ()


def _place(given: Any) -> Device | Sharding | str | None:
    if given is None:
        return None
    if isinstance(given, jax.memory.Space) and given.name in ("Device", "Host"):
        return str(given.name.lower())
    if isinstance(given, jax.sharding.SingleDeviceSharding) and given.memory_kind in (None, "device"):
        (given,) = given.device_set
    if isinstance(given, jax.Device):
        return Device(platform=str(given.platform), id=int(given.id))
    return sharding_record(given)

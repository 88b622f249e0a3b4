"""Attributes of operations on several devices: shardings, ``shard_map``, and what its functions exchange."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import Any

import jax

from ..ir.ops import Device, Reshard, Sharding
from . import jax_compat
from .control import FunctionTable
from .rules import Attributes, UnsupportedError
from .rules.registry import ints, rule
from .rules.shardings import axis_names, has_layout, is_explicit, mesh_shape, partition_spec, sharding_record
from .tracing import manual_axes, within_shard_map

__all__ = ["RULES", "laid_out", "settled"]


def _groups(groups: Any) -> tuple[tuple[int, ...], ...] | None:
    return None if groups is None else tuple(map(ints, groups))


def _shard_map(table: FunctionTable, equation: Any) -> Attributes:
    params: Mapping[str, Any] = equation.params
    mesh = mesh_shape(params["mesh"])
    manual = manual_axes(params)
    closed = jax_compat.as_closed(params["jaxpr"])
    name = jax_compat.function_name(closed)
    return dict(
        # Derivative rules in it can be traced among the axes of the mesh only.
        function=within_shard_map(params, lambda: table.shared(closed, name)),
        mesh=mesh,
        in_specs=tuple(map(partition_spec, params["in_specs"])),
        out_specs=tuple(map(partition_spec, params["out_specs"])),
        manual_axes=tuple(name for name in mesh.names if name in manual),
        check_vma=bool(params["check_vma"]),
    )


def _reshard(table: FunctionTable, equation: Any) -> Attributes:
    wanted, (operand,) = equation.params["dst_sharding"], equation.invars
    if not (table.in_region or has_layout(wanted) or is_explicit(operand.aval.sharding.mesh)):
        return {"op": "copy"}
    named = equation.params.get("concrete_mesh") is not None
    return {"sharding": sharding_record(wanted), "devices": named and jax.sharding.get_abstract_mesh().empty}


def settled(equation: jax_compat.Equation, constants: Container[Any]) -> jax_compat.Equation:
    """Return an equation without what it says of places that its types do not say, or that depends on who traces it."""
    params = equation.params
    if equation.primitive.name == "convert_element_type":
        # jax.vmap adds its axis to what a conversion says more often than to its operand.
        given, (operand,), made = params["sharding"], equation.invars, equation.outvars[0].aval
        if has_layout(given) and (made.sharding.mesh.empty or len(given.spec) > made.ndim):
            said = None if made.sharding == operand.aval.sharding else made.sharding
            return equation.replace(params={**params, "sharding": said})
    elif equation.primitive.name == "device_put":
        # Where a constant comes from is where whoever traces made it; no cotangent goes back there.
        fixed = [jax_compat.is_literal(atom) or atom in constants for atom in equation.invars]
        if any(fixed):
            places = zip(params["srcs"], fixed, strict=True)
            return equation.replace(
                params={**params, "srcs": tuple([None if is_fixed else place for place, is_fixed in places])}
            )
    return equation


def laid_out(constant: str, name: str, aval: Any) -> Reshard:
    """Return a node that puts a constant back on the explicit axes of a mesh where the program found it."""
    # Before JAX 0.9, the operation does not keep devices.
    named = jax.__version_info__ >= (0, 9) and jax.sharding.get_abstract_mesh().empty
    return Reshard(
        inputs=(constant,),
        outputs=(name,),
        types=(jax_compat.type_text(aval),),
        sharding=sharding_record(aval.sharding),
        devices=named,
    )


RULES = {
    "reshard": ("reshard", _reshard),
    "shard_map": ("shard_map", _shard_map),
}
"""Primitive name to operation and rule, for those that run functions or depend on what is around them."""


@rule("sharding_constraint")
def _sharding_constraint(
    *, sharding: Any, layout: Any, context_mesh: Any, unconstrained_dims: Any = frozenset()
) -> Attributes:
    del unconstrained_dims  # they follow from the sharding
    if layout is not None:
        raise UnsupportedError(f"a sharding constraint with layout={layout!r}")
    place = _place(sharding)
    if isinstance(place, Device):  # as of numpy functions that are told a device
        return {"op": "device_put", "copy_semantics": ("REUSE_INPUT",), "targets": (place,)}
    around = mesh_shape(context_mesh)
    if isinstance(place, Sharding) and "manual" in around.types:
        # A mesh with devices says of its axes what they are outside of the shard_map.
        is_around = (place.mesh.names, place.mesh.sizes) == (around.names, around.sizes)
        place = place.model_copy(update={"mesh": around if is_around else place.mesh})
    return {"sharding": place}


@rule("psum", "pmax", "pmin", "unreduced_psum", "unreduced_pmax", "unreduced_pmin")
def _all_reduce(*, axes: Any, axis_index_groups: Any = None) -> Attributes:
    named = (int(axis) if isinstance(axis, int) else axis_names(axis)[0] for axis in axes)
    return {"axes": tuple(named), "axis_index_groups": _groups(axis_index_groups)}


@rule("psum_invariant", op="psum")
def _psum_invariant(*, axes: Any, axis_index_groups: Any = None) -> Attributes:
    return _all_reduce(axes=axes, axis_index_groups=axis_index_groups)


@rule("pvary")
def _pvary(*, axes: Any, axis_index_groups: Any = None) -> Attributes:
    if axis_index_groups is not None:
        raise UnsupportedError(f"pvary with axis_index_groups={axis_index_groups!r}")
    # A set: JAX 0.8 gives them in another order from process to process.
    return {"axes": tuple(sorted(axis_names(axes)))}


@rule("preduced")
def _preduced(*, axes: Any) -> Attributes:
    return {"axes": axis_names(axes)}


@rule("reduced_vary_cast", "reduced_vary_cast_p", op="reduced_vary_cast")
def _reduced_vary_cast(*, axes: Any) -> Attributes:
    return {"axes": axis_names(axes)}


@rule("vary_unreduced_cast", "vary_unreduced_cast_p", op="vary_unreduced_cast")
def _vary_unreduced_cast(*, axes: Any) -> Attributes:
    return {"axes": axis_names(axes)}


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
    return {"axes": axis_names(axis_name), "perm": tuple(map(ints, perm))}


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

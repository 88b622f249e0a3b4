"""Attributes of operations on several devices: shardings, ``shard_map``, and what its functions exchange."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING, Any

import jax

from ..ir.ops import Reshard
from . import jax_compat
from .rules import Attributes, Operation
from .rules.shardings import has_layout, is_explicit, mesh_shape, partition_spec, sharding_record
from .tracing import manual_axes, within_shard_map

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["RULES", "laid_out", "settled"]


def _shard_map(lowering: Lowering, equation: Any) -> Attributes:
    params: Mapping[str, Any] = equation.params
    mesh = mesh_shape(params["mesh"])
    manual = manual_axes(params)
    closed = jax_compat.as_closed(params["jaxpr"])
    name = jax_compat.function_name(closed)
    return dict(
        # Derivative rules in it can be traced among the axes of the mesh only.
        function=within_shard_map(params, lambda: lowering.shared(closed, name)),
        mesh=mesh,
        in_specs=tuple(map(partition_spec, params["in_specs"])),
        out_specs=tuple(map(partition_spec, params["out_specs"])),
        manual_axes=tuple(name for name in mesh.names if name in manual),
        check_vma=bool(params["check_vma"]),
    )


def _reshard(lowering: Lowering, equation: Any) -> Attributes | Operation:
    wanted, (operand,) = equation.params["dst_sharding"], equation.invars
    if not (lowering.in_region or has_layout(wanted) or is_explicit(operand.aval.sharding.mesh)):
        return Operation("copy", {})
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
        fixed = [isinstance(atom, jax_compat.Literal) or atom in constants for atom in equation.invars]
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

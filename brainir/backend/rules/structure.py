"""JAX calls of operations that move, repeat, drop or make elements."""

from __future__ import annotations

from typing import Any

import jax.extend.core.primitives

from ...ir.node import Node
from ...ir.ops import Device, Sharding
from ..expressions import Apply, Expression, Item, Literal, Name, ShardingOf, Tuple
from .registry import Types, as_keywords, as_operands, call, dtype, first_of, layout, rule, sharding_parameter


@rule("bitcast_convert_type")
def _bitcast_convert_type(node: Any, types: Types) -> Expression:
    return call("lax.bitcast_convert_type", node, new_dtype=dtype(node.new_dtype))


@rule("broadcast_in_dim")
def _broadcast_in_dim(node: Any, types: Types) -> Expression:
    keywords = {"shape": node.shape, "broadcast_dimensions": node.broadcast_dimensions}
    if types(node.inputs[0]).shape != node.shape:
        return call("lax.broadcast_in_dim", node, **keywords, **layout(node))
    return call("lax.broadcast_in_dim_p.bind", node, **keywords, sharding=sharding_parameter(node))


@rule("reshape")
def _reshape(node: Any, types: Types) -> Expression:
    if types(node.inputs[0]).shape != node.new_sizes:
        return call("lax.reshape", node, new_sizes=node.new_sizes, **layout(node))
    return call(
        "lax.reshape_p.bind", node, new_sizes=node.new_sizes, dimensions=None, sharding=sharding_parameter(node)
    )


@rule("reshape_dimensions")
def _reshape_dimensions(node: Any, types: Types) -> Expression:
    keywords = {"new_sizes": node.new_sizes, "dimensions": node.dimensions}
    return call("lax.reshape_p.bind", node, **keywords, sharding=sharding_parameter(node))


@rule("dce_sink", "pad", "rev", "slice", "squeeze")
def _public(node: Node, types: Types) -> Expression:
    return call(f"lax.{node.op}", node, **node.attributes())


@rule("transpose")
def _transpose(node: Any, types: Types) -> Expression:
    is_identity = node.permutation == tuple(range(len(node.permutation)))
    return call("lax.transpose_p.bind" if is_identity else "lax.transpose", node, permutation=node.permutation)


@rule("split")
def _split(node: Any, types: Types) -> Expression:
    return first_of(node, call("lax.split", node, sizes=node.sizes, axis=node.axis))


@rule("concatenate")
def _concatenate(node: Any, types: Types) -> Expression:
    if len(node.inputs) == 1:
        return call("lax.concatenate_p.bind", node, dimension=node.dimension)
    return Apply(Name("lax.concatenate"), (Tuple(as_operands(node.inputs)),), {"dimension": Literal(node.dimension)})


@rule("stack")
def _stack(node: Any, types: Types) -> Expression:
    return Apply(Name("jnp.stack"), (Tuple(as_operands(node.inputs)),), {"axis": Literal(node.axis)})


@rule("unstack")
def _unstack(node: Any, types: Types) -> Expression:
    return first_of(node, call("jnp.unstack", node, axis=node.axis))


@rule("tile")
def _tile(node: Any, types: Types) -> Expression:
    return call("jnp.tile", node, reps=node.reps)


@rule("iota")
def _iota(node: Any, types: Types) -> Expression:
    keywords = {"dtype": dtype(node.dtype), "shape": node.shape, "dimension": node.dimension}
    return Apply(Name("lax.broadcasted_iota"), (), as_keywords(keywords) | layout(node))


@rule("empty")
def _empty(node: Any, types: Types) -> Expression:
    # What branches leave for others to fill (JAX 0.10) stays one for all under jax.vmap, which maps lax.empty.
    if not node.shape:
        keywords = {"dtype": dtype(node.dtype), "memory_space": Name("jax.memory.Space.Device")}
        is_named = hasattr(jax.extend.core.primitives, "empty2_p")  # since JAX 0.9
        return Apply(Name("primitives.empty2_p.bind" if is_named else "prelude.empty2"), (), as_keywords(keywords))
    keywords = {"shape": node.shape, "dtype": dtype(node.dtype)}
    return Apply(Name("lax.empty"), (), as_keywords(keywords) | layout(node))


@rule("device_put")
def _device_put(node: Any, types: Types) -> Expression:
    keywords: dict[str, Expression] = {}
    if "ALWAYS_COPY" in node.copy_semantics:
        copied = (Literal(False if semantics == "ALWAYS_COPY" else None) for semantics in node.copy_semantics)
        keywords["may_alias"] = Tuple(tuple(copied))
    if "DONATE_INPUT" in node.copy_semantics:
        keywords["donate"] = Tuple(tuple(Literal(semantics == "DONATE_INPUT") for semantics in node.copy_semantics))
    if node.targets:
        keywords["device"] = Tuple(tuple(map(_place, node.targets)))
    if node.sources:
        keywords["src"] = Tuple(tuple(map(_place, node.sources)))
    return first_of(node, Apply(Name("jax.device_put"), (Tuple(as_operands(node.inputs)),), keywords))


def _place(place: Device | Sharding | str | None) -> Expression:
    match place:
        case Device(platform=platform, id=number):
            return Item(Apply(Name("jax.devices"), (Literal(platform),)), number)
        case Sharding():
            return ShardingOf(place)
        case "device" | "host":
            return Name(f"jax.memory.Space.{place.capitalize()}")
    return Literal(None)


@rule("platform_index")
def _platform_index(node: Any, types: Types) -> Expression:
    return Apply(Name("prelude.platform_index"), (Literal(node.platforms),))


@rule("iota_2x32_shape")
def _iota_2x32_shape(node: Any, types: Types) -> Expression:
    return Apply(Name("prelude.iota_2x32"), (Literal(node.shape),))

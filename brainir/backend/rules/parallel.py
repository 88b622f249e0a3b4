"""JAX calls of operations on several devices."""

from __future__ import annotations

from typing import Any

from jax import lax

from ...ir.ops import Sharding, Spec, SpreadSpec
from ...ir.types import is_literal
from ..expressions import Apply, Expression, FunctionOf, Item, Literal, MeshOf, Name, Operand, Plain, ShardingOf, Tuple
from .registry import Types, as_keywords, as_operands, call, dtype, rule


@rule("sharding_constraint")
def _sharding_constraint(node: Any, types: Types) -> Expression:
    return Apply(Name("lax.with_sharding_constraint"), (*as_operands(node.inputs), ShardingOf(node.sharding)))


@rule("reshard")
def _reshard(node: Any, types: Types) -> Expression:
    sharding = ShardingOf(node.sharding, is_abstract=not node.devices)
    return Apply(Name("jax.sharding.reshard"), (*as_operands(node.inputs), sharding))


@rule("use_mesh")
def _use_mesh(node: Any, types: Types) -> Expression:
    within = Apply(Name("prelude.on_mesh"), (FunctionOf(node.function), MeshOf(node.mesh, is_abstract=True)))
    return Apply(within, as_operands(node.inputs))


@rule("shard_map")
def _shard_map(node: Any, types: Types) -> Expression:
    keywords: dict[str, Plain | Expression] = {
        "mesh": MeshOf(node.mesh),
        "in_specs": Tuple(tuple(map(spec_expression, node.in_specs))),
        "out_specs": Tuple(tuple(map(spec_expression, node.out_specs))),
        "check_vma": node.check_vma,
    }
    if node.manual_axes != node.mesh.names:
        keywords["axis_names"] = Apply(Name("builtins.frozenset"), (Literal(node.manual_axes),))
    mapped = Apply(Name("jax.shard_map"), (FunctionOf(node.function),), as_keywords(keywords))
    return Apply(mapped, as_operands(node.inputs))


def spec_expression(spec: Spec | SpreadSpec | Sharding) -> Apply:
    """Return a ``PartitionSpec``."""
    free = Name("jax.sharding.PartitionSpec.UNCONSTRAINED")
    named: dict[str, Expression] = {}
    if not isinstance(spec, tuple):
        parts = {"unreduced": spec.unreduced, "reduced": spec.reduced}
        named = {name: Apply(Name("builtins.frozenset"), (Literal(axes),)) for name, axes in parts.items() if axes}
        if spec.unreduced_kind != "sum":
            named["unreduced_kind"] = Name(f"jax.sharding.UnreducedKind.{spec.unreduced_kind}")
        spec = spec.spec
    entries = tuple(free if entry == "*" else Literal(entry) for entry in spec)
    return Apply(Name("jax.sharding.PartitionSpec"), entries, named)


@rule("psum", "pmax", "pmin", "unreduced_psum", "unreduced_pmax", "unreduced_pmin")
def _all_reduce(node: Any, types: Types) -> Expression:
    operands = as_operands(node.inputs)
    # jax.vmap makes this of a sum of what it does not map; lax.psum would leave it out.
    if not node.axes:
        params = {"axes": node.axes, "axis_index_groups": node.axis_index_groups}
        bound = Apply(Name(f"lax.{node.op}_p.bind"), operands, as_keywords(params))
        # Before JAX 0.9, the primitive takes several operands and returns a list.
        is_listed = getattr(lax, f"{node.op}_p").multiple_results and len(operands) == 1
        return Item(bound, 0) if is_listed else bound
    options = {} if node.axis_index_groups is None else {"axis_index_groups": node.axis_index_groups}
    given = operands[0] if len(operands) == 1 else Tuple(operands)
    # Of what is marked as a part, lax.psum is another operation.
    return Apply(Name(f"lax.{node.op.removeprefix('unreduced_')}"), (given, Literal(node.axes)), as_keywords(options))


@rule("pvary")
def _pvary(node: Any, types: Types) -> Expression:
    # JAX 0.9 calls it pcast.
    if hasattr(lax, "pcast"):
        return call("lax.pcast", node, axis_name=node.axes, to="varying")
    return Apply(Name("lax.pvary"), (*as_operands(node.inputs), Literal(node.axes)))


@rule("preduced", "reduced_vary_cast", "vary_unreduced_cast")
def _cast(node: Any, types: Types) -> Expression:
    to = {"preduced": "reduced", "reduced_vary_cast": "varying", "vary_unreduced_cast": "unreduced"}[node.op]
    (operand,) = node.inputs
    value: Expression = Operand(operand)
    if is_literal(operand):
        # A number of numpy is on no mesh; what this gives is on the one around, and no operation of the program.
        kind = types(operand)
        options = {"new_dtype": dtype(kind.dtype), "weak_type": kind.weak_type, "sharding": None}
        value = Apply(Name("lax.convert_element_type_p.bind"), (value,), as_keywords(options))
    return Apply(Name("lax.pcast"), (value,), as_keywords({"axis_name": node.axes, "to": to}))


@rule("all_gather_reduced")
def _all_gather_reduced(node: Any, types: Types) -> Expression:
    options = {"axis_name": node.axes, "axis": node.all_gather_dimension, "tiled": node.tiled}
    return call("lax.all_gather", node, **options, to="reduced")


@rule("all_gather")
def _all_gather(node: Any, types: Types) -> Expression:
    return call(
        "lax.all_gather",
        node,
        axis_name=node.axes,
        axis_index_groups=node.axis_index_groups,
        axis=node.all_gather_dimension,
        tiled=node.tiled,
    )


@rule("all_gather_invariant")
def _all_gather_invariant(node: Any, types: Types) -> Expression:
    options = {"axis_name": node.axes, "axis": node.all_gather_dimension, "tiled": node.tiled}
    # JAX 0.9 makes it one function with all_gather.
    if hasattr(lax, "all_gather_invariant"):
        return call("lax.all_gather_invariant", node, **options)
    return call("lax.all_gather", node, **options, to="invarying")


@rule("reduce_scatter", "unreduced_reduce_scatter")
def _reduce_scatter(node: Any, types: Types) -> Expression:
    return call(
        "lax.psum_scatter",
        node,
        axis_name=node.axes,
        scatter_dimension=node.scatter_dimension,
        axis_index_groups=node.axis_index_groups,
        tiled=node.tiled,
    )


@rule("all_to_all")
def _all_to_all(node: Any, types: Types) -> Expression:
    return call(
        "lax.all_to_all",
        node,
        axis_name=node.axes[0] if len(node.axes) == 1 else node.axes,
        split_axis=node.split_axis,
        concat_axis=node.concat_axis,
        axis_index_groups=node.axis_index_groups,
        tiled=True,
    )


@rule("ragged_all_to_all")
def _ragged_all_to_all(node: Any, types: Types) -> Expression:
    return call("lax.ragged_all_to_all", node, axis_name=node.axes, axis_index_groups=node.axis_index_groups)


@rule("pbroadcast")
def _broadcast(node: Any, types: Types) -> Expression:
    operand, *source = as_operands(node.inputs)
    return Apply(Name("lax.pbroadcast"), (operand, Literal(node.axes), *(source or [Literal(node.source_index)])))


@rule("ppermute")
def _ppermute(node: Any, types: Types) -> Expression:
    return call("lax.ppermute", node, axis_name=node.axes, perm=node.perm)


@rule("axis_index")
def _axis_index(node: Any, types: Types) -> Expression:
    return Apply(Name("lax.axis_index"), (Literal(node.axes[0] if len(node.axes) == 1 else node.axes),))

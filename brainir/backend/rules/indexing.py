"""JAX calls of operations that read or write at positions given by data."""

from __future__ import annotations

from typing import Any

from ...ir.node import Node
from ...ir.ops import Scatter
from ...ir.types import parse_scalar
from ..expressions import Apply, Attribute, Expression, FunctionOf, Literal, Name, Tuple
from .registry import Types, as_operands, call, dtype, record, rule


def _indexing(node: Any, numbers: str) -> dict[str, Expression]:
    return {
        "dimension_numbers": record(numbers, node.dimension_numbers),
        "indices_are_sorted": Literal(node.indices_are_sorted),
        "unique_indices": Literal(node.unique_indices),
        "mode": Name(f"lax.GatherScatterMode.{node.mode.upper()}"),
    }


@rule("gather")
def _gather(node: Any, types: Types) -> Expression:
    keywords = _indexing(node, "lax.GatherDimensionNumbers")
    keywords["slice_sizes"] = Literal(node.slice_sizes)
    if node.fill_value is not None:
        element, _ = types(node.inputs[0]).storage
        keywords["fill_value"] = Literal(parse_scalar(node.fill_value, element.name).item())
    return Apply(Name("lax.gather"), as_operands(node.inputs), keywords)


@rule(*Scatter.ops())
def _scatter(node: Any, types: Types) -> Expression:
    return Apply(Name(f"lax.{node.op}"), as_operands(node.inputs), _indexing(node, "lax.ScatterDimensionNumbers"))


@rule("scatter_apply")
def _scatter_apply(node: Any, types: Types) -> Expression:
    # The public function makes updates of its own.
    scalar = Apply(Name("jax.ShapeDtypeStruct"), (Literal(()), dtype(types(node.inputs[0]).dtype)))
    traced = Apply(Apply(Name("jax.make_jaxpr"), (FunctionOf(node.update),)), (scalar, scalar))
    keywords = _indexing(node, "lax.ScatterDimensionNumbers")
    keywords["update_jaxpr"] = Attribute(traced, "jaxpr")
    keywords["update_consts"] = Literal(())
    return Tuple((Apply(Name("lax.scatter_p.bind"), as_operands(node.inputs), keywords),))


@rule("dynamic_slice", "dynamic_update_slice")
def _dynamic(node: Node, types: Types) -> Expression:
    return call(f"lax.{node.op}_p.bind", node, **node.attributes())

"""JAX calls of operations that read or write at positions given by data."""

from __future__ import annotations

from typing import Any

from ...ir.node import Node
from ...ir.ops import Scatter
from ...ir.types import parse_scalar
from ..expressions import (
    Apply,
    Expression,
    Literal,
    Name,
)
from .registry import Types, as_keywords, as_operands, call, rule


def _indexing(node: Any, numbers: str) -> dict[str, Expression]:
    fields = {name: getattr(node.dimension_numbers, name) for name in type(node.dimension_numbers).model_fields}
    return {
        "dimension_numbers": Apply(Name(numbers), (), as_keywords(fields)),
        "indices_are_sorted": Literal(node.indices_are_sorted),
        "unique_indices": Literal(node.unique_indices),
        "mode": Name(f"lax.GatherScatterMode.{node.mode.upper()}"),
    }


@rule("gather")
def _gather(node: Any, types: Types) -> Expression:
    keywords = _indexing(node, "lax.GatherDimensionNumbers")
    keywords["slice_sizes"] = Literal(node.slice_sizes)
    if node.fill_value is not None:
        value = parse_scalar(node.fill_value, types(node.inputs[0]).dtype)
        keywords["fill_value"] = Literal(value.item())
    return Apply(Name("lax.gather"), as_operands(node.inputs), keywords)


@rule(*Scatter.ops())
def _scatter(node: Any, types: Types) -> Expression:
    return Apply(Name(f"lax.{node.op}"), as_operands(node.inputs), _indexing(node, "lax.ScatterDimensionNumbers"))


@rule("dynamic_slice")
def _dynamic_slice(node: Any, types: Types) -> Expression:
    operand, *starts = as_operands(node.inputs)
    return Apply(Name("lax.dynamic_slice_p.bind"), (operand, *starts), as_keywords({"slice_sizes": node.slice_sizes}))


@rule("dynamic_update_slice")
def _dynamic_update_slice(node: Node, types: Types) -> Expression:
    return call("lax.dynamic_update_slice_p.bind", node)

"""JAX calls of operations that combine elements along axes."""

from __future__ import annotations

from typing import Any

from ...ir.ops import Cumulative, Reduce
from ..expressions import Apply, Expression, Name
from .registry import Types, as_keywords, call, dtype, layout, rule
from .windows import combination


@rule(*Reduce.ops())
def _reduce(node: Any, types: Types) -> Expression:
    return call(f"lax.{node.op}", node, axes=node.axes, **layout(node))


@rule("reduce")
def _reduce_with(node: Any, types: Types) -> Expression:
    return Apply(Name("lax.reduce"), combination(node), as_keywords({"dimensions": node.dimensions}))


@rule("argmax", "argmin")
def _arg_reduce(node: Any, types: Types) -> Expression:
    (axis,) = node.axes
    return call(f"lax.{node.op}", node, axis=axis, index_dtype=dtype(node.index_dtype))


@rule(*Cumulative.ops())
def _cumulative(node: Any, types: Types) -> Expression:
    return call(f"lax.{node.op}", node, **node.attributes())

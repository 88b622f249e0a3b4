"""JAX calls of operations that combine the elements in windows."""

from __future__ import annotations

from typing import Any

from ...ir.ops import ReduceWindowMonoid
from ..expressions import Apply, Expression, FunctionOf, Lambda, Name, Splat, Tuple, Variable
from .registry import Types, as_keywords, as_operands, call, rule

__all__ = ["combination"]


@rule(*ReduceWindowMonoid.ops())
def _reduce_window_monoid(node: Any, types: Types) -> Expression:
    return call(f"lax.{node.op}_p.bind", node, **node.attributes())


@rule("select_and_scatter_add", "select_and_gather_add")
def _select_and(node: Any, types: Types) -> Expression:
    attributes = {**node.attributes(), "select_prim": Name(f"lax.{node.select_prim}_p")}
    return call(f"lax.{node.op}_p.bind", node, **attributes)


@rule("reduce_window")
def _reduce_window(node: Any, types: Types) -> Expression:
    attributes = {name: value for name, value in node.attributes().items() if name != "computation"}
    return Apply(Name("lax.reduce_window"), combination(node), as_keywords(attributes))


def combination(node: Any) -> tuple[Expression, ...]:
    """Return operands, initial values, and the function that combines them, as ``lax.reduce`` takes them."""
    half = len(node.inputs) // 2
    both = tuple(Splat(Variable(name)) for name in ("carry", "xs"))
    combine = Lambda(("carry", "xs"), Apply(FunctionOf(node.computation), both))
    return (Tuple(as_operands(node.inputs[:half])), Tuple(as_operands(node.inputs[half:])), combine)

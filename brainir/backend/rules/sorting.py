"""JAX calls of operations that put elements in order."""

from __future__ import annotations

from typing import Any

from ..expressions import Apply, Expression, Name, Tuple
from .registry import Types, as_keywords, as_operands, call, rule


@rule("sort")
def _sort(node: Any, types: Types) -> Expression:
    keywords = {"dimension": node.dimension, "is_stable": node.is_stable, "num_keys": node.num_keys}
    if len(node.inputs) == 1:
        return call("lax.sort", node, **keywords)
    return Apply(Name("lax.sort"), (Tuple(as_operands(node.inputs)),), as_keywords(keywords))


@rule("top_k")
def _top_k(node: Any, types: Types) -> Expression:
    keywords = {"k": node.k}
    if node.axis != types(node.inputs[0]).ndim - 1:  # not in every JAX
        keywords["axis"] = node.axis
    if not node.is_stable:  # not in every JAX
        keywords["is_stable"] = False
    return call("lax.top_k", node, **keywords)


@rule("approx_top_k")
def _approx_top_k(node: Any, types: Types) -> Expression:
    return call("lax.approx_top_k_p.bind", node, **node.attributes())

"""JAX calls of operations that put elements in order."""

from __future__ import annotations

from typing import Any

from ..expressions import Expression
from .registry import Types, call, rule


@rule("sort")
def _sort(node: Any, types: Types) -> Expression:
    # Of several operands, lax.sort marks each as one that varies where another does; these leave them as they are.
    order = {"dimension": node.dimension, "is_stable": node.is_stable}
    match len(node.inputs), node.num_keys:
        case 1, _:
            return call("lax.sort", node, **order)
        case 2, 1:
            return call("lax.sort_key_val", node, **order)
    return call("lax.sort_p.bind", node, **order, num_keys=node.num_keys)


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

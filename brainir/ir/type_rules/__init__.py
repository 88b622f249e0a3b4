"""Type rules: the result types of every operation, recomputed from its operands and attributes.

The rules follow ``jax.lax``: operands of an elementwise operation have one shape, but for scalars and axes of
length one, which are repeated.

Rules compute element type and shape. Weak types are not recomputed: they are ignored in operands, in
signatures of functions and in results. Rules do arithmetic on shapes only, so types too large to allocate
cost nothing.
"""

from __future__ import annotations

from ..node import Node
from ..ops import layout_of
from . import (  # noqa: F401  # they enter their rules
    contraction_reduction,
    control,
    elementwise,
    external,
    linalg,
    parallel,
    products,
    random,
    sorting,
    structure,
    windows,
)
from .checks import MAX_RANK
from .meshes import check_layout
from .registry import BY_TYPES, RULES, Callees, TypeRuleError, Types

__all__ = ["BY_TYPES", "MAX_RANK", "RULES", "TypeRuleError", "result_types"]


def result_types(node: Node, operands: Types, callees: Callees) -> Types:
    """Return the result types of a node, without weak types.

    Parameters
    ----------
    node : Node
    operands : tuple of TensorType
        Types of ``node.inputs``; weak types in them are ignored.
    callees : mapping from name to Function
        At least the functions that the node refers to; their outputs must be defined. Rules read their signatures
        only.

    Raises
    ------
    TypeRuleError
        If the operands or attributes do not fit the operation.
    """
    rule = RULES.get(node.op)
    if rule is None:
        raise TypeRuleError(f"operation {node.op!r} has no type rule")
    for kind in operands:
        if kind.weak_type:
            operands = tuple([each.strong for each in operands])
            break
    results = rule(node, operands, callees)
    sharding = layout_of(node)
    if sharding is not None:
        check_layout(results[-1].shape, sharding)
    return results

"""JAX calls of sums of products."""

from __future__ import annotations

from typing import Any

from ..expressions import (
    Expression,
    Literal,
    Tuple,
)
from .registry import Types, call, dtype, member, rule


@rule("dot_general")
def _dot_general(node: Any, types: Types) -> Expression:
    return call(
        "lax.dot_general",
        node,
        dimension_numbers=node.dimension_numbers,
        precision=_precision(node.precision),
        preferred_element_type=None if node.preferred_element_type is None else dtype(node.preferred_element_type),
    )


def _precision(precision: str | tuple[str, str] | None) -> Expression:
    if precision is None:
        return Literal(None)
    if isinstance(precision, str):
        return member("lax.Precision", precision)
    return Tuple(tuple(member("lax.Precision", part) for part in precision))

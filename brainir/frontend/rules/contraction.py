"""Attributes of sums of products."""

from __future__ import annotations

from typing import Any

from .registry import Attributes, dtype_name, ints, no_sharding, precision_name, rule


@rule("dot_general")
def _dot_general(
    *, dimension_numbers: Any, precision: Any, preferred_element_type: Any, out_sharding: Any = None
) -> Attributes:
    no_sharding(out_sharding=out_sharding)
    (lhs, rhs), (lhs_batch, rhs_batch) = dimension_numbers
    return {
        "dimension_numbers": ((ints(lhs), ints(rhs)), (ints(lhs_batch), ints(rhs_batch))),
        "precision": precision_name(precision),
        "preferred_element_type": None if preferred_element_type is None else dtype_name(preferred_element_type),
    }

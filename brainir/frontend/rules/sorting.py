"""Attributes of operations that put elements in order."""

from __future__ import annotations

from .registry import Attributes, rule


@rule("sort")
def _sort(*, dimension: int, is_stable: bool, num_keys: int) -> Attributes:
    return {"dimension": int(dimension), "is_stable": bool(is_stable), "num_keys": int(num_keys)}


@rule("top_k")
def _top_k(*, k: int, axis: int | None = None, is_stable: bool = True) -> Attributes:
    # Before JAX 0.10 it was always the last axis, before 0.12 always stable.
    return {"k": int(k), "axis": None if axis is None else int(axis), "is_stable": bool(is_stable)}


@rule("approx_top_k")
def _approx_top_k(
    *,
    k: int,
    reduction_dimension: int,
    recall_target: float,
    is_max_k: bool,
    reduction_input_size_override: int,
    aggregate_to_topk: bool,
) -> Attributes:
    return {
        "k": int(k),
        "reduction_dimension": int(reduction_dimension),
        "recall_target": float(recall_target),
        "is_max_k": bool(is_max_k),
        "reduction_input_size_override": int(reduction_input_size_override),
        "aggregate_to_topk": bool(aggregate_to_topk),
    }

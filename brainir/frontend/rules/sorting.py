"""Attributes of operations that put elements in order."""

from __future__ import annotations

from .registry import Attributes, reads, rule

rule("sort")(reads(dimension=int, is_stable=bool, num_keys=int))
rule("approx_top_k")(
    reads(
        k=int,
        reduction_dimension=int,
        recall_target=float,
        is_max_k=bool,
        reduction_input_size_override=int,
        aggregate_to_topk=bool,
    )
)


@rule("top_k")
def _top_k(*, k: int, axis: int | None = None, is_stable: bool = True) -> Attributes:
    # Before JAX 0.10 it was always the last axis, before 0.12 always stable.
    return {"k": int(k), "axis": None if axis is None else int(axis), "is_stable": bool(is_stable)}

"""Schemas of operations that put elements in order."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat

from ..node import Node


class Sort(Node):
    """Sort operands together along an axis, by the first `num_keys` of them."""

    op: Literal["sort"] = "sort"
    dimension: int
    is_stable: bool
    num_keys: int


class TopK(Node):
    """The `k` largest elements along an axis and their indices."""

    op: Literal["top_k"] = "top_k"
    k: int
    axis: int
    is_stable: bool = True


class ApproxTopK(Node):
    """Most of the `k` largest or smallest elements along an axis and their indices."""

    op: Literal["approx_top_k"] = "approx_top_k"
    k: int
    reduction_dimension: int
    recall_target: FiniteFloat
    is_max_k: bool
    reduction_input_size_override: int
    aggregate_to_topk: bool

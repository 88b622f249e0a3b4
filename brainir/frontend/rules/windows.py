"""Attributes of operations that combine the elements in windows."""

from __future__ import annotations

from typing import Any

from ...ir.ops import ReduceWindowMonoid
from .registry import Attributes, ints, rule


@rule(*ReduceWindowMonoid.ops())
def _reduce_window(
    *, window_dimensions: Any, window_strides: Any, padding: Any, base_dilation: Any, window_dilation: Any
) -> Attributes:
    return {
        "window_dimensions": ints(window_dimensions),
        "window_strides": ints(window_strides),
        "padding": tuple(map(ints, padding)),
        "base_dilation": ints(base_dilation),
        "window_dilation": ints(window_dilation),
    }


@rule("select_and_scatter_add")
def _select_and_scatter_add(
    *, select_prim: Any, window_dimensions: Any, window_strides: Any, padding: Any
) -> Attributes:
    return {
        "select_prim": select_prim.name,
        "window_dimensions": ints(window_dimensions),
        "window_strides": ints(window_strides),
        "padding": tuple(map(ints, padding)),
    }


@rule("select_and_gather_add")
def _select_and_gather_add(*, select_prim: Any, **window: Any) -> Attributes:
    return {"select_prim": select_prim.name, **_reduce_window(**window)}

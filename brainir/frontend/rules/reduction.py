"""Attributes of operations that combine elements along axes."""

from __future__ import annotations

from typing import Any

from ...ir.ops import Cumulative, Reduce
from .registry import Attributes, dtype_name, ints, rule
from .shardings import layout


@rule(*Reduce.ops())
def _reduce(*, axes: Any, out_sharding: Any = None) -> Attributes:
    return {"axes": ints(axes), **layout(out_sharding)}


@rule("reduce")
def _reduce_with(*, jaxpr: Any, dimensions: Any, computation: Any = None) -> Attributes:
    del jaxpr, computation  # the combination, which is a function of the program
    return {"dimensions": ints(dimensions)}


@rule("argmax", "argmin")
def _arg_reduce(*, axes: Any, index_dtype: Any) -> Attributes:
    return {"axes": ints(axes), "index_dtype": dtype_name(index_dtype)}


@rule(*Cumulative.ops())
def _cumulative(*, axis: int, reverse: bool) -> Attributes:
    return {"axis": int(axis), "reverse": bool(reverse)}

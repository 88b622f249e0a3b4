"""Attributes of operations that combine elements along axes."""

from __future__ import annotations

from typing import Any

from ...ir.ops import Cumulative, Reduce
from .registry import Attributes, dtype_name, ints, reads, rule
from .shardings import layout

rule("argmax", "argmin")(reads(axes=ints, index_dtype=dtype_name))
rule(*Cumulative.ops())(reads(axis=int, reverse=bool))


@rule(*Reduce.ops())
def _reduce(*, axes: Any, out_sharding: Any = None) -> Attributes:
    return {"axes": ints(axes), **layout(out_sharding)}


@rule("reduce")
def _reduce_with(*, jaxpr: Any, dimensions: Any, computation: Any = None) -> Attributes:
    del jaxpr, computation  # the combination, which is a function of the program
    return {"dimensions": ints(dimensions)}

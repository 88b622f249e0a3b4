"""Attributes of operations that combine the elements in windows."""

from __future__ import annotations

import operator

from ...ir.ops import ReduceWindowMonoid
from .registry import int_tuples, ints, reads, rule

_WINDOW = {"window_dimensions": ints, "window_strides": ints, "padding": int_tuples}
_DILATED = {**_WINDOW, "base_dilation": ints, "window_dilation": ints}

rule(*ReduceWindowMonoid.ops())(reads(**_DILATED))
rule("select_and_scatter_add")(reads(select_prim=operator.attrgetter("name"), **_WINDOW))
rule("select_and_gather_add")(reads(select_prim=operator.attrgetter("name"), **_DILATED))

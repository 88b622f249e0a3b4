"""Attributes of operations that read or write at positions given by data."""

from __future__ import annotations

import functools
from typing import Any

import jax

from ...ir.ops import GatherNumbers, Scatter, ScatterNumbers
from .registry import RULES, Attributes, ints, numbers, reads, rule

_MODES = {
    jax.lax.GatherScatterMode.CLIP: "clip",
    jax.lax.GatherScatterMode.FILL_OR_DROP: "fill_or_drop",
    jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS: "promise_in_bounds",
}


rule("dynamic_slice")(reads(slice_sizes=ints))
rule("gather")(
    reads(
        dimension_numbers=functools.partial(numbers, GatherNumbers),
        slice_sizes=ints,
        indices_are_sorted=bool,
        unique_indices=bool,
        mode=_MODES.__getitem__,
        fill_value=lambda value: None,  # equations.py writes it, in the operand's element type
    )
)


def _scatter(
    *,
    dimension_numbers: Any,
    indices_are_sorted: bool,
    unique_indices: bool,
    mode: Any,
    update_jaxpr: Any,
    update_consts: Any,
) -> Attributes:
    del update_jaxpr, update_consts  # follow from the operation
    return {
        "dimension_numbers": numbers(ScatterNumbers, dimension_numbers),
        "indices_are_sorted": bool(indices_are_sorted),
        "unique_indices": bool(unique_indices),
        "mode": _MODES[mode],
    }


RULES.update({op.replace("_", "-"): (op, _scatter) for op in Scatter.ops()})

"""Attributes of operations that read or write at positions given by data."""

from __future__ import annotations

from typing import Any

import jax

from ...ir.ops import GatherNumbers, Scatter, ScatterNumbers
from .registry import RULES, Attributes, ints, reads, rule

_MODES = {
    jax.lax.GatherScatterMode.CLIP: "clip",
    jax.lax.GatherScatterMode.FILL_OR_DROP: "fill_or_drop",
    jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS: "promise_in_bounds",
}


rule("dynamic_slice")(reads(slice_sizes=ints))


@rule("gather")
def _gather(
    *,
    dimension_numbers: Any,
    slice_sizes: Any,
    indices_are_sorted: bool,
    unique_indices: bool,
    mode: Any,
    fill_value: Any,
) -> Attributes:
    del fill_value  # which is of the operand's element type
    names = GatherNumbers.model_fields
    return {
        "dimension_numbers": GatherNumbers(**{name: ints(getattr(dimension_numbers, name)) for name in names}),
        "slice_sizes": ints(slice_sizes),
        "indices_are_sorted": bool(indices_are_sorted),
        "unique_indices": bool(unique_indices),
        "mode": _MODES[mode],
    }


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
    names = ScatterNumbers.model_fields
    return {
        "dimension_numbers": ScatterNumbers(**{name: ints(getattr(dimension_numbers, name)) for name in names}),
        "indices_are_sorted": bool(indices_are_sorted),
        "unique_indices": bool(unique_indices),
        "mode": _MODES[mode],
    }


RULES.update({op.replace("_", "-"): (op, _scatter) for op in Scatter.ops()})

"""Attributes of sums of products."""

from __future__ import annotations

from typing import Any

import jax

from ...ir.ops import ConvNumbers, RaggedDotNumbers
from ...ir.ops.contraction import DimensionNumbers
from .registry import Attributes, absent, dtype_name, int_tuples, ints, numbers, precision_name, reads, rule
from .shardings import layout


@rule("dot_general")
def _dot_general(
    *, dimension_numbers: Any, precision: Any, preferred_element_type: Any, out_sharding: Any = None
) -> Attributes:
    made = _product(precision, preferred_element_type, out_sharding)
    return {"dimension_numbers": _dot_numbers(dimension_numbers), **made}


@rule("ragged_dot_general")
def _ragged_dot_general(
    *,
    ragged_dot_dimension_numbers: Any,
    precision: Any,
    preferred_element_type: Any,
    group_offset: Any = None,
    out_sharding: Any = None,
) -> Attributes:
    absent(group_offset=group_offset)
    given = ragged_dot_dimension_numbers
    return {
        "ragged_dot_dimension_numbers": RaggedDotNumbers(
            dot_dimension_numbers=_dot_numbers(given.dot_dimension_numbers),
            lhs_ragged_dimensions=ints(given.lhs_ragged_dimensions),
            rhs_group_dimensions=ints(given.rhs_group_dimensions),
        ),
        **_product(precision, preferred_element_type, out_sharding),
    }


@rule("conv_general_dilated")
def _conv_general_dilated(
    *,
    window_strides: Any,
    padding: Any,
    lhs_dilation: Any,
    rhs_dilation: Any,
    dimension_numbers: Any,
    feature_group_count: int,
    batch_group_count: int,
    precision: Any,
    preferred_element_type: Any,
    out_sharding: Any = None,
) -> Attributes:
    return {
        "dimension_numbers": numbers(ConvNumbers, dimension_numbers),
        "window_strides": ints(window_strides),
        "padding": int_tuples(padding),
        "lhs_dilation": ints(lhs_dilation),
        "rhs_dilation": ints(rhs_dilation),
        "feature_group_count": int(feature_group_count),
        "batch_group_count": int(batch_group_count),
        **_product(precision, preferred_element_type, out_sharding),
    }


def _dot_numbers(given: Any) -> DimensionNumbers:
    (lhs, rhs), (lhs_batch, rhs_batch) = given
    return (ints(lhs), ints(rhs)), (ints(lhs_batch), ints(rhs_batch))


rule("scaled_dot")(reads(dimension_numbers=_dot_numbers, preferred_element_type=dtype_name))
rule("fft")(reads(fft_type=lambda kind: jax.lax.FftType(kind).name, fft_lengths=ints))


def _product(precision: Any, preferred_element_type: Any, out_sharding: Any) -> Attributes:
    return {
        "precision": precision_name(precision),
        "preferred_element_type": None if preferred_element_type is None else dtype_name(preferred_element_type),
        **layout(out_sharding),
    }

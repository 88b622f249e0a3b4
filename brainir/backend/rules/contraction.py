"""JAX calls of sums of products."""

from __future__ import annotations

from typing import Any

from ...ir.ops import DotAlgorithm
from ..expressions import Apply, Expression, Literal, Name, Tuple
from .registry import Types, as_keywords, as_operands, call, dtype, layout, member, record, rule

_PRECISIONS = frozenset(("DEFAULT", "HIGH", "HIGHEST"))


@rule("dot_general")
def _dot_general(node: Any, types: Types) -> Expression:
    return call("lax.dot_general", node, dimension_numbers=node.dimension_numbers, **_product(node))


@rule("ragged_dot_general")
def _ragged_dot_general(node: Any, types: Types) -> Expression:
    numbers = record("lax.RaggedDotDimensionNumbers", node.ragged_dot_dimension_numbers)
    return call("lax.ragged_dot_general", node, ragged_dot_dimension_numbers=numbers, **_product(node))


@rule("scaled_dot")
def _scaled_dot(node: Any, types: Types) -> Expression:
    left, right, *scales = as_operands(node.inputs)
    options = as_keywords(
        {
            "dimension_numbers": node.dimension_numbers,
            "preferred_element_type": dtype(node.preferred_element_type),
        }
    )
    return Apply(Name("lax.scaled_dot"), (left, right), {"lhs_scale": scales[0], "rhs_scale": scales[1], **options})


@rule("conv_general_dilated")
def _conv_general_dilated(node: Any, types: Types) -> Expression:
    return call(
        "lax.conv_general_dilated",
        node,
        window_strides=node.window_strides,
        padding=node.padding,
        lhs_dilation=node.lhs_dilation,
        rhs_dilation=node.rhs_dilation,
        dimension_numbers=record("lax.ConvDimensionNumbers", node.dimension_numbers),
        feature_group_count=node.feature_group_count,
        batch_group_count=node.batch_group_count,
        **_product(node),
    )


@rule("fft")
def _fft(node: Any, types: Types) -> Expression:
    # The public function is a jit.
    kind = Name(f"lax.FftType.{node.fft_type}")
    return call("lax.fft_p.bind", node, fft_type=kind, fft_lengths=node.fft_lengths)


def _product(node: Any) -> dict[str, Expression]:
    element = node.preferred_element_type
    kind = Literal(None) if element is None else dtype(element)
    return {"precision": _precision(node.precision), "preferred_element_type": kind, **layout(node)}


def _precision(precision: str | tuple[str, str] | DotAlgorithm | None) -> Expression:
    if precision is None:
        return Literal(None)
    if isinstance(precision, str):
        return member("lax.Precision" if precision in _PRECISIONS else "lax.DotAlgorithmPreset", precision)
    if isinstance(precision, DotAlgorithm):
        named = {name: dtype(value) if name.endswith("_type") else value for name, value in precision}
        return Apply(Name("lax.DotAlgorithm"), (), as_keywords(named))
    return Tuple(tuple(member("lax.Precision", part) for part in precision))

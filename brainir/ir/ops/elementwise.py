"""Schemas of operations in which an element of the result sees the same element of each operand."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..node import Node, Traits
from .sharding import Sharding
from .traits import ELEMENTWISE, FLAT, elementwise_linear_in


class Unary(Node):
    """An elementwise function of one operand."""

    op: Literal[
        "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "bessel_i0e", "bessel_i1e", "ceil", "clz", "conj",
        "copy", "cosh", "digamma", "erf", "erf_inv", "erfc", "floor", "imag", "is_finite", "lgamma", "neg", "not",
        "one_minus_square", "population_count", "real", "sign", "sinh", "square", "stop_gradient",
    ]  # fmt: skip
    family_traits: ClassVar[Traits] = ELEMENTWISE
    op_traits: ClassVar[dict[str, Traits]] = {
        **{op: elementwise_linear_in(0) for op in ("conj", "copy", "imag", "neg", "real")},
        **dict.fromkeys(("ceil", "floor", "sign"), FLAT),
        "stop_gradient": Traits(elementwise=True, linear=(0,), blocks_gradient=True),
    }


class UnaryAccuracy(Node):
    """An elementwise function of one operand whose accuracy can be chosen."""

    op: Literal[
        "cbrt", "cos", "exp", "exp2", "expm1", "log", "log1p", "log2", "logistic", "rsqrt", "sin", "sqrt", "tan",
        "tanh",
    ]  # fmt: skip
    accuracy: str | None = None
    family_traits: ClassVar[Traits] = ELEMENTWISE


class IntegerPow(Node):
    """``x ** y`` for a fixed integer ``y``."""

    op: Literal["integer_pow"] = "integer_pow"
    y: int
    family_traits: ClassVar[Traits] = ELEMENTWISE


class Round(Node):
    """Round to integers; ``rounding_method`` 0 goes away from zero on ties, 1 to even."""

    op: Literal["round"] = "round"
    rounding_method: int
    family_traits: ClassVar[Traits] = FLAT


class ReducePrecision(Node):
    """Round to fewer exponent and mantissa bits."""

    op: Literal["reduce_precision"] = "reduce_precision"
    exponent_bits: int
    mantissa_bits: int
    family_traits: ClassVar[Traits] = ELEMENTWISE


class Binary(Node):
    """An elementwise function of two operands of one type."""

    op: Literal[
        "add", "add_any", "and", "atan2", "complex", "div", "igamma", "igamma_grad_a", "igammac", "max", "min", "mul",
        "mulhi", "nextafter", "or", "polygamma", "pow", "rem", "shift_left",
        "shift_right_arithmetic", "shift_right_logical", "sub", "xor", "zeta",
    ]  # fmt: skip
    family_traits: ClassVar[Traits] = ELEMENTWISE
    op_traits: ClassVar[dict[str, Traits]] = {
        "mul": elementwise_linear_in(0, 1),
        "div": elementwise_linear_in(0),
        "nextafter": FLAT,
    }


class MulOutDtype(Node):
    """The product of two operands, computed in an element type (``jax.lax.mul`` with `out_dtype`); theirs are any."""

    op: Literal["mul_out_dtype"] = "mul_out_dtype"
    out_dtype: str
    family_traits: ClassVar[Traits] = elementwise_linear_in(0, 1)


class IncompleteBeta(Node):
    """The regularized incomplete beta function of a, b, x (``jax.lax.betainc``)."""

    op: Literal["regularized_incomplete_beta"] = "regularized_incomplete_beta"
    family_traits: ClassVar[Traits] = ELEMENTWISE


class Polynomial(Node):
    """A polynomial in the first operand; the others are its coefficients, that of the lowest power first.

    From `unroll` coefficients on it runs as a loop (JAX's default: more than 8).
    """

    op: Literal["polynomial"] = "polynomial"
    unroll: int | None = None
    family_traits: ClassVar[Traits] = ELEMENTWISE


class Compare(Node):
    """An elementwise comparison of two operands of one type."""

    op: Literal["eq", "eq_to", "ge", "gt", "le", "le_to", "lt", "lt_to", "ne"]
    family_traits: ClassVar[Traits] = ELEMENTWISE


class SelectN(Node):
    """Pick, element by element, the case that ``which`` (boolean or index) names."""

    op: Literal["select_n"] = "select_n"
    family_traits: ClassVar[Traits] = ELEMENTWISE


class Clamp(Node):
    """``min <= x <= max``; the operands are min, x, max."""

    op: Literal["clamp"] = "clamp"
    family_traits: ClassVar[Traits] = ELEMENTWISE


class ConvertElementType(Node):
    """Convert to another element type."""

    op: Literal["convert_element_type"] = "convert_element_type"
    new_dtype: str
    weak_type: bool = False
    out_sharding: Sharding | None = None
    family_traits: ClassVar[Traits] = elementwise_linear_in(0)

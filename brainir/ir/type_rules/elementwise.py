"""Type rules of operations that act on each element by itself."""

from __future__ import annotations

from .. import ops
from ..types import TensorType
from ..wording import counted
from .checks import check_count, check_kind, common_shape, list_types, same_dtype
from .element_types import (
    ANY,
    COMPLEX_OF,
    DISCRETE,
    FLOAT,
    INEXACT,
    INTEGER,
    NUMBER,
    ORDERED,
    PLAIN,
    REAL_OF,
    bits_of,
    kind_of,
)
from .registry import Callees, TypeRuleError, Types, rule, rule_by_types

_ACCEPTED = {
    **dict.fromkeys(("acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "sinh"), INEXACT),
    **dict.fromkeys(ops.UnaryAccuracy.ops(), INEXACT),
    **dict.fromkeys(("copy", "stop_gradient"), ANY),
    **dict.fromkeys(("neg", "one_minus_square", "sign", "square"), NUMBER),
    **dict.fromkeys(("clz", "population_count"), INTEGER),
    **dict.fromkeys(
        ("cbrt", "ceil", "digamma", "erf", "erf_inv", "erfc", "floor", "is_finite", "lgamma", "nextafter"),
        FLOAT,
    ),
    **dict.fromkeys(("bessel_i0e", "bessel_i1e", "igamma", "igamma_grad_a", "igammac", "polygamma"), FLOAT),
    "zeta": FLOAT,
    "mulhi": INTEGER,
    "abs": INEXACT | {"int"},
    "conj": INEXACT,
    "imag": frozenset({"complex"}),
    "not": DISCRETE,
    "real": frozenset({"complex"}),
    **dict.fromkeys(("add", "add_any", "sub", "mul", "div"), NUMBER),
    **dict.fromkeys(("and", "or", "xor"), DISCRETE),
    **dict.fromkeys(("shift_left", "shift_right_arithmetic", "shift_right_logical"), INTEGER),
    **dict.fromkeys(("max", "min", "eq_to"), PLAIN),
    **dict.fromkeys(("eq", "ne"), PLAIN | {"key"}),
    **dict.fromkeys(("ge", "gt", "le", "lt", "le_to", "lt_to"), ORDERED),
    "atan2": INEXACT,
    "complex": FLOAT,
    "rem": INTEGER | FLOAT,
}


def _complex_of(dtype: str) -> str:
    if dtype not in COMPLEX_OF:
        raise TypeRuleError(f"the operand has element type {dtype}, but must be float32 or float64")
    return COMPLEX_OF[dtype]


@rule_by_types(ops.Unary, ops.UnaryAccuracy)
def _unary(op: str, operands: Types) -> Types:
    check_count(operands, 1)
    dtype, shape = operands[0].dtype, operands[0].shape
    check_kind(dtype, _ACCEPTED[op])
    if op == "abs" and dtype in ("int2", "int4"):
        raise TypeRuleError(f"abs does not take {dtype}")
    if op == "is_finite":
        return (TensorType("bool", shape),)
    if op in ("abs", "real", "imag") and dtype in REAL_OF:
        return (TensorType(REAL_OF[dtype], shape),)
    if op == "conj" and dtype not in REAL_OF:
        return (TensorType(_complex_of(dtype), shape),)
    return operands


@rule(ops.IntegerPow)
def _integer_pow(node: ops.IntegerPow, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    check_kind(operands[0].dtype, NUMBER)
    if node.y < 0:
        check_kind(operands[0].dtype, INEXACT, "the operand of a negative power")
    return operands


@rule(ops.Round)
def _round(node: ops.Round, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    check_kind(operands[0].dtype, FLOAT)
    if node.rounding_method not in (0, 1):
        raise TypeRuleError(f"rounding_method is 0 (away from zero) or 1 (to even), not {node.rounding_method}")
    return operands


@rule(ops.ReducePrecision)
def _reduce_precision(node: ops.ReducePrecision, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    check_kind(operands[0].dtype, FLOAT)
    if node.exponent_bits < 1 or node.mantissa_bits < 0:
        raise TypeRuleError("reduce_precision keeps at least 1 exponent bit and 0 mantissa bits")
    return operands


@rule_by_types(ops.Binary)
def _binary(op: str, operands: Types) -> Types:
    check_count(operands, 2)
    first, second = operands
    if op == "pow":
        check_kind(first.dtype, INEXACT, "the base")
        if kind_of(second.dtype) not in INTEGER:
            same_dtype(operands)
        dtype = first.dtype
    else:
        dtype = same_dtype(operands)
        check_kind(dtype, _ACCEPTED[op])
        if op == "complex":
            dtype = _complex_of(dtype)
        elif first.shape == second.shape:
            return (first,)
        elif op == "add_any":
            raise TypeRuleError(f"operands must have one shape, not {list_types(operands)}")
    return (TensorType(dtype, common_shape(operands)),)


@rule(ops.MulOutDtype)
def _mul_out_dtype(node: ops.MulOutDtype, operands: Types, _: Callees) -> Types:
    check_count(operands, 2)
    for operand in operands:
        check_kind(operand.dtype, NUMBER)
    check_kind(node.out_dtype, NUMBER, "the result")
    return (TensorType(node.out_dtype, common_shape(operands)),)


@rule(ops.IncompleteBeta)
def _incomplete_beta(_node: ops.IncompleteBeta, operands: Types, _: Callees) -> Types:
    check_count(operands, 3)
    check_kind(same_dtype(operands), FLOAT)
    return (TensorType(operands[0].dtype, common_shape(operands)),)


@rule(ops.Polynomial)
def _polynomial(_node: ops.Polynomial, operands: Types, _: Callees) -> Types:
    if len(operands) < 2:
        raise TypeRuleError("it takes an operand, then at least one coefficient")
    check_kind(same_dtype(operands), NUMBER)
    return (TensorType(operands[0].dtype, common_shape(operands)),)


@rule_by_types(ops.Compare)
def _compare(op: str, operands: Types) -> Types:
    check_count(operands, 2)
    check_kind(same_dtype(operands), _ACCEPTED[op])
    return (TensorType("bool", common_shape(operands)),)


@rule_by_types(ops.SelectN)
def _select_n(_op: str, operands: Types) -> Types:
    if len(operands) < 2:
        raise TypeRuleError(f"it takes a predicate and at least one case, not {counted(len(operands), 'operand')}")
    which, *cases = operands
    check_kind(which.dtype, DISCRETE, "the predicate")
    same_dtype(operands[1:])
    if which.dtype == "bool" and len(cases) > 2:
        raise TypeRuleError(f"a boolean predicate picks from at most 2 cases, not {len(cases)}")
    if any(case.shape != cases[0].shape for case in cases):
        raise TypeRuleError(f"cases must have one shape, not {list_types(cases)}")
    if which.shape and which.shape != cases[0].shape:
        raise TypeRuleError(f"the predicate {which} must be a scalar or have the shape of the cases, {cases[0]}")
    return (cases[0],)


@rule_by_types(ops.Clamp)
def _clamp(_op: str, operands: Types) -> Types:
    check_count(operands, 3)
    check_kind(same_dtype(operands), PLAIN)
    low, x, high = operands
    for bound in (low, high):
        if bound.shape and bound.shape != x.shape:
            raise TypeRuleError(f"the bound {bound} must be a scalar or have the shape of the clamped operand, {x}")
    return (x,)


@rule(ops.ConvertElementType)
def _convert_element_type(node: ops.ConvertElementType, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    if node.new_dtype != operands[0].dtype:
        check_kind(operands[0].dtype, PLAIN | {"float0"})  # the zeros that JAX gives integers as cotangents
        check_kind(node.new_dtype, PLAIN, "the result")
    return (TensorType(node.new_dtype, operands[0].shape),)


@rule(ops.BitcastConvertType)
def _bitcast_convert_type(node: ops.BitcastConvertType, operands: Types, _: Callees) -> Types:
    check_count(operands, 1)
    (kind,) = operands
    if kind.dtype == node.new_dtype:
        return operands
    check_kind(kind.dtype, INTEGER | FLOAT)
    check_kind(node.new_dtype, INTEGER | FLOAT, "the result")
    old, new = bits_of(kind.dtype), bits_of(node.new_dtype)
    if old == new:
        return (TensorType(node.new_dtype, kind.shape),)
    if old > new:
        return (TensorType(node.new_dtype, (*kind.shape, old // new)),)
    if (kind.shape[-1] if kind.shape else 1) * old != new:
        raise TypeRuleError(f"the last axis of {kind} must hold the {new} bits of one {node.new_dtype}")
    return (TensorType(node.new_dtype, kind.shape[:-1]),)

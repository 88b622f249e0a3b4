"""JAX calls of elementwise operations."""

from __future__ import annotations

import math
from typing import Any

import jax

from ...ir.node import Node
from ...ir.ops import Binary, Compare, Unary, UnaryAccuracy, layout_of
from ...ir.types import is_literal
from ..expressions import Apply, Expression, Literal, Name, Operand, Plain
from .registry import Types, as_keywords, call, dtype, member, rule, sharding_parameter

_LAX_NAMES = {"and": "bitwise_and", "not": "bitwise_not", "or": "bitwise_or", "xor": "bitwise_xor"}


_PRIMITIVES = {
    "add_any": "primitives.add_jaxvals_p.bind",
    "copy": "lax.copy_p.bind",
    "igamma_grad_a": "lax.igamma_grad_a_p.bind",
    "eq_to": "lax.eq_to_p.bind",
    "le_to": "lax.le_to_p.bind",
    "lt_to": "lax.lt_to_p.bind",
    "regularized_incomplete_beta": "lax.regularized_incomplete_beta_p.bind",
}


def _one_minus_square(x: Operand) -> Expression:
    one = Apply(Name("lax.full_like"), (x, Literal(1)))
    return Apply(Name("lax.mul"), (Apply(Name("lax.add"), (one, x)), Apply(Name("lax.sub"), (one, x))))


def _log2(x: Operand) -> Expression:
    scale = Apply(Name("lax.full_like"), (x, Literal(1 / math.log(2))))
    return Apply(Name("lax.mul"), (Apply(Name("lax.log"), (x,)), scale))


# What JAX computes for operations that became primitives in JAX 0.12, so that older versions run what it wrote.
_WRITTEN_OUT = {"one_minus_square": _one_minus_square, "log2": _log2}


def _named(node: Node, **keywords: Plain | Expression) -> Expression:
    if node.op in _WRITTEN_OUT and not hasattr(jax.lax, node.op):
        return _WRITTEN_OUT[node.op](Operand(node.inputs[0], as_array=is_literal(node.inputs[0])))
    return call(_PRIMITIVES.get(node.op) or f"lax.{_LAX_NAMES.get(node.op, node.op)}", node, **keywords)


@rule(*{*Unary.ops()} - {"stop_gradient"}, *Binary.ops(), *Compare.ops(), "select_n", "clamp", "integer_pow")
@rule("reduce_precision", "regularized_incomplete_beta")
def _same_name(node: Node, types: Types) -> Expression:
    return _named(node, **node.attributes())


@rule("stop_gradient")
def _stop_gradient(node: Node, types: Types) -> Expression:
    # Before JAX 0.9, the public function leaves out what has no gradient.
    return call("lax.stop_gradient" if types(node.inputs[0]).is_inexact else "lax.stop_gradient_p.bind", node)


@rule(*UnaryAccuracy.ops())
def _unary_accuracy(node: Any, types: Types) -> Expression:
    if node.accuracy is None:
        return _named(node)
    return _named(node, accuracy=member("lax.AccuracyMode", node.accuracy))


@rule("mul_out_dtype")
def _mul_out_dtype(node: Any, types: Types) -> Expression:
    return call("lax.mul", node, out_dtype=dtype(node.out_dtype))


@rule("polynomial")
def _polynomial(node: Any, types: Types) -> Expression:
    keywords = {} if node.unroll is None else {"unroll": node.unroll}
    return call("lax.polynomial_p.bind" if hasattr(jax.lax, "polynomial") else "prelude.polynomial", node, **keywords)


@rule("round")
def _round(node: Any, types: Types) -> Expression:
    return call("lax.round", node, rounding_method=Apply(Name("lax.RoundingMethod"), (Literal(node.rounding_method),)))


@rule("convert_element_type")
def _convert_element_type(node: Any, types: Types) -> Expression:
    operand = types(node.inputs[0])
    # The public function gives strong types, converts numbers at once, and drops conversions that change nothing.
    changes = operand.dtype != node.new_dtype or operand.weak_type
    if not node.weak_type and changes and not is_literal(node.inputs[0]) and layout_of(node) is None:
        return call("lax.convert_element_type", node, new_dtype=dtype(node.new_dtype))
    keywords = {"new_dtype": dtype(node.new_dtype), "weak_type": node.weak_type, "sharding": sharding_parameter(node)}
    value = Operand(node.inputs[0], as_array=is_literal(node.inputs[0]))
    return Apply(Name("lax.convert_element_type_p.bind"), (value,), as_keywords(keywords))

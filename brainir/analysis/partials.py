"""Derivatives of elementwise operations by one of their operands, and what rounding does to derivatives."""

from __future__ import annotations

import numpy as np

from ..ir.node import Node
from ..ir.ops import Binary, Compare, ConvertElementType, SelectN
from ..ir.types import TensorType
from .routes import FLAT_OPS
from .value_variation import mixture
from .variation import Variation

__all__ = ["ONE", "partial_of", "rounded"]

ONE = Variation.constant(np.ones((), np.float32))
_MINUS_ONE = Variation.constant(-np.ones((), np.float32))
_FLAT = FLAT_OPS | {"is_finite", "not", "stop_gradient"}


def partial_of(node: Node, operands: list[Variation], index: int) -> Variation | None:
    """Return the derivative of an elementwise operation by one of its operands; None if it is zero.

    The operands have the shape of the result, or are the same for all elements.
    """
    if node.op == "mul":
        return operands[1 - index]
    if node.op in ("add", "add_any"):
        return ONE
    if node.op in _FLAT or isinstance(node, Compare):
        return None
    match node:
        case Binary() if node.op == "sub":
            return _MINUS_ONE if index else ONE
        case Binary() if node.op == "div" and index == 0:
            divisor = operands[1]
            if not divisor.is_known:
                return divisor.unknown()
            return Variation.constant(np.asarray(1 / divisor.number, divisor.number.dtype))
        case Binary() if node.op == "rem" and index == 0:
            return ONE
        case SelectN():
            which = operands[0]
            if index == 0:
                return None
            if not which.is_known:
                return which.unknown()
            return Variation.constant(np.asarray(which.number == index - 1, np.float32))
        case ConvertElementType():
            return ONE
        case _ if node.op == "neg":
            return _MINUS_ONE
        case _ if node.op in ("copy", "reduce_precision"):
            return ONE
        case _:
            return Variation.of((), 0) if index in node.traits.linear else mixture(operands)


def rounded(node: Node, slope: Variation, kind: TensorType) -> Variation:
    """Return a derivative after a conversion, or ``reduce_precision``, to a result of a type.

    JAX rounds a tangent as it does the value.
    """
    if not slope.is_known:
        return slope
    if not isinstance(node, ConvertElementType):
        return slope.unknown()
    number = slope.number if kind.is_complex else slope.number.real
    return Variation.constant(number.astype(kind.storage[0]))

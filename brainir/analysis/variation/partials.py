"""Derivatives of elementwise operations by one of their operands, and what rounding does to derivatives."""

from __future__ import annotations

import numpy as np

from ...ir.node import Node
from ...ir.ops import ConvertElementType
from ...ir.types import TensorType
from .lattice import Variation
from .values import mixture

__all__ = ["ONE", "partial_of", "rounded"]

ONE = Variation.constant(np.ones((), np.float32))
_MINUS_ONE = Variation.constant(-np.ones((), np.float32))


def partial_of(node: Node, operands: list[Variation], index: int) -> Variation | None:
    """Return the derivative of an elementwise operation by one of its operands; None if it is zero.

    It is asked where a derivative passes to the result. The operands have the shape of the result, or are the same for
    all elements.
    """
    match node.op:
        case "mul":
            return operands[1 - index]
        case "add" | "add_any" | "convert_element_type" | "copy" | "reduce_precision":
            return ONE
        case "sub":
            return _MINUS_ONE if index else ONE
        case "neg":
            return _MINUS_ONE
        case "div" if index == 0:
            divisor = operands[1]
            if not divisor.is_known:
                return divisor.unknown()
            return Variation.constant(np.asarray(1 / divisor.number, divisor.number.dtype))
        case "rem" if index == 0:
            return ONE
        case "select_n":
            which = operands[0]
            if index == 0:
                return None
            if not which.is_known:
                return which.unknown()
            return Variation.constant(np.asarray(which.number == index - 1, np.float32))
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

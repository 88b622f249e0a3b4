"""How the results of one operation vary, from how its operands vary; and their numbers, where those are simple."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...ir.node import Node
from ...ir.ops import ArgReduce, Binary, ConvertElementType, DotGeneral, IntegerPow, Iota, Reduce, SelectN
from ...ir.types import TensorType
from ..dataflow.sites import Site
from .lattice import Variation
from .moves import moved

__all__ = ["computed", "mixture", "origin_of", "variations_of"]

Array: TypeAlias = NDArray[Any]

_COMPUTED: dict[str, Callable[..., Array]] = {
    "abs": np.abs,
    "add": np.add,
    "add_any": np.add,
    "and": np.bitwise_and,
    "copy": np.asarray,
    "cos": np.cos,
    "eq": np.equal,
    "exp": np.exp,
    "expm1": np.expm1,
    "ge": np.greater_equal,
    "gt": np.greater,
    "le": np.less_equal,
    "log": np.log,
    "log1p": np.log1p,
    "lt": np.less,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": np.not_equal,
    "neg": np.negative,
    "not": np.invert,
    "or": np.bitwise_or,
    "sin": np.sin,
    "sqrt": np.sqrt,
    "square": np.square,
    "stop_gradient": np.asarray,
    "sub": np.subtract,
    "tanh": np.tanh,
}


def variations_of(site: Site, operands: list[Variation]) -> list[Variation]:
    """Return the variation of the results of a node that is not elementwise and runs no function."""
    node, kinds, constants = site.node, site.operands, site.constants
    shapes = [kind.shape for kind in site.results]
    if isinstance(node, Iota):
        return [Variation.of(node.shape, 0, [node.dimension])]
    if node.traits.structural or node.op in ("gather", "scatter"):
        results = moved(node, operands, kinds, constants)
        if results is not None:
            choosing = operands[1:] if node.op in ("gather", "scatter") else []
            return [each.chosen(origin_of(choosing)) for each in results]
    origin = origin_of(operands)
    if isinstance(node, Reduce | ArgReduce):
        kept = [axis for axis in range(kinds[0].ndim) if axis not in node.axes]
        axes = [new for new, axis in enumerate(kept) if axis in operands[0].axes]
        return [Variation.of(shape, origin, axes) for shape in shapes]
    if isinstance(node, DotGeneral):
        return [Variation.of(shapes[0], origin, _product_axes(node, operands, kinds))]
    return [Variation.of(shape, origin) for shape in shapes]


def computed(node: Node, operands: list[Variation]) -> Variation:
    """Return the variation of the result of an elementwise operation, with its value where that is simple."""
    if all(each.is_known for each in operands):
        kind = TensorType.parse(node.types[0])
        result = _number(node, [each.number for each in operands], kind)
        if result is not None:
            return Variation.constant(np.asarray(result).astype(kind.storage[0]))
    if node.op == "mul":
        return operands[0].times(operands[1])
    return mixture(operands)


def mixture(operands: Sequence[Variation]) -> Variation:
    """Return the variation of elements that are made of those of all operands, in a way that is not known."""
    if all(operand.code.ndim == 0 for operand in operands):
        return operands[0].unknown(functools.reduce(operator.or_, (int(operand.code) for operand in operands)))
    code = operands[0].code
    for operand in operands[1:]:
        code = code | operand.code
    return Variation(code, operands[0].number).unknown()


def origin_of(operands: Iterable[Variation]) -> int:
    """Return the origin of elements that are made of those of all operands."""
    return functools.reduce(operator.or_, (each.origin for each in operands), 0)


def _number(node: Node, numbers: list[Array], kind: TensorType) -> Array | None:
    """Compute an elementwise operation on known numbers; None if it is not one of the simple ones."""
    if node.op in _COMPUTED:
        return _COMPUTED[node.op](*numbers)
    match node:
        case Binary() if node.op == "div" and kind.is_inexact:
            return np.asarray(np.divide(*numbers))
        case IntegerPow() if kind.is_inexact:
            return np.asarray(numbers[0] ** node.y)
        case ConvertElementType() if kind.is_inexact:
            return numbers[0]
        case SelectN() if len(numbers) == 3:
            return np.where(numbers[0], numbers[2], numbers[1])
        case _:
            return None


def _product_axes(node: DotGeneral, operands: list[Variation], kinds: Sequence[TensorType]) -> list[int]:
    """Return the axes of a product along which it may vary."""
    left, right = operands[0].axes, operands[1].axes
    summed, batch = node.dimension_numbers
    varies = [one in left or two in right for one, two in zip(*batch, strict=True)]
    for axes, kind, *gone in zip((left, right), kinds, summed, batch, strict=True):
        varies += [axis in axes for axis in range(kind.ndim) if not any(axis in several for several in gone)]
    return [axis for axis, each in enumerate(varies) if each]

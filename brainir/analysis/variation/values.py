"""How the results of one operation vary, from how its operands vary; and their numbers, where those are simple."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ...ir.node import Node
from ...ir.ops import ArgReduce, Binary, ConvertElementType, DotGeneral, IntegerPow, Iota, Reduce, SelectN
from ...ir.types import TensorType
from ..dataflow.sites import Site
from .lattice import PARAMETERS, TIME, Variation, along, moved

__all__ = ["computed", "mixture", "time_of", "variations_of"]

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
        return [Variation.of(node.shape, 0, along([node.dimension]))]
    if node.traits.structural or node.op in ("gather", "scatter"):
        results = moved(node, operands, kinds, constants)
        if results is not None:
            flags = [each.flags for each in operands[1:]] if node.op in ("gather", "scatter") else []
            return [each.plus(time_of(flags)) for each in results]
    mask = time_of([each.flags for each in operands])
    if isinstance(node, Reduce | ArgReduce):
        kept = [axis for axis in range(kinds[0].ndim) if axis not in node.axes]
        axes = along(new for new, axis in enumerate(kept) if operands[0].axes & along([axis]))
        return [Variation.of(shape, mask, axes) for shape in shapes]
    if isinstance(node, DotGeneral):
        return [Variation.of(shapes[0], mask, _product_axes(node, operands, kinds))]
    return [Variation.of(shape, mask) for shape in shapes]


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


def time_of(flags: Sequence[int]) -> int:
    """Return the bits that say what numbers depend on, without those that say which elements differ."""
    mask = 0
    for each in flags:
        mask |= each
    return mask & (TIME | PARAMETERS)


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


def _product_axes(node: DotGeneral, operands: list[Variation], kinds: Sequence[TensorType]) -> int:
    """Return the bits of the axes of a product along which it may vary."""
    (left_sum, right_sum), (left_batch, right_batch) = node.dimension_numbers
    left, right = operands[0].axes, operands[1].axes
    after = [
        bool((left & along([first])) or (right & along([second])))
        for first, second in zip(left_batch, right_batch, strict=True)
    ]
    for flags, kind, gone in (
        (left, kinds[0], (*left_sum, *left_batch)),
        (right, kinds[1], (*right_sum, *right_batch)),
    ):
        after += [bool(flags & along([axis])) for axis in range(kind.ndim) if axis not in gone]
    return along(axis for axis, varies in enumerate(after) if varies)

"""Operations on arrays with numpy, where the result is the same to the bit as that of any XLA backend.

What is not exact everywhere is refused: transcendental functions, sums of floating point numbers (their order is the
compiler's), quotients that are another number as the product with the reciprocal (compilers make that of them), NaN
(its payload is the hardware's), subnormal numbers (some backends flush them), and integer operations that the hardware
decides, such as division by zero.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..ir.node import Node
from ..ir.ops import (
    Binary,
    Clamp,
    Compare,
    ConvertElementType,
    IntegerPow,
    Iota,
    Reduce,
    Round,
    SelectN,
    Unary,
    Unvmap,
)
from ..ir.types import DTYPES, TensorType
from .rearrange import rearrange

__all__ = ["computed"]

Array: TypeAlias = NDArray[Any]

_INTEGERS = frozenset(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64))
_SMALLEST = {"bfloat16": 2.0**-126, "float16": 2.0**-14, "float32": 2.0**-126, "float64": 2.0**-1022}
_FLOATS = frozenset(_SMALLEST)
_PLAIN = _INTEGERS | _FLOATS | {"bool"}

_ON_FLOATS: dict[str, Callable[..., Array]] = {
    "abs": np.abs,
    "add": np.add,
    "add_any": np.add,
    "ceil": np.ceil,
    "floor": np.floor,
    "is_finite": np.isfinite,
    "mul": np.multiply,
    "neg": np.negative,
    "sign": np.sign,
    "square": np.square,
    "sub": np.subtract,
}
_ON_INTEGERS: dict[str, Callable[..., Array]] = {
    "abs": np.abs,
    "add": np.add,
    "add_any": np.add,
    "and": np.bitwise_and,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "neg": np.negative,
    "not": np.invert,
    "or": np.bitwise_or,
    "sign": np.sign,
    "square": np.square,
    "sub": np.subtract,
    "xor": np.bitwise_xor,
}
_ON_BOOLEANS = frozenset({"and", "not", "or", "xor"})
_COMPARISONS: dict[str, Callable[..., Any]] = {
    name: getattr(operator, name) for name in ("eq", "ge", "gt", "le", "lt", "ne")
}
_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "reduce_and": np.bitwise_and.reduce,
    "reduce_max": np.maximum.reduce,
    "reduce_min": np.minimum.reduce,
    "reduce_or": np.bitwise_or.reduce,
    "reduce_sum": np.add.reduce,
    "reduce_xor": np.bitwise_xor.reduce,
}

# What depends on no input is the same in all examples of a batch.
_UNVMAPPED: dict[str, Callable[..., Any]] = {"unvmap_all": np.all, "unvmap_any": np.any}


def computed(node: Node, operands: Sequence[Array]) -> list[Array] | None:
    """Return the results of a node, or None if they are not known to be the same everywhere.

    Parameters
    ----------
    node : Node
    operands : sequence of ndarray
        In the storage dtype of their types.

    Returns
    -------
    list of ndarray or None
        In the shapes and storage dtypes of the result types.
    """
    kinds = [TensorType.parse(text) for text in node.types]
    if any(kind.dtype not in _PLAIN for kind in kinds) or any(each.dtype.name not in _PLAIN for each in operands):
        return None
    if node.traits.structural:
        return _moved(node, operands)
    if len(kinds) != 1:
        return None
    with np.errstate(all="ignore"):
        found = _arithmetic(node, operands, kinds[0])
    if found is None:
        return None
    return [np.broadcast_to(np.asarray(found, DTYPES[kinds[0].dtype]), kinds[0].shape)]


def _moved(node: Node, operands: Sequence[Array]) -> list[Array] | None:
    """Move elements by moving their places."""
    sizes = np.cumsum([0, *(each.size for each in operands)])
    places = [np.arange(each.size).reshape(each.shape) + start for each, start in zip(operands, sizes, strict=False)]
    moved = rearrange(node, places, lambda operand: None)
    if moved is None:
        return None
    elements = np.concatenate([each.reshape(-1) for each in operands])
    return [elements[np.asarray(each)] for each in moved]


def _arithmetic(node: Node, operands: Sequence[Array], kind: TensorType) -> Array | None:
    match node:
        case Iota():
            lengths = [length if axis == node.dimension else 1 for axis, length in enumerate(node.shape)]
            return np.arange(node.shape[node.dimension]).reshape(lengths).astype(DTYPES[node.dtype])
        case SelectN():
            return _selected(*operands)
        case ConvertElementType():
            return _converted(operands[0], kind.dtype)
        case Unary() if node.op in ("copy", "stop_gradient"):
            return operands[0]
    if not operands or any(_is_uncertain(each) for each in operands):
        return None
    integral = operands[0].dtype.name not in _FLOATS
    found: Array | None = None
    match node:
        case Unary() | Binary():
            function = (_ON_INTEGERS if integral else _ON_FLOATS).get(node.op)
            if node.op in ("div", "rem") and integral:
                found = _divided(node.op, *operands)
            elif node.op == "div":
                found = _quotient(*operands)
            elif node.op in ("max", "min") and not integral:
                found = _extreme(node.op, *operands)
            elif function is not None and (operands[0].dtype != bool or node.op in _ON_BOOLEANS):
                found = function(*operands)
        case Compare() if node.op in _COMPARISONS:
            found = _COMPARISONS[node.op](*operands)
        case IntegerPow() if node.y == 2:
            found = np.square(operands[0])
        case Round() if node.rounding_method == 1:
            found = np.rint(operands[0])
        case Clamp() if integral:
            found = np.minimum(np.maximum(operands[1], operands[0]), operands[2])
        case Reduce() if (
            integral
            and node.op in _REDUCTIONS
            and not (operands[0].size == 0 and node.op in ("reduce_max", "reduce_min"))
        ):
            found = _REDUCTIONS[node.op](operands[0], axis=node.axes, dtype=operands[0].dtype)
        case Unvmap() if operands[0].size and node.op in _UNVMAPPED:
            found = _UNVMAPPED[node.op](operands[0])
    return None if found is None or _is_uncertain(np.asarray(found)) else np.asarray(found)


def _is_uncertain(array: Array) -> bool:
    """Whether an array holds a NaN or a subnormal number."""
    if array.dtype.name not in _FLOATS:
        return False
    tiny = _SMALLEST[array.dtype.name]
    magnitude = np.abs(array.astype(np.float64))
    return bool((np.isnan(magnitude) | ((magnitude < tiny) & (magnitude != 0))).any())


def _selected(which: Array, *cases: Array) -> Array | None:
    index = which.astype(np.int64)
    index = np.clip(np.broadcast_to(index, cases[0].shape), 0, len(cases) - 1)
    found = cases[0]
    for number, case in enumerate(cases[1:], start=1):
        found = np.where(index == number, case, found)
    return found


def _converted(array: Array, dtype: str) -> Array | None:
    """Convert where the result is exact, or one correct rounding that every backend makes."""
    source, target = array.dtype.name, DTYPES[dtype]
    if _is_uncertain(array):
        return None
    if source in _FLOATS and dtype in _INTEGERS:
        limits = np.iinfo(target)
        whole = np.trunc(array.astype(np.float64))
        inside = (whole >= float(limits.min)) & (whole < float(limits.max))
        return whole.astype(target) if bool(inside.all()) else None
    if source in _FLOATS and dtype == "bool":
        return np.not_equal(array, 0)
    found = array.astype(target)
    if dtype not in _FLOATS:
        return found
    rounds_once = (source, dtype) in {("float64", "float32"), ("float32", "bfloat16"), ("float32", "float16")}
    exact = bool((found.astype(np.float64) == array.astype(np.float64)).all()) and source not in ("int64", "uint64")
    return None if _is_uncertain(found) or not (rounds_once or exact) else found


def _divided(op: str, left: Array, right: Array) -> Array | None:
    """Divide integers towards zero; None for a division by zero, or one that overflows."""
    if bool((right == 0).any()) or (left.dtype.kind == "i" and bool((right == -1).any())):
        return None
    rest = np.fmod(left, right)
    return rest if op == "rem" else (left - rest) // right


def _quotient(left: Array, right: Array) -> Array | None:
    """Divide; None where it makes a difference that compilers multiply by the reciprocal of a number in its place."""
    found = np.divide(left, right)
    return found if np.array_equal(found, left * np.divide(right.dtype.type(1), right)) else None


def _extreme(op: str, left: Array, right: Array) -> Array | None:
    """Return the larger or smaller; None where zeros of different sign meet."""
    if bool(((left == 0) & (right == 0) & (np.signbit(left) != np.signbit(right))).any()):
        return None
    return (np.maximum if op == "max" else np.minimum)(left, right)

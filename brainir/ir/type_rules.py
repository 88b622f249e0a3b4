"""Type rules: the result types of every operation, recomputed from its operands and attributes.

The rules follow ``jax.lax``: operands of an elementwise operation have one shape, but for scalars and axes of
length one, which are repeated.

Rules compute element type and shape. Weak types are not recomputed: they are ignored in operands, in
signatures of functions and in results. Rules do arithmetic on shapes only, so types too large to allocate
cost nothing.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import ml_dtypes

from . import ops
from .errors import BrainIRError
from .node import Node
from .program import Function
from .types import DTYPES, TensorType

__all__ = ["MAX_RANK", "RULES", "TypeRuleError", "result_types", "strong"]


class TypeRuleError(BrainIRError):
    """The operands or attributes of a node do not fit its operation."""


Types = tuple[TensorType, ...]
Callees = Mapping[str, Function]
Shape = tuple[int, ...]

MAX_RANK = 64
"""The most axes that a type may have: numpy's limit."""

RULES: dict[str, Callable[[Any, Types, Callees], Types]] = {}
"""The rule of every operation that has one: node, operand types and functions to result types."""

N = TypeVar("N", bound=Node)


def _rule(
    *schemas: type[N],
) -> Callable[[Callable[[N, Types, Callees], Types]], Callable[[N, Types, Callees], Types]]:
    def register(rule: Callable[[N, Types, Callees], Types]) -> Callable[[N, Types, Callees], Types]:
        RULES.update({op: rule for schema in schemas for op in schema.ops()})
        return rule

    return register


def result_types(node: Node, operands: Types, callees: Callees) -> Types:
    """Return the result types of a node, without weak types.

    Parameters
    ----------
    node : Node
    operands : tuple of TensorType
        Types of ``node.inputs``; weak types in them are ignored.
    callees : mapping from name to Function
        At least the functions that the node refers to; their outputs must be defined.

    Raises
    ------
    TypeRuleError
        If the operands or attributes do not fit the operation.
    """
    rule = RULES.get(node.op)
    if rule is None:
        raise TypeRuleError(f"operation {node.op!r} has no type rule")
    for kind in operands:
        if kind.weak_type:
            return rule(node, tuple(map(strong, operands)), callees)
    return rule(node, operands, callees)


def strong(kind: TensorType) -> TensorType:
    """Return the same element type and shape without the weak type."""
    return TensorType(kind.dtype, kind.shape) if kind.weak_type else kind


# -- checks that several rules share


_KINDS = {
    name: "float0"
    if name == "float0"
    else next(kind for kind in ("bool", "uint", "int", "complex", "float") if kind in name)
    for name in DTYPES
}
_BOOL = frozenset({"bool"})
_INTEGER = frozenset({"int", "uint"})
_FLOAT = frozenset({"float"})
_INEXACT = frozenset({"float", "complex"})
_DISCRETE = _INTEGER | _BOOL
_NUMBER = _INTEGER | _INEXACT
_ORDERED = _INTEGER | _FLOAT | _BOOL
_PLAIN = _NUMBER | _BOOL
_ANY = _PLAIN | {"key", "float0"}
_REAL_OF = {"complex64": "float32", "complex128": "float64"}
_COMPLEX_OF = {real: name for name, real in _REAL_OF.items()}
_SUBBYTE_BITS = {"int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4}
_finfo: Callable[[object], Any] = ml_dtypes.finfo


def _kind(dtype: str) -> str:
    kind = "key" if dtype.startswith("key<") else _KINDS.get(dtype)
    if kind is None:
        raise TypeRuleError(f"{dtype!r} is not an element type; known are {', '.join(DTYPES)}")
    return kind


def _count(operands: Types, count: int) -> None:
    if len(operands) != count:
        raise TypeRuleError(f"it takes {_plural(count, 'operand')}, not {len(operands)}")


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _accept(dtype: str, kinds: frozenset[str], what: str = "the operand") -> None:
    if (_KINDS.get(dtype) or _kind(dtype)) not in kinds:
        raise TypeRuleError(f"{what} has element type {dtype}, but must be {' or '.join(sorted(kinds))}")


def _same_dtype(operands: Types) -> str:
    dtype = operands[0].dtype
    for kind in operands:
        if kind.dtype != dtype:
            raise TypeRuleError(f"operands must have one element type, not {_list(operands)}")
    return dtype


def _common_shape(operands: Types) -> Shape:
    shapes = {kind.shape for kind in operands if kind.shape}
    if len(shapes) <= 1:
        return shapes.pop() if shapes else ()
    lengths = [{length for length in axis if length != 1} for axis in zip(*shapes, strict=False)]
    if len({len(shape) for shape in shapes}) > 1 or any(len(axis) > 1 for axis in lengths):
        raise TypeRuleError(
            f"operands must be scalars or have one shape, but for axes of length 1, not {_list(operands)}"
        )
    return tuple([axis.pop() if axis else 1 for axis in lengths])


def _list(kinds: Sequence[TensorType]) -> str:
    shown = [*map(str, kinds[:6]), *(["..."] if len(kinds) > 6 else [])]
    return f"({', '.join(shown)})"


def _axes(axes: Shape, ndim: int, name: str) -> frozenset[int]:
    chosen = frozenset(axes)
    if len(chosen) != len(axes):
        raise TypeRuleError(f"{name} {axes} has an axis twice")
    if axes and not 0 <= min(axes) <= max(axes) < ndim:
        raise TypeRuleError(
            f"{name} {axes} must be axes from 0 up to {ndim - 1}, the operand having rank {ndim}"
        )
    return chosen


def _axis(axis: int, ndim: int, name: str) -> None:
    if not 0 <= axis < ndim:
        raise TypeRuleError(f"{name} {axis} must be an axis from 0 up to {ndim - 1}")


def _sizes(sizes: Shape, name: str) -> Shape:
    if len(sizes) > MAX_RANK:
        raise TypeRuleError(f"{name} has {len(sizes)} axes; numpy and brainir hold at most {MAX_RANK}")
    if sizes and min(sizes) < 0:
        raise TypeRuleError(f"{name} {sizes} must not be negative")
    return sizes


def _without(shape: Shape, axes: frozenset[int]) -> Shape:
    return tuple([size for axis, size in enumerate(shape) if axis not in axes])


# -- elementwise operations


_ACCEPTED = {
    **dict.fromkeys(("acos", "acosh", "asin", "asinh", "atan", "atanh", "cosh", "sinh"), _INEXACT),
    **dict.fromkeys(ops.UnaryAccuracy.ops(), _INEXACT),
    **dict.fromkeys(("copy", "stop_gradient"), _ANY),
    **dict.fromkeys(("neg", "sign", "square", "integer_pow"), _NUMBER),
    **dict.fromkeys(("clz", "population_count"), _INTEGER),
    **dict.fromkeys(
        ("cbrt", "ceil", "digamma", "erf", "erf_inv", "erfc", "floor", "is_finite", "lgamma", "nextafter"),
        _FLOAT,
    ),
    **dict.fromkeys(("reduce_precision", "round"), _FLOAT),
    "abs": _INEXACT | {"int"},
    "conj": _INEXACT,
    "imag": frozenset({"complex"}),
    "not": _DISCRETE,
    "real": frozenset({"complex"}),
    **dict.fromkeys(("add", "add_any", "sub", "mul", "div"), _NUMBER),
    **dict.fromkeys(("and", "or", "xor"), _DISCRETE),
    **dict.fromkeys(("shift_left", "shift_right_arithmetic", "shift_right_logical"), _INTEGER),
    **dict.fromkeys(("max", "min", "eq_to"), _PLAIN),
    **dict.fromkeys(("eq", "ne"), _PLAIN | {"key"}),
    **dict.fromkeys(("ge", "gt", "le", "lt", "le_to", "lt_to"), _ORDERED),
    "atan2": _INEXACT,
    "complex": _FLOAT,
    "rem": _INTEGER | _FLOAT,
}


def _complex_of(dtype: str) -> str:
    if dtype not in _COMPLEX_OF:
        raise TypeRuleError(f"the operand has element type {dtype}, but must be float32 or float64")
    return _COMPLEX_OF[dtype]


@_rule(ops.Unary, ops.UnaryAccuracy, ops.IntegerPow, ops.Round, ops.ReducePrecision)
def _unary(node: Node, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    dtype, shape, op = operands[0].dtype, operands[0].shape, node.op
    _accept(dtype, _ACCEPTED[op])
    if isinstance(node, ops.IntegerPow) and node.y < 0:
        _accept(dtype, _INEXACT, "the operand of a negative power")
    if isinstance(node, ops.Round) and node.rounding_method not in (0, 1):
        raise TypeRuleError(
            f"rounding_method is 0 (away from zero) or 1 (to even), not {node.rounding_method}"
        )
    if isinstance(node, ops.ReducePrecision) and (node.exponent_bits < 1 or node.mantissa_bits < 0):
        raise TypeRuleError("reduce_precision keeps at least 1 exponent bit and 0 mantissa bits")
    if op == "abs" and dtype in ("int2", "int4"):
        raise TypeRuleError(f"abs does not take {dtype}")
    if op == "is_finite":
        return (TensorType("bool", shape),)
    if op in ("abs", "real", "imag") and dtype in _REAL_OF:
        return (TensorType(_REAL_OF[dtype], shape),)
    if op == "conj" and dtype not in _REAL_OF:
        return (TensorType(_complex_of(dtype), shape),)
    return operands


@_rule(ops.Binary)
def _binary(node: ops.Binary, operands: Types, _: Callees) -> Types:
    _count(operands, 2)
    first, second = operands
    if node.op == "pow":
        _accept(first.dtype, _INEXACT, "the base")
        if _kind(second.dtype) not in _INTEGER:
            _same_dtype(operands)
        dtype = first.dtype
    else:
        dtype = _same_dtype(operands)
        _accept(dtype, _ACCEPTED[node.op])
        if node.op == "complex":
            dtype = _complex_of(dtype)
        elif first.shape == second.shape:
            return (first,)
        elif node.op == "add_any":
            raise TypeRuleError(f"operands must have one shape, not {_list(operands)}")
    return (TensorType(dtype, _common_shape(operands)),)


@_rule(ops.Compare)
def _compare(node: ops.Compare, operands: Types, _: Callees) -> Types:
    _count(operands, 2)
    _accept(_same_dtype(operands), _ACCEPTED[node.op])
    return (TensorType("bool", _common_shape(operands)),)


@_rule(ops.SelectN)
def _select_n(_node: ops.SelectN, operands: Types, _: Callees) -> Types:
    if len(operands) < 2:
        raise TypeRuleError(
            f"it takes a predicate and at least one case, not {_plural(len(operands), 'operand')}"
        )
    which, *cases = operands
    _accept(which.dtype, _DISCRETE, "the predicate")
    _same_dtype(operands[1:])
    if which.dtype == "bool" and len(cases) > 2:
        raise TypeRuleError(f"a boolean predicate picks from at most 2 cases, not {len(cases)}")
    if any(case.shape != cases[0].shape for case in cases):
        raise TypeRuleError(f"cases must have one shape, not {_list(cases)}")
    if which.shape and which.shape != cases[0].shape:
        raise TypeRuleError(
            f"the predicate {which} must be a scalar or have the shape of the cases, {cases[0]}"
        )
    return (cases[0],)


@_rule(ops.Clamp)
def _clamp(_node: ops.Clamp, operands: Types, _: Callees) -> Types:
    _count(operands, 3)
    _accept(_same_dtype(operands), _PLAIN)
    low, x, high = operands
    for bound in (low, high):
        if bound.shape and bound.shape != x.shape:
            raise TypeRuleError(
                f"the bound {bound} must be a scalar or have the shape of the clamped operand, {x}"
            )
    return (x,)


@_rule(ops.ConvertElementType)
def _convert_element_type(node: ops.ConvertElementType, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    if node.new_dtype != operands[0].dtype:
        _accept(operands[0].dtype, _PLAIN)
        _accept(node.new_dtype, _PLAIN, "the result")
    return (TensorType(node.new_dtype, operands[0].shape),)


def _bits(dtype: str) -> int:
    return _SUBBYTE_BITS.get(dtype) or 8 * DTYPES[dtype].itemsize


@_rule(ops.BitcastConvertType)
def _bitcast_convert_type(node: ops.BitcastConvertType, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    if kind.dtype == node.new_dtype:
        return operands
    _accept(kind.dtype, _INTEGER | _FLOAT)
    _accept(node.new_dtype, _INTEGER | _FLOAT, "the result")
    old, new = _bits(kind.dtype), _bits(node.new_dtype)
    if old == new:
        return (TensorType(node.new_dtype, kind.shape),)
    if old > new:
        return (TensorType(node.new_dtype, (*kind.shape, old // new)),)
    if (kind.shape[-1] if kind.shape else 1) * old != new:
        raise TypeRuleError(f"the last axis of {kind} must hold the {new} bits of one {node.new_dtype}")
    return (TensorType(node.new_dtype, kind.shape[:-1]),)


# -- operations that move elements


@_rule(ops.BroadcastInDim)
def _broadcast_in_dim(node: ops.BroadcastInDim, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    shape, target = _sizes(node.shape, "shape"), node.broadcast_dimensions
    if len(target) != kind.ndim:
        raise TypeRuleError(
            f"broadcast_dimensions must name a result axis for each axis of {kind}, not {target}"
        )
    if any(not 0 <= axis < len(shape) for axis in target) or len(set(target)) != len(target):
        raise TypeRuleError(
            f"broadcast_dimensions {target} must be different axes of a result of rank {len(shape)}"
        )
    if any(size not in (1, shape[axis]) for size, axis in zip(kind.shape, target, strict=True)):
        raise TypeRuleError(
            f"axes of {kind} must have length 1 or the length of their result axis in {shape}"
        )
    return (TensorType(kind.dtype, shape),)


@_rule(ops.Reshape)
def _reshape(node: ops.Reshape, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    if math.prod(_sizes(node.new_sizes, "new_sizes")) != operands[0].size:
        raise TypeRuleError(
            f"{operands[0]} and new_sizes {node.new_sizes} have different numbers of elements"
        )
    return (TensorType(operands[0].dtype, node.new_sizes),)


@_rule(ops.Squeeze)
def _squeeze(node: ops.Squeeze, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    axes = _axes(node.dimensions, kind.ndim, "dimensions")
    if any(kind.shape[axis] != 1 for axis in axes):
        raise TypeRuleError(f"the axes {node.dimensions} of {kind} must have length 1")
    return (TensorType(kind.dtype, _without(kind.shape, axes)),)


@_rule(ops.Transpose)
def _transpose(node: ops.Transpose, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    if len(_axes(node.permutation, kind.ndim, "permutation")) != kind.ndim:
        raise TypeRuleError(f"permutation {node.permutation} must name every axis of {kind}")
    return (TensorType(kind.dtype, tuple([kind.shape[axis] for axis in node.permutation])),)


@_rule(ops.Rev)
def _rev(node: ops.Rev, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    _axes(node.dimensions, operands[0].ndim, "dimensions")
    return operands


@_rule(ops.Slice)
def _slice(node: ops.Slice, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    strides = (1,) * kind.ndim if node.strides is None else node.strides
    if not len(node.start_indices) == len(node.limit_indices) == len(strides) == kind.ndim:
        raise TypeRuleError(
            f"start_indices, limit_indices and strides must have one number for each axis of {kind}"
        )
    shape = []
    for start, limit, stride, size in zip(
        node.start_indices, node.limit_indices, strides, kind.shape, strict=True
    ):
        if not 0 <= start <= limit <= size:
            raise TypeRuleError(f"a slice from {start} to {limit} does not lie in an axis of length {size}")
        if stride < 1:
            raise TypeRuleError(f"strides must be at least 1, not {stride}")
        shape.append(-(-(limit - start) // stride))
    return (TensorType(kind.dtype, tuple(shape)),)


@_rule(ops.Split)
def _split(node: ops.Split, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    _axis(node.axis, kind.ndim, "axis")
    if sum(_sizes(node.sizes, "sizes")) != kind.shape[node.axis]:
        raise TypeRuleError(
            f"sizes {node.sizes} must add up to the length {kind.shape[node.axis]} of axis {node.axis}"
        )
    before, after = kind.shape[: node.axis], kind.shape[node.axis + 1 :]
    return tuple([TensorType(kind.dtype, (*before, size, *after)) for size in node.sizes])


@_rule(ops.Concatenate)
def _concatenate(node: ops.Concatenate, operands: Types, _: Callees) -> Types:
    if not operands:
        raise TypeRuleError("it takes at least one operand")
    dtype, axis, first = _same_dtype(operands), node.dimension, operands[0].shape
    _axis(axis, len(first), "dimension")
    before, after = first[:axis], first[axis + 1 :]
    for kind in operands:
        if len(kind.shape) != len(first) or kind.shape[:axis] != before or kind.shape[axis + 1 :] != after:
            raise TypeRuleError(
                f"operands must have equal lengths on all axes but {axis}; got {_list(operands)}"
            )
    return (TensorType(dtype, (*before, sum(kind.shape[axis] for kind in operands), *after)),)


@_rule(ops.Stack)
def _stack(node: ops.Stack, operands: Types, _: Callees) -> Types:
    if not operands:
        raise TypeRuleError("it takes at least one operand")
    dtype, shape = _same_dtype(operands), operands[0].shape
    if any(kind.shape != shape for kind in operands):
        raise TypeRuleError(f"operands must have one shape, not {_list(operands)}")
    _axis(node.axis, len(shape) + 1, "axis")
    return (TensorType(dtype, (*shape[: node.axis], len(operands), *shape[node.axis :])),)


@_rule(ops.Unstack)
def _unstack(node: ops.Unstack, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    _axis(node.axis, kind.ndim, "axis")
    if len(node.outputs) != kind.shape[node.axis]:
        found = _plural(len(node.outputs), "result")
        raise TypeRuleError(f"it has {found} for an axis of length {kind.shape[node.axis]}")
    return (TensorType(kind.dtype, _without(kind.shape, frozenset({node.axis}))),) * len(node.outputs)


@_rule(ops.Tile)
def _tile(node: ops.Tile, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    if len(_sizes(node.reps, "reps")) != kind.ndim:
        raise TypeRuleError(f"reps {node.reps} must have one number for each axis of {kind}")
    return (kind.with_shape(tuple([size * rep for size, rep in zip(kind.shape, node.reps, strict=True)])),)


def _index_batch(
    kind: TensorType, indices: TensorType, mapped: Shape, batching: Shape, index_batching: Shape
) -> Shape:
    """Return the axes of an index array but the last, which holds one number for each entry of `mapped`."""
    if _kind(indices.dtype) not in _INTEGER or not indices.shape:
        raise TypeRuleError(f"the indices {indices} must be integers with an axis for their components")
    if indices.shape[-1] != len(mapped):
        raise TypeRuleError(f"the last axis of {indices} must hold an index for each of the axes {mapped}")
    _axes((*mapped, *batching), kind.ndim, "indexed and batching axes of the operand")
    _axes(index_batching, indices.ndim - 1, "batching axes of the indices")
    if [kind.shape[axis] for axis in batching] != [indices.shape[axis] for axis in index_batching]:
        raise TypeRuleError(
            f"the batching axes {batching} of {kind} and {index_batching} of {indices} must fit"
        )
    return indices.shape[:-1]


def _ascending(**names: Shape) -> None:
    for name, axes in names.items():
        if any(first > second for first, second in itertools.pairwise(axes)):
            raise TypeRuleError(f"{name} {axes} must be in ascending order")


@_rule(ops.Gather)
def _gather(node: ops.Gather, operands: Types, _: Callees) -> Types:
    _count(operands, 2)
    kind, indices = operands
    numbers = node.dimension_numbers
    batching = numbers.operand_batching_dims
    batch = _index_batch(
        kind, indices, numbers.start_index_map, batching, numbers.start_indices_batching_dims
    )
    _ascending(
        offset_dims=numbers.offset_dims,
        collapsed_slice_dims=numbers.collapsed_slice_dims,
        operand_batching_dims=batching,
    )
    dropped = _axes(
        (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims), kind.ndim, "collapsed_slice_dims"
    )
    if len(_sizes(node.slice_sizes, "slice_sizes")) != kind.ndim or any(
        size > length for size, length in zip(node.slice_sizes, kind.shape, strict=True)
    ):
        raise TypeRuleError(f"slice_sizes {node.slice_sizes} do not fit the operand {kind}")
    if any(node.slice_sizes[axis] > 1 for axis in dropped):
        raise TypeRuleError(f"slice_sizes {node.slice_sizes} must be at most 1 on the axes that disappear")
    window = iter(_without(node.slice_sizes, dropped))
    rank = len(batch) + kind.ndim - len(dropped)
    offsets = _axes(numbers.offset_dims, rank, "offset_dims")
    if len(offsets) != kind.ndim - len(dropped):
        raise TypeRuleError(f"offset_dims {numbers.offset_dims} must name an axis for each one that is kept")
    rest = iter(batch)
    return (kind.with_shape(tuple([next(window if axis in offsets else rest) for axis in range(rank)])),)


@_rule(ops.Scatter)
def _scatter(node: ops.Scatter, operands: Types, _: Callees) -> Types:
    _count(operands, 3)
    kind, indices, updates = operands
    numbers = node.dimension_numbers
    _same_dtype((kind, updates))
    mapped, batching = numbers.scatter_dims_to_operand_dims, numbers.operand_batching_dims
    batch = _index_batch(kind, indices, mapped, batching, numbers.scatter_indices_batching_dims)
    _ascending(
        update_window_dims=numbers.update_window_dims,
        inserted_window_dims=numbers.inserted_window_dims,
        operand_batching_dims=batching,
    )
    inserted = _axes(
        (*numbers.inserted_window_dims, *numbers.operand_batching_dims), kind.ndim, "inserted_window_dims"
    )
    windows = _axes(numbers.update_window_dims, updates.ndim, "update_window_dims")
    if len(windows) != kind.ndim - len(inserted) or _without(updates.shape, windows) != batch:
        raise TypeRuleError(f"the updates {updates} do not fit the indices {indices} and the operand {kind}")
    lengths = _without(kind.shape, inserted)
    if any(updates.shape[axis] > length for axis, length in zip(sorted(windows), lengths, strict=True)):
        raise TypeRuleError(f"the updates {updates} have windows larger than the operand {kind}")
    return (kind,)


@_rule(ops.Pad)
def _pad(node: ops.Pad, operands: Types, _: Callees) -> Types:
    _count(operands, 2)
    dtype = _same_dtype(operands)
    kind, value = operands
    if value.shape:
        raise TypeRuleError(f"the padding value must be a scalar, not {value}")
    if len(node.padding_config) != kind.ndim:
        raise TypeRuleError(f"padding_config must have one (low, high, interior) for each axis of {kind}")
    shape = []
    for (low, high, interior), size in zip(node.padding_config, kind.shape, strict=True):
        padded = low + high + (size + interior * (size - 1) if size else 0)
        if interior < 0 or padded < 0:
            raise TypeRuleError(f"padding ({low}, {high}, {interior}) does not fit an axis of length {size}")
        shape.append(padded)
    return (TensorType(dtype, tuple(shape)),)


@_rule(ops.Iota)
def _iota(node: ops.Iota, operands: Types, _: Callees) -> Types:
    _count(operands, 0)
    _accept(node.dtype, _NUMBER, "the result")
    _axis(node.dimension, len(_sizes(node.shape, "shape")), "dimension")
    return (TensorType(node.dtype, node.shape),)


def _indices(operands: Types, ndim: int) -> None:
    if len(operands) != ndim:
        raise TypeRuleError(f"it takes one index operand for each axis: {ndim}, not {len(operands)}")
    for kind in operands:
        if kind.shape or _kind(kind.dtype) not in _INTEGER or kind.dtype != operands[0].dtype:
            raise TypeRuleError(f"index operands must be scalars of one integer type, not {_list(operands)}")


@_rule(ops.DynamicSlice)
def _dynamic_slice(node: ops.DynamicSlice, operands: Types, _: Callees) -> Types:
    if not operands:
        raise TypeRuleError("it takes an operand, then an index for each of its axes")
    kind = operands[0]
    _indices(operands[1:], kind.ndim)
    sizes = _sizes(node.slice_sizes, "slice_sizes")
    if len(sizes) != kind.ndim or any(size > full for size, full in zip(sizes, kind.shape, strict=True)):
        raise TypeRuleError(f"slice_sizes {sizes} must fit in {kind}")
    return (TensorType(kind.dtype, sizes),)


@_rule(ops.DynamicUpdateSlice)
def _dynamic_update_slice(_node: ops.DynamicUpdateSlice, operands: Types, _: Callees) -> Types:
    if len(operands) < 2:
        raise TypeRuleError("it takes an operand, an update, then an index for each axis")
    kind, update = operands[:2]
    _same_dtype(operands[:2])
    _indices(operands[2:], kind.ndim)
    if update.ndim != kind.ndim or any(
        part > full for part, full in zip(update.shape, kind.shape, strict=True)
    ):
        raise TypeRuleError(f"the update {update} must fit in {kind}")
    return (kind,)


# -- contractions and reductions


@functools.cache
def _precedence(dtype: str) -> tuple[bool, int, int, int, bool]:
    """Order of element types by which lax picks the result of a product of two different ones."""
    real = _REAL_OF.get(dtype, dtype)
    if _kind(real) == "float":
        info = _finfo(DTYPES[real])
        return dtype != real, int(info.maxexp), int(info.nmant), int(info.bits), True
    return False, -1, -1, _dot_width(real), _kind(real) != "uint"


def _dot_width(dtype: str) -> int:
    return 1 if dtype == "bool" else _bits(_REAL_OF.get(dtype, dtype))


@_rule(ops.DotGeneral)
def _dot_general(node: ops.DotGeneral, operands: Types, _: Callees) -> Types:
    _count(operands, 2)
    left, right = operands
    (left_sum, right_sum), (left_batch, right_batch) = node.dimension_numbers
    left_used = _axes((*left_sum, *left_batch), left.ndim, "contracting and batch axes of the first operand")
    right_used = _axes(
        (*right_sum, *right_batch), right.ndim, "contracting and batch axes of the second operand"
    )
    for name, first, second in (("contracting", left_sum, right_sum), ("batch", left_batch, right_batch)):
        if [left.shape[axis] for axis in first] != [right.shape[axis] for axis in second]:
            raise TypeRuleError(
                f"the {name} axes {first} of {left} and {second} of {right} must have equal lengths"
            )
    shape = (
        *[left.shape[axis] for axis in left_batch],
        *_without(left.shape, left_used),
        *_without(right.shape, right_used),
    )
    return (TensorType(_product_dtype(left.dtype, right.dtype, node.preferred_element_type), shape),)


def _product_dtype(left: str, right: str, preferred: str | None) -> str:
    dtype = left
    _accept(left, _PLAIN, "the first operand")
    if right != left:
        _accept(right, _PLAIN, "the second operand")
        order, other = _precedence(left), _precedence(right)
        if order == other:
            raise TypeRuleError(f"{left} and {right} have no common product type")
        dtype = left if order > other else right
    if preferred is None or preferred == dtype:
        return dtype
    _accept(preferred, _PLAIN, "preferred_element_type")
    if _kind(dtype) != "float" and _dot_width(preferred) < _dot_width(dtype):
        raise TypeRuleError(f"preferred_element_type {preferred} is narrower than {dtype}")
    return preferred


@_rule(ops.Reduce)
def _reduce(node: ops.Reduce, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    if node.op in ("reduce_sum", "reduce_prod"):
        _accept(kind.dtype, _NUMBER)
    else:
        _accept(kind.dtype, _PLAIN if node.op in ("reduce_max", "reduce_min") else _DISCRETE)
    return (TensorType(kind.dtype, _without(kind.shape, _axes(node.axes, kind.ndim, "axes"))),)


@_rule(ops.ArgReduce)
def _arg_reduce(node: ops.ArgReduce, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    _accept(kind.dtype, _PLAIN)
    _accept(node.index_dtype, _INTEGER, "the result")
    axes = _axes(node.axes, kind.ndim, "axes")
    if len(axes) != 1 or kind.shape[node.axes[0]] < 1:
        raise TypeRuleError(f"axes {node.axes} must be one axis of {kind} that is not empty")
    return (TensorType(node.index_dtype, _without(kind.shape, axes)),)


@_rule(ops.Cumulative)
def _cumulative(node: ops.Cumulative, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    _accept(operands[0].dtype, _NUMBER)
    _axis(node.axis, operands[0].ndim, "axis")
    return operands


# -- random numbers


def _words(impl: str) -> int:
    try:
        return TensorType(f"key<{impl}>", ()).storage[1][0]
    except BrainIRError as error:
        raise TypeRuleError(str(error)) from None


def _key(operands: Types) -> TensorType:
    if not operands or not operands[0].is_key:
        raise TypeRuleError(
            f"the first operand must be typed keys, not {operands[0] if operands else 'missing'}"
        )
    return operands[0]


@_rule(ops.RandomSeed)
def _random_seed(node: ops.RandomSeed, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    _accept(operands[0].dtype, _INTEGER)
    _words(node.impl)
    return (TensorType(f"key<{node.impl}>", operands[0].shape),)


@_rule(ops.RandomWrap)
def _random_wrap(node: ops.RandomWrap, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    (kind,) = operands
    words = _words(node.impl)
    if kind.dtype != "uint32" or kind.shape[-1:] != (words,):
        raise TypeRuleError(
            f"the words of {node.impl} keys are uint32 with {words} on the last axis, not {kind}"
        )
    return (TensorType(f"key<{node.impl}>", kind.shape[:-1]),)


@_rule(ops.RandomKeys)
def _random_keys(node: ops.RandomKeys, operands: Types, _: Callees) -> Types:
    keys = _key(operands)
    if node.op == "random_unwrap":
        _count(operands, 1)
        return (TensorType("uint32", (*keys.shape, _words(keys.dtype[4:-1]))),)
    _count(operands, 2)
    data = operands[1]
    _accept(data.dtype, _INTEGER, "the data")
    if not keys.shape or not data.shape:
        return (TensorType(keys.dtype, keys.shape or data.shape),)
    # Not an elementwise operation, so axes of length one repeat, as in lax.
    pairs = list(zip(keys.shape, data.shape, strict=False))
    if keys.ndim != data.ndim or any(a != b and 1 not in (a, b) for a, b in pairs):
        raise TypeRuleError(f"the shapes of the keys {keys} and the data {data} do not fit")
    return (TensorType(keys.dtype, tuple([b if a == 1 else a for a, b in pairs])),)


@_rule(ops.RandomSplit)
def _random_split(node: ops.RandomSplit, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    keys = _key(operands)
    return (TensorType(keys.dtype, (*keys.shape, *_sizes(node.shape, "shape"))),)


@_rule(ops.RandomBits)
def _random_bits(node: ops.RandomBits, operands: Types, _: Callees) -> Types:
    _count(operands, 1)
    keys = _key(operands)
    if node.bit_width not in (8, 16, 32, 64):
        raise TypeRuleError(f"bit_width is 8, 16, 32 or 64, not {node.bit_width}")
    return (TensorType(f"uint{node.bit_width}", (*keys.shape, *_sizes(node.shape, "shape"))),)


# -- operations that run functions


def _inputs(function: Function) -> Types:
    return function.signature[0]


def _outputs(function: Function) -> Types:
    return function.signature[1]


def _match(found: Types, wanted: Types, what: str) -> None:
    if found is wanted or found == wanted:
        return
    if len(found) != len(wanted):
        raise TypeRuleError(f"{what} must be {len(wanted)} values, not {len(found)}")
    position = next(index for index, kind in enumerate(wanted) if found[index] != kind)
    raise TypeRuleError(f"{what}: number {position} must be {wanted[position]}, not {found[position]}")


def _inexact(kinds: Types) -> Types:
    return tuple([kind for kind in kinds if kind.is_inexact])


@_rule(ops.Call)
def _call(node: ops.Call, operands: Types, callees: Callees) -> Types:
    function = callees[node.function]
    _match(operands, _inputs(function), f"the operands (inputs of {function.name})")
    if node.donated:
        _axes(node.donated, len(operands), "donated")
    return _outputs(function)


@_rule(ops.CustomJvp)
def _custom_jvp(node: ops.CustomJvp, operands: Types, callees: Callees) -> Types:
    function, jvp = callees[node.function], callees[node.jvp]
    _match(operands, _inputs(function), f"the operands (inputs of {function.name})")
    results = _outputs(function)
    _match(
        _inputs(jvp), (*operands, *_inexact(operands)), f"the inputs of {jvp.name} (operands, then tangents)"
    )
    _match(
        _outputs(jvp), (*results, *_inexact(results)), f"the outputs of {jvp.name} (results, then tangents)"
    )
    return results


@_rule(ops.CustomVjp)
def _custom_vjp(node: ops.CustomVjp, operands: Types, callees: Callees) -> Types:
    function, fwd, bwd = callees[node.function], callees[node.fwd], callees[node.bwd]
    _match(operands, _inputs(function), f"the operands (inputs of {function.name})")
    results, forward = _outputs(function), _outputs(fwd)
    _match(_inputs(fwd), operands, f"the inputs of {fwd.name} (operands)")
    _match(forward[: len(results)], results, f"the first outputs of {fwd.name} (results, then residuals)")
    residuals = forward[len(results) :]
    _match(
        _inputs(bwd),
        (*residuals, *_inexact(results)),
        f"the inputs of {bwd.name} (residuals, then cotangents)",
    )
    _match(_outputs(bwd), _inexact(operands), f"the outputs of {bwd.name} (cotangents of the operands)")
    return results


@_rule(ops.Cond)
def _cond(node: ops.Cond, operands: Types, callees: Callees) -> Types:
    if not node.branches or not operands:
        raise TypeRuleError("it takes an index operand and at least one branch")
    if operands[0] != TensorType("int32", ()):
        raise TypeRuleError(f"the index must be i32[], not {operands[0]}")
    first = callees[node.branches[0]]
    _match(operands[1:], _inputs(first), f"the operands after the index (inputs of {first.name})")
    for name in node.branches:
        _match(_inputs(callees[name]), _inputs(first), f"the inputs of {name} (like those of {first.name})")
        _match(
            _outputs(callees[name]), _outputs(first), f"the outputs of {name} (like those of {first.name})"
        )
    return _outputs(first)


@_rule(ops.Scan)
def _scan(node: ops.Scan, operands: Types, callees: Callees) -> Types:
    body, first = callees[node.body], node.num_consts + node.num_carry
    if node.num_consts < 0 or node.num_carry < 0 or first > len(operands):
        raise TypeRuleError(
            f"{node.num_consts} constants and {node.num_carry} carried values exceed {len(operands)} operands"
        )
    if node.length < 0 or node.unroll < 1:
        raise TypeRuleError(
            f"length must be at least 0 and unroll at least 1, not {node.length} and {node.unroll}"
        )
    carry, scanned = operands[node.num_consts : first], operands[first:]
    for kind in scanned:
        if kind.shape[:1] != (node.length,):
            raise TypeRuleError(
                f"the first axis of the scanned operand {kind} must have length {node.length}"
            )
    items = tuple([TensorType(kind.dtype, kind.shape[1:]) for kind in scanned])
    _match(
        _inputs(body), (*operands[:first], *items), f"the inputs of {body.name} (constants, carry, slices)"
    )
    outputs = _outputs(body)
    _match(outputs[: node.num_carry], carry, f"the first outputs of {body.name} (carry)")
    stacked = tuple(
        [TensorType(kind.dtype, (node.length, *kind.shape)) for kind in outputs[node.num_carry :]]
    )
    return (*carry, *stacked)


@_rule(ops.While)
def _while(node: ops.While, operands: Types, callees: Callees) -> Types:
    cond, body, first = callees[node.cond], callees[node.body], node.cond_nconsts + node.body_nconsts
    if node.cond_nconsts < 0 or node.body_nconsts < 0 or first > len(operands):
        raise TypeRuleError(
            f"{node.cond_nconsts} and {node.body_nconsts} constants exceed {len(operands)} operands"
        )
    carry = operands[first:]
    constants = operands[: node.cond_nconsts], operands[node.cond_nconsts : first]
    _match(_inputs(cond), (*constants[0], *carry), f"the inputs of {cond.name} (constants, carry)")
    _match(_inputs(body), (*constants[1], *carry), f"the inputs of {body.name} (constants, carry)")
    _match(_outputs(body), carry, f"the outputs of {body.name} (carry)")
    _predicate(cond, carry)
    return carry


def _predicate(cond: Function, carry: Types) -> None:
    found = _outputs(cond)
    if len(found) != 1 or found[0].dtype != "bool":
        raise TypeRuleError(f"{cond.name} must return one bool[], not {_list(found)}")
    # jax.vmap makes loops whose predicate has the batch axes, which then lead every carried value.
    shape = found[0].shape
    if shape and any(kind.shape[: len(shape)] != shape for kind in carry):
        raise TypeRuleError(
            f"the axes of {cond.name}'s batched predicate {found[0]} must lead every carried value"
        )

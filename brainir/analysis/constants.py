"""Values that do not depend on any input: which those are, and what they are where indices have to be known."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..ir.kept import kept
from ..ir.node import Node
from ..ir.ops import (
    Binary,
    BroadcastInDim,
    Call,
    Clamp,
    Compare,
    Concatenate,
    ConvertElementType,
    Iota,
    Reshape,
    SelectN,
    Slice,
    Squeeze,
    Stack,
    Transpose,
    Unary,
)
from ..ir.program import Function, Program
from ..ir.types import DTYPES, TensorType, is_literal, literal_array
from .rearrange import rearrange

__all__ = ["Constants", "fixed_values"]

Array: TypeAlias = NDArray[Any]

_MAX_SIZE = 1 << 16
_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "abs": np.abs,
    "add": np.add,
    "and": np.bitwise_and,
    "copy": np.asarray,
    "eq": operator.eq,
    "ge": operator.ge,
    "gt": operator.gt,
    "le": operator.le,
    "lt": operator.lt,
    "max": np.maximum,
    "min": np.minimum,
    "mul": np.multiply,
    "ne": operator.ne,
    "neg": np.negative,
    "not": np.invert,
    "or": np.bitwise_or,
    "rem": np.fmod,
    "sign": np.sign,
    "sub": np.subtract,
    "xor": np.bitwise_xor,
}


def fixed_values(function: Function) -> set[str]:
    """Return the values of a function that depend on none of its inputs, found once and kept with it."""

    def find() -> set[str]:
        found = {constant.name for constant in function.constants}
        for node in function.nodes:
            for operand in node.inputs:
                if operand not in found and not is_literal(operand):
                    break
            else:
                found.update(node.outputs)
        return found

    return kept(function, "_fixed_values", find)


class Constants:
    """Integer and boolean values of a function that depend on no input.

    Knows what indexing is made of: sums, comparisons, selections, and operations that move elements.

    Parameters
    ----------
    function : Function
    given : mapping
        Inputs of the function whose values are known, where it is called.
    program : Program, optional
        Holds the functions that its calls run; without it, results of calls are not known.
    """

    def __init__(
        self, function: Function, given: Mapping[str, Array] | None = None, program: Program | None = None
    ) -> None:
        self.function = function
        self.program = program
        self._known: dict[str, Array | None] = {**(given or {})}

    def __call__(self, operand: str) -> Array | None:
        """Return a value, or None if it depends on an input or is not of a kind that is followed."""
        if is_literal(operand):
            return literal_array(operand)
        if operand not in self._known:
            self._known[operand] = self._find(operand)
        return self._known[operand]

    def _find(self, name: str) -> Array | None:
        kind = self.function.type_of(name)
        if kind.size > _MAX_SIZE or kind.is_key or kind.is_inexact or kind.dtype == "float0":
            return None
        for constant in self.function.constants:
            if constant.name == name:
                return None if constant.data is None else constant.array()
        node = self.function.producers.get(name)
        if node is None:
            return None
        if isinstance(node, Call) and self.program is not None:
            callee = self.program.function(node.function)
            known = {own: self(operand) for own, operand in zip(callee.inputs, node.inputs, strict=True)}
            given = {own: each for own, each in known.items() if each is not None}
            return Constants(callee, given, self.program)(callee.outputs[node.outputs.index(name)])
        operands = []
        for operand in node.inputs:
            value = self(operand)
            if value is None:
                return None
            operands.append(value)
        result = _compute(node, operands)
        return None if result is None else np.asarray(result, kind.storage[0]).reshape(kind.shape)


def _compute(node: Node, operands: list[Array]) -> Array | None:
    match node:
        case Unary() | Binary() | Compare() if node.op in _FUNCTIONS:
            return _FUNCTIONS[node.op](*operands)
        case SelectN():
            which, *cases = np.broadcast_arrays(*operands)
            return np.choose(which.astype(np.int64), cases) if len(cases) <= 2 else None
        case Clamp():
            return np.clip(operands[1], operands[0], operands[2])
        case ConvertElementType() if TensorType.parse(node.types[0]).dtype in DTYPES:
            return operands[0].astype(DTYPES[TensorType.parse(node.types[0]).dtype])
        case Iota():
            return np.moveaxis(np.broadcast_to(np.arange(node.shape[node.dimension]), _last(node)), -1, node.dimension)
        case _:
            return _move(node, operands)


def _last(node: Iota) -> tuple[int, ...]:
    """Return the shape of an iota with its counting axis last."""
    rest = [length for axis, length in enumerate(node.shape) if axis != node.dimension]
    return (*rest, node.shape[node.dimension])


def _move(node: Node, operands: list[Array]) -> Array | None:
    if not isinstance(node, BroadcastInDim | Reshape | Squeeze | Slice | Transpose | Concatenate | Stack):
        return None
    moved = rearrange(node, operands, lambda operand: None)
    return None if moved is None else moved[0]

"""Checks that several rules share; those that fail raise `TypeRuleError`."""

from __future__ import annotations

from collections.abc import Sequence

from ..types import TensorType
from ..wording import counted
from .element_types import kind_of
from .registry import Shape, TypeRuleError, Types

__all__ = [
    "MAX_RANK",
    "check_axes",
    "check_axis",
    "check_count",
    "check_kind",
    "check_platforms",
    "check_sizes",
    "common_shape",
    "list_types",
    "same_dtype",
    "without",
]

MAX_RANK = 64
"""The most axes that a type may have: numpy's limit."""


def check_count(operands: Types, count: int) -> None:
    """Check the number of operands."""
    if len(operands) != count:
        raise TypeRuleError(f"it takes {counted(count, 'operand')}, not {len(operands)}")


def check_kind(dtype: str, kinds: frozenset[str], what: str = "the operand") -> None:
    """Check that an element type is of one of the kinds."""
    if kind_of(dtype) not in kinds:
        raise TypeRuleError(f"{what} has element type {dtype}, but must be {' or '.join(sorted(kinds))}")


def same_dtype(operands: Types) -> str:
    """Return the element type that all operands have."""
    dtype = operands[0].dtype
    for kind in operands:
        if kind.dtype != dtype:
            raise TypeRuleError(f"operands must have one element type, not {list_types(operands)}")
    return dtype


def common_shape(operands: Types) -> Shape:
    """Return the shape of an elementwise result."""
    shapes = {kind.shape for kind in operands if kind.shape}
    if len(shapes) <= 1:
        return shapes.pop() if shapes else ()
    lengths = [{length for length in axis if length != 1} for axis in zip(*shapes, strict=False)]
    if len({len(shape) for shape in shapes}) > 1 or any(len(axis) > 1 for axis in lengths):
        raise TypeRuleError(
            f"operands must be scalars or have one shape, but for axes of length 1, not {list_types(operands)}"
        )
    return tuple([axis.pop() if axis else 1 for axis in lengths])


def list_types(kinds: Sequence[TensorType]) -> str:
    """Write the first types for an error message."""
    shown = [*map(str, kinds[:6]), *(["..."] if len(kinds) > 6 else [])]
    return f"({', '.join(shown)})"


def check_axes(axes: Shape, ndim: int, name: str) -> frozenset[int]:
    """Check that the axes exist and differ, and return them as a set."""
    chosen = frozenset(axes)
    if len(chosen) != len(axes):
        raise TypeRuleError(f"{name} {axes} has an axis twice")
    if axes and not 0 <= min(axes) <= max(axes) < ndim:
        raise TypeRuleError(f"{name} {axes} must be axes from 0 up to {ndim - 1}, the operand having rank {ndim}")
    return chosen


def check_axis(axis: int, ndim: int, name: str) -> None:
    """Check that the axis exists."""
    if not 0 <= axis < ndim:
        raise TypeRuleError(f"{name} {axis} must be an axis from 0 up to {ndim - 1}")


def check_sizes(sizes: Shape, name: str) -> Shape:
    """Check that an attribute is the shape of an array that numpy can hold, and return it."""
    if len(sizes) > MAX_RANK:
        raise TypeRuleError(f"{name} has {len(sizes)} axes; numpy and brainir hold at most {MAX_RANK}")
    if sizes and min(sizes) < 0:
        raise TypeRuleError(f"{name} {sizes} must not be negative")
    return sizes


def without(shape: Shape, axes: frozenset[int]) -> Shape:
    """Return the shape that is left when these axes disappear."""
    return tuple([size for axis, size in enumerate(shape) if axis not in axes])


def check_platforms(platforms: tuple[tuple[str, ...] | None, ...]) -> None:
    """Check that each platform has one place, and only the last place stands for all others."""
    named = [name for names in platforms for name in names or ()]
    if not platforms or None in platforms[:-1] or len(set(named)) != len(named):
        raise TypeRuleError(f"platforms must be named once each, None only last, not {platforms}")

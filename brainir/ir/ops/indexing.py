"""Schemas of operations that read or write at positions given by data."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..model import FunctionRef, Model
from ..node import Node, Traits
from .traits import Ints


class DynamicSlice(Node):
    """A block of fixed size whose start is given by integer operands."""

    op: Literal["dynamic_slice"] = "dynamic_slice"
    slice_sizes: Ints
    family_traits: ClassVar[Traits] = Traits(linear=(0,))


class DynamicUpdateSlice(Node):
    """The first operand with a block replaced by the second; the start is given by integer operands."""

    op: Literal["dynamic_update_slice"] = "dynamic_update_slice"


class GatherNumbers(Model):
    """Which axes of operand, indices and result a gather relates (``jax.lax.GatherDimensionNumbers``)."""

    offset_dims: Ints
    collapsed_slice_dims: Ints
    start_index_map: Ints
    operand_batching_dims: Ints = ()
    start_indices_batching_dims: Ints = ()


class Gather(Node):
    """Slices of the first operand at positions that the second, an integer array, gives.

    ``mode`` says what an index out of bounds does: ``clip``, ``fill_or_drop`` or ``promise_in_bounds``. ``fill_value``
    is written as in a literal, but without the type, which is the operand's, of keys that of their words: ``nan``.
    """

    op: Literal["gather"] = "gather"
    dimension_numbers: GatherNumbers
    slice_sizes: Ints
    indices_are_sorted: bool = False
    unique_indices: bool = False
    mode: Literal["clip", "fill_or_drop", "promise_in_bounds"]
    fill_value: str | None = None
    family_traits: ClassVar[Traits] = Traits(linear=(0,))


class ScatterNumbers(Model):
    """Which axes of operand, indices and updates a scatter relates (``jax.lax.ScatterDimensionNumbers``)."""

    update_window_dims: Ints
    inserted_window_dims: Ints
    scatter_dims_to_operand_dims: Ints
    operand_batching_dims: Ints = ()
    scatter_indices_batching_dims: Ints = ()


class Scatter(Node):
    """The first operand with the updates (third) written to, or combined at, the positions that the second gives."""

    op: Literal["scatter", "scatter_add", "scatter_max", "scatter_min", "scatter_mul", "scatter_sub"]
    dimension_numbers: ScatterNumbers
    indices_are_sorted: bool = False
    unique_indices: bool = False
    mode: Literal["clip", "fill_or_drop", "promise_in_bounds"]


class ScatterApply(Node):
    """The first operand with a function of the program applied to the elements at the positions that the second gives.

    The third operand has the shape of the updates; its elements are not used.
    """

    op: Literal["scatter_apply"] = "scatter_apply"
    update: FunctionRef
    dimension_numbers: ScatterNumbers
    indices_are_sorted: bool = False
    unique_indices: bool = False
    mode: Literal["clip", "fill_or_drop", "promise_in_bounds"]
    family_traits: ClassVar[Traits] = Traits(control=True)

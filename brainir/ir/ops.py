"""The node schemas: one class for each operation, or family of operations with the same attributes.

Attributes have their standard ``jax.lax`` names. To add an operation, add its name here (or a schema of its own), a
type rule in :mod:`brainir.ir.type_rules`, a rule in :mod:`brainir.frontend.rules` and one in
:mod:`brainir.backend.rules`; ``tests/test_operations.py`` names whichever is missing.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Discriminator

from .model import FunctionRef, Model
from .node import Node, Traits

__all__ = ["SCHEMAS", "AnyNode", "schema_of"]

Ints = tuple[int, ...]

ELEMENTWISE = Traits(elementwise=True)
STRUCTURAL = Traits(structural=True, linear=(0,))
REDUCTION = Traits(reduction=True)
CONTROL = Traits(control=True)
RANDOM = Traits(random=True)


def _elementwise(*linear: int) -> Traits:
    return Traits(elementwise=True, linear=linear)


class Unary(Node):
    """An elementwise function of one operand."""

    op: Literal[
        "abs", "acos", "acosh", "asin", "asinh", "atan", "atanh", "ceil", "clz", "conj", "copy", "cosh", "digamma",
        "erf", "erf_inv", "erfc", "floor", "imag", "is_finite", "lgamma", "neg", "not", "population_count", "real",
        "sign", "sinh", "square", "stop_gradient",
    ]  # fmt: skip
    family_traits: ClassVar[Traits] = ELEMENTWISE
    op_traits: ClassVar[dict[str, Traits]] = {
        **{op: _elementwise(0) for op in ("conj", "copy", "imag", "neg", "real")},
        "stop_gradient": Traits(elementwise=True, linear=(0,), blocks_gradient=True),
    }


class UnaryAccuracy(Node):
    """An elementwise function of one operand whose accuracy can be chosen."""

    op: Literal[
        "cbrt", "cos", "exp", "exp2", "expm1", "log", "log1p", "logistic", "rsqrt", "sin", "sqrt", "tan", "tanh",
    ]  # fmt: skip
    accuracy: str | None = None
    family_traits: ClassVar[Traits] = ELEMENTWISE


class IntegerPow(Node):
    """``x ** y`` for a fixed integer ``y``."""

    op: Literal["integer_pow"] = "integer_pow"
    y: int
    family_traits: ClassVar[Traits] = ELEMENTWISE


class Round(Node):
    """Round to integers; ``rounding_method`` 0 goes away from zero on ties, 1 to even."""

    op: Literal["round"] = "round"
    rounding_method: int
    family_traits: ClassVar[Traits] = ELEMENTWISE


class ReducePrecision(Node):
    """Round to fewer exponent and mantissa bits."""

    op: Literal["reduce_precision"] = "reduce_precision"
    exponent_bits: int
    mantissa_bits: int
    family_traits: ClassVar[Traits] = ELEMENTWISE


class Binary(Node):
    """An elementwise function of two operands of one type."""

    op: Literal[
        "add", "add_any", "and", "atan2", "complex", "div", "max", "min", "mul", "nextafter", "or", "pow", "rem",
        "shift_left", "shift_right_arithmetic", "shift_right_logical", "sub", "xor",
    ]  # fmt: skip
    family_traits: ClassVar[Traits] = ELEMENTWISE
    op_traits: ClassVar[dict[str, Traits]] = {
        "mul": _elementwise(0, 1),
        "div": _elementwise(0),
    }


class Compare(Node):
    """An elementwise comparison of two operands of one type."""

    op: Literal["eq", "eq_to", "ge", "gt", "le", "le_to", "lt", "lt_to", "ne"]
    family_traits: ClassVar[Traits] = ELEMENTWISE


class SelectN(Node):
    """Pick, element by element, the case that ``which`` (boolean or index) names."""

    op: Literal["select_n"] = "select_n"
    family_traits: ClassVar[Traits] = ELEMENTWISE


class Clamp(Node):
    """``min <= x <= max``; the operands are min, x, max."""

    op: Literal["clamp"] = "clamp"
    family_traits: ClassVar[Traits] = ELEMENTWISE


class ConvertElementType(Node):
    """Convert to another element type."""

    op: Literal["convert_element_type"] = "convert_element_type"
    new_dtype: str
    weak_type: bool = False
    family_traits: ClassVar[Traits] = _elementwise(0)


class BitcastConvertType(Node):
    """Read the same bits as another element type."""

    op: Literal["bitcast_convert_type"] = "bitcast_convert_type"
    new_dtype: str


class BroadcastInDim(Node):
    """Repeat along new axes; operand axis k becomes result axis ``broadcast_dimensions[k]``."""

    op: Literal["broadcast_in_dim"] = "broadcast_in_dim"
    shape: Ints
    broadcast_dimensions: Ints
    family_traits: ClassVar[Traits] = STRUCTURAL


class Reshape(Node):
    """The same elements in row-major order under another shape."""

    op: Literal["reshape"] = "reshape"
    new_sizes: Ints
    family_traits: ClassVar[Traits] = STRUCTURAL


class Squeeze(Node):
    """Drop axes of length one."""

    op: Literal["squeeze"] = "squeeze"
    dimensions: Ints
    family_traits: ClassVar[Traits] = STRUCTURAL


class Transpose(Node):
    """Permute the axes."""

    op: Literal["transpose"] = "transpose"
    permutation: Ints
    family_traits: ClassVar[Traits] = STRUCTURAL


class Rev(Node):
    """Reverse the order of elements along axes."""

    op: Literal["rev"] = "rev"
    dimensions: Ints
    family_traits: ClassVar[Traits] = STRUCTURAL


class Slice(Node):
    """A strided block with fixed bounds."""

    op: Literal["slice"] = "slice"
    start_indices: Ints
    limit_indices: Ints
    strides: Ints | None = None
    family_traits: ClassVar[Traits] = STRUCTURAL


class Split(Node):
    """Cut one operand into pieces along an axis."""

    op: Literal["split"] = "split"
    sizes: Ints
    axis: int
    family_traits: ClassVar[Traits] = STRUCTURAL


class Concatenate(Node):
    """Join operands along an axis."""

    op: Literal["concatenate"] = "concatenate"
    dimension: int
    family_traits: ClassVar[Traits] = STRUCTURAL


class Stack(Node):
    """Join operands of one shape along a new axis."""

    op: Literal["stack"] = "stack"
    axis: int
    family_traits: ClassVar[Traits] = STRUCTURAL


class Unstack(Node):
    """Take one operand apart along an axis, which disappears; one result for each index."""

    op: Literal["unstack"] = "unstack"
    axis: int
    family_traits: ClassVar[Traits] = STRUCTURAL


class Tile(Node):
    """Repeat the whole operand ``reps[k]`` times along axis k."""

    op: Literal["tile"] = "tile"
    reps: Ints
    family_traits: ClassVar[Traits] = STRUCTURAL


class Pad(Node):
    """Put the second operand around and between the elements of the first: (low, high, interior) for each axis."""

    op: Literal["pad"] = "pad"
    padding_config: tuple[tuple[int, int, int], ...]
    family_traits: ClassVar[Traits] = STRUCTURAL


class Iota(Node):
    """Count 0, 1, 2, ... along one axis."""

    op: Literal["iota"] = "iota"
    dtype: str
    shape: Ints
    dimension: int


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
    is written as in a literal, but without the type, which is the operand's: ``nan``.
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


DimensionNumbers = tuple[tuple[Ints, Ints], tuple[Ints, Ints]]


class DotGeneral(Node):
    """Sum of products over the contracting axes; batch axes come first in the result."""

    op: Literal["dot_general"] = "dot_general"
    dimension_numbers: DimensionNumbers
    precision: str | tuple[str, str] | None = None
    preferred_element_type: str | None = None
    family_traits: ClassVar[Traits] = Traits(contraction=True, linear=(0, 1))


class Reduce(Node):
    """Combine all elements along axes, which disappear."""

    op: Literal[
        "reduce_and", "reduce_max", "reduce_min", "reduce_or", "reduce_prod", "reduce_sum", "reduce_xor",
    ]  # fmt: skip
    axes: Ints
    family_traits: ClassVar[Traits] = REDUCTION
    op_traits: ClassVar[dict[str, Traits]] = {"reduce_sum": Traits(reduction=True, linear=(0,))}


class ArgReduce(Node):
    """Index of the largest or smallest element along an axis."""

    op: Literal["argmax", "argmin"]
    axes: Ints
    index_dtype: str
    family_traits: ClassVar[Traits] = REDUCTION


class Cumulative(Node):
    """Running combination along an axis."""

    op: Literal["cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"]
    axis: int
    reverse: bool = False
    op_traits: ClassVar[dict[str, Traits]] = {"cumsum": Traits(linear=(0,))}


class RandomSeed(Node):
    """Make typed keys from integer seeds."""

    op: Literal["random_seed"] = "random_seed"
    impl: str
    family_traits: ClassVar[Traits] = RANDOM


class RandomWrap(Node):
    """Read ``uint32`` words as typed keys."""

    op: Literal["random_wrap"] = "random_wrap"
    impl: str
    family_traits: ClassVar[Traits] = RANDOM


class RandomKeys(Node):
    """Operations on typed keys without attributes: their words, or a key folded with data."""

    op: Literal["random_fold_in", "random_unwrap"]
    family_traits: ClassVar[Traits] = RANDOM


class RandomSplit(Node):
    """Derive an array of new keys from each key."""

    op: Literal["random_split"] = "random_split"
    shape: Ints
    family_traits: ClassVar[Traits] = RANDOM


class RandomBits(Node):
    """Uniform random bits from a key."""

    op: Literal["random_bits"] = "random_bits"
    bit_width: int
    shape: Ints
    family_traits: ClassVar[Traits] = RANDOM


class Call(Node):
    """Run a function of the table: a nested ``jax.jit``."""

    op: Literal["call"] = "call"
    function: FunctionRef
    inline: bool = False
    keep_unused: bool = False
    donated: Ints = ()
    family_traits: ClassVar[Traits] = CONTROL


class CustomJvp(Node):
    """Run ``function``, which is differentiated by the rule ``jvp`` (``jax.custom_jvp``).

    The rule takes all operands, then a tangent for each operand with an inexact element type, and returns all results,
    then a tangent for each result with an inexact element type.
    """

    op: Literal["custom_jvp"] = "custom_jvp"
    function: FunctionRef
    jvp: FunctionRef
    family_traits: ClassVar[Traits] = CONTROL

    @classmethod
    def rule_names(cls) -> tuple[str, ...]:
        """See :meth:`Node.rule_names`."""
        return ("jvp",)


class CustomVjp(Node):
    """Run ``function``, which is differentiated by the rules ``fwd`` and ``bwd`` (``jax.custom_vjp``).

    ``fwd`` takes all operands and returns all results, then the residuals. ``bwd`` takes the residuals, then a
    cotangent for each result with an inexact element type, and returns a cotangent for each operand with one.
    """

    op: Literal["custom_vjp"] = "custom_vjp"
    function: FunctionRef
    fwd: FunctionRef
    bwd: FunctionRef
    family_traits: ClassVar[Traits] = CONTROL

    @classmethod
    def rule_names(cls) -> tuple[str, ...]:
        """See :meth:`Node.rule_names`."""
        return ("fwd", "bwd")


class Cond(Node):
    """Run the branch that the first operand (an ``int32`` index) names; all branches take the other operands."""

    op: Literal["cond"] = "cond"
    branches: tuple[FunctionRef, ...]
    family_traits: ClassVar[Traits] = CONTROL


class Scan(Node):
    """Run ``body`` ``length`` times (``jax.lax.scan``).

    The operands are ``num_consts`` constants, ``num_carry`` carried values, and arrays that are scanned over their
    first axis. The body takes constants, carry and slices, and returns the new carry and slices of the stacked results.
    """

    op: Literal["scan"] = "scan"
    body: FunctionRef
    length: int
    num_consts: int
    num_carry: int
    reverse: bool = False
    unroll: int = 1
    family_traits: ClassVar[Traits] = CONTROL


class While(Node):
    """Run ``body`` while ``cond`` holds; the operands are constants of ``cond``, constants of ``body``, the carry."""

    op: Literal["while"] = "while"
    cond: FunctionRef
    body: FunctionRef
    cond_nconsts: int
    body_nconsts: int
    family_traits: ClassVar[Traits] = CONTROL


_AnySchema = (
    Unary | UnaryAccuracy | IntegerPow | Round | ReducePrecision | Binary | Compare | SelectN | Clamp
    | ConvertElementType | BitcastConvertType | BroadcastInDim | Reshape | Squeeze | Transpose | Rev | Slice | Split
    | Concatenate | Stack | Unstack | Tile | Pad | Iota | Gather | Scatter | DynamicSlice | DynamicUpdateSlice
    | DotGeneral | Reduce | ArgReduce | Cumulative | RandomSeed | RandomWrap | RandomKeys | RandomSplit | RandomBits
    | Call | CustomJvp | CustomVjp | Cond | Scan | While
)  # fmt: skip

AnyNode = Annotated[_AnySchema, Discriminator("op")]
"""Any node, told apart by ``op``."""

SCHEMAS: tuple[type[Node], ...] = get_args(_AnySchema)
"""Every node schema."""

_SCHEMA_OF = {op: schema for schema in SCHEMAS for op in schema.ops()}


def schema_of(op: str) -> type[Node]:
    """Return the schema of an operation.

    Raises
    ------
    KeyError
        If no schema covers `op`.
    """
    return _SCHEMA_OF[op]

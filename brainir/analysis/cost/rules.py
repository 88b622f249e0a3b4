"""What one node costs: the rule table, by operation and by trait.

Counts follow XLA's cost analysis of the unoptimized program: an elementwise operation is one floating point operation
for each element of its result, whatever its element type; functions that the hardware does not compute in one step
count as transcendentals instead; a sum of products counts two for each product; every node reads its operands and
writes its results, since fusion is the compiler's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

from ...ir.node import Node
from ...ir.types import TensorType
from .decompositions import FINITE, ITERATIVE

__all__ = ["NodeCost", "node_cost"]

Types: TypeAlias = Sequence[TensorType]


class NodeCost(NamedTuple):
    """What a node costs.

    Parameters
    ----------
    flops, transcendentals : int
    bytes_moved : int
        Bytes of operands read and results written.
    estimated : bool
        Whether no rule covers the operation, and the numbers are a guess from its sizes.
    """

    flops: int = 0
    transcendentals: int = 0
    bytes_moved: int = 0
    estimated: bool = False


# Floating point operations and transcendentals for each element, where XLA has no operation of its own or none at all
# is needed; every other elementwise operation counts one floating point operation.
_PER_ELEMENT: dict[str, tuple[int, int]] = {
    **dict.fromkeys(
        ("atan2", "cbrt", "cos", "erf", "exp", "expm1", "log", "log1p", "pow", "rsqrt", "sin", "sqrt", "tan", "tanh"),
        (0, 1),
    ),
    **dict.fromkeys(("copy", "name", "stop_gradient", "real", "imag", "complex"), (0, 0)),
    "asin": (5, 2),
    "cosh": (3, 2),
    "exp2": (1, 1),
    "logistic": (3, 1),
}
_FREE = frozenset({"bitcast_convert_type", "empty", "iota", "optimization_barrier", "random_unwrap", "random_wrap"})
# XLA writes these out as polynomials; how long they are is its own affair.
_SERIES = frozenset({
    "acos", "acosh", "asinh", "atan", "atanh", "bessel_i0e", "bessel_i1e", "digamma", "erf_inv", "erfc", "igamma",
    "igamma_grad_a", "igammac", "lgamma", "nextafter", "polygamma", "random_gamma_grad", "regularized_incomplete_beta",
    "sinh", "zeta",
})  # fmt: skip


def node_cost(node: Node, operands: Types, results: Types) -> NodeCost:
    """Return what a node costs that runs no function.

    Parameters
    ----------
    node : Node
    operands, results : sequence of TensorType
    """
    moved = sum(kind.nbytes for kind in operands) + sum(kind.nbytes for kind in results)
    rule = _RULES.get(node.op)
    if rule is not None:
        return rule(node, operands, results, moved)
    if node.op in FINITE:
        return NodeCost(FINITE[node.op](node, operands), 0, moved)
    if node.op in ITERATIVE:
        return NodeCost(ITERATIVE[node.op](node, operands), 0, moved, estimated=True)
    traits = node.traits
    elements = sum(kind.size for kind in results)
    if node.op in _SERIES:
        return NodeCost(0, elements, moved, estimated=True)
    if traits.elementwise:
        flops, transcendentals = _PER_ELEMENT.get(node.op, (1, 0))
        return NodeCost(flops * elements, transcendentals * elements, moved)
    if traits.structural or node.op in _FREE:
        return NodeCost(0, 0, moved)
    if traits.reduction:
        return NodeCost(max(operands[0].size - elements, 0), 0, moved)
    # Nothing is known but sizes: as many operations as there are elements to see.
    return NodeCost(max(elements, *(kind.size for kind in operands), 0), 0, moved, estimated=True)


def _dot_general(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    contracting = math.prod(operands[0].shape[axis] for axis in node.dimension_numbers[0][0])
    return NodeCost(2 * results[0].size * contracting, 0, moved)


def _conv_general_dilated(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    """Count the products of the kernel with elements of the input, not with padding or the gaps of dilation."""
    numbers = node.dimension_numbers
    lhs, rhs = operands[0].shape, operands[1].shape
    products = results[0].shape[numbers.out_spec[0]] * results[0].shape[numbers.out_spec[1]] * rhs[numbers.rhs_spec[1]]
    for place, stride in enumerate(node.window_strides):
        products *= _valid(
            lhs[numbers.lhs_spec[2 + place]],
            rhs[numbers.rhs_spec[2 + place]],
            results[0].shape[numbers.out_spec[2 + place]],
            stride,
            node.padding[place][0],
            node.lhs_dilation[place],
            node.rhs_dilation[place],
        )
    return NodeCost(2 * products, 0, moved)


def _valid(size: int, window: int, outputs: int, stride: int, low: int, spread: int, reach: int) -> int:
    """Return how often a position of a one-dimensional window meets an element of the input."""
    found = 0
    for offset in range(window):
        # Positions begin + stride * k, for k below `outputs`, that are multiples of `spread` and inside the input.
        begin = offset * reach - low
        last = (size - 1) * spread
        first_output = max(0, -(begin // stride)) if begin < 0 else 0
        last_output = min(outputs - 1, (last - begin) // stride)
        if spread == 1:
            found += max(0, last_output - first_output + 1)
            continue
        period = spread // math.gcd(stride, spread)
        hits = [k for k in range(first_output, first_output + period) if (begin + stride * k) % spread == 0]
        if hits and hits[0] <= last_output:
            found += (last_output - hits[0]) // period + 1
    return found


def _integer_pow(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    """Count the multiplications of repeated squaring, and the division of a negative power."""
    power = abs(node.y)
    multiplications = max(power.bit_length() - 1 + power.bit_count() - 1, 0)
    return NodeCost((multiplications + (node.y < 0)) * results[0].size, 0, moved)


def _cumulative(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    kind = operands[0]
    lines = kind.size // kind.shape[node.axis] if kind.size else 0
    steep = kind.size if node.op == "cumlogsumexp" else 0
    return NodeCost(kind.size - lines, 2 * steep, moved)


def _sort(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    """Count a comparison of each element for each halving of all, as XLA does."""
    size = operands[0].size
    return NodeCost(size * max(size - 1, 0).bit_length(), 0, moved)


def _arg_reduce(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    """Count nine operations for each pair: elements are compared, then NaNs and places, and both are chosen."""
    return NodeCost(9 * max(operands[0].size - results[0].size, 0), 0, moved)


def _reduce_window(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    return NodeCost(results[0].size * (math.prod(node.window_dimensions) - 1), 0, moved)


def _select_and_scatter(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    """Count the comparisons in the window of each source element, and its sum."""
    return NodeCost(operands[0].size * math.prod(node.window_dimensions), 0, moved)


def _fft(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    """Count a complex multiplication and addition for each element and each halving of the lengths."""
    halvings = math.prod(max(length, 1).bit_length() - 1 for length in node.fft_lengths)
    return NodeCost(8 * halvings * operands[0].size, 0, moved)


def _window_read(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    """Only what the indices name is read: as many bytes as are written, and the indices."""
    return NodeCost(0, 0, 2 * results[0].nbytes + sum(kind.nbytes for kind in operands[1:]))


def _window_write(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    """Only what the indices name is read and written, as if the operand were updated in place."""
    update = operands[1] if node.op == "dynamic_update_slice" else operands[2]
    indices = sum(kind.nbytes for kind in operands[1:]) - update.nbytes
    flops = 0 if node.op in ("dynamic_update_slice", "scatter") else update.size
    reads = 2 if flops else 1
    return NodeCost(flops, 0, (reads + 1) * update.nbytes + indices)


def _symmetric_product(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    """Count a product and a sum for each pair of rows, both factors, and the sum with the second operand."""
    return NodeCost((2 * operands[0].shape[-1] + 3) * results[0].size, 0, moved)


def _random_bits(node: Any, operands: Types, results: Types, moved: int) -> NodeCost:
    """Count 20 rounds of three integer operations, and the key schedule, for two words of Threefry."""
    words = -(-results[0].nbytes // 4) if results[0].size else 0
    return NodeCost(38 * words, 0, moved, estimated=True)


_RULES: dict[str, Callable[[Any, Types, Types, int], NodeCost]] = {
    **dict.fromkeys(("argmax", "argmin"), _arg_reduce),
    "conv_general_dilated": _conv_general_dilated,
    **dict.fromkeys(("cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"), _cumulative),
    "dot_general": _dot_general,
    **dict.fromkeys(("dynamic_slice", "gather"), _window_read),
    **dict.fromkeys(
        (
            "dynamic_update_slice", "scatter", "scatter_add", "scatter_max", "scatter_min", "scatter_mul",
            "scatter_sub",
        ),
        _window_write,
    ),
    "fft": _fft,
    "integer_pow": _integer_pow,
    "random_bits": _random_bits,
    **dict.fromkeys(("reduce_window_max", "reduce_window_min", "reduce_window_sum"), _reduce_window),
    "select_and_scatter_add": _select_and_scatter,
    "sort": _sort,
    "symmetric_product": _symmetric_product,
}  # fmt: skip

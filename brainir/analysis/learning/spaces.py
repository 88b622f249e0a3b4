"""The space that a trace lives in, and how many bytes a learner keeps of it."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any, NamedTuple, assert_never

from ...ir.ops import DynamicSlice
from ...ir.types import TensorType
from .plan import Algorithm, GroupPlan, TracePlan
from .tails import Tail
from .terms import Form, Term

__all__ = ["TraceSpace", "has_data_apart", "pairs_shape", "rows_picked", "space_of", "trace_bytes", "trace_form"]

_STEP_COUNTER = 4
"""Bytes of the number of steps, which ES-D-RTRL keeps with each trace."""


class TraceSpace(NamedTuple):
    """Shapes of a trace.

    Parameters
    ----------
    whole : tuple of int
        Of a trace that is kept whole.
    data : tuple of int
        Of the data in that space, with ones along the axes that it does not have.
    """

    whole: tuple[int, ...]
    data: tuple[int, ...]


def trace_form(term: Term, tail: Tail) -> Form:
    """Return the form in which the trace of a term is kept in one tail: its own, or its whole Jacobian."""
    return "jacobian" if tail.pairing == "by_position" and term.form != "elementwise" else term.form


def has_data_apart(term: Term, tail: Tail) -> bool:
    """Whether the trace of a term in one tail is an outer product with its data, rather than whole Jacobians."""
    return trace_form(term, tail) in ("elementwise", "dot", "embedding", "conv", "product")


def pairs_shape(tail: Tail, positions: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of the pairs of a result and a position that it reaches: that of the one or the other."""
    return positions if tail.pairing == "by_position" else tail.invars[0].shape


def space_of(term: Term, tail: Tail, positions: tuple[int, ...]) -> TraceSpace:
    """Return the space of the trace of a term in one tail.

    Parameters
    ----------
    term : Term
    tail : Tail
    positions : tuple of int
        Shape of the positions of the group.
    """
    pairs, weight = pairs_shape(tail, positions), term.weights[0].shape
    form = trace_form(term, tail)
    match form:
        case "elementwise":
            return TraceSpace(pairs, (1,) * len(pairs))
        case "dot":
            return _of_product(term)
        case "embedding":
            lead, (rows, *row) = rows_picked(term), weight
            return TraceSpace((*lead, rows, *row), (*lead, rows, *(1 for _ in row)))
        case "conv":
            return _of_convolution(term)
        case "product":
            x = _data_shape(term)
            return TraceSpace((*x, term.y.shape[-1]), (*x, 1))
        case "sum":
            return TraceSpace(weight, weight)
        case "jacobian":
            return TraceSpace((*pairs, *weight), (*pairs, *weight))
        case _:
            assert_never(form)


def rows_picked(term: Term) -> tuple[int, ...]:
    """Return the shape of the indices that pick rows of an embedding."""
    return (1,) if isinstance(term.main_node, DynamicSlice) else _data_shape(term)[:-1]


def _of_product(term: Term) -> TraceSpace:
    """Return the free axes of the data, then those of the weight; the data has those that are summed or shared."""
    node: Any = term.main_node
    contract, batch = node.dimension_numbers
    w, x = term.weight_operand, 1 - term.weight_operand
    weight, data = term.weights[0].shape, _data_shape(term)
    free = tuple(size for axis, size in enumerate(data) if axis not in (*contract[x], *batch[x]))
    shared = {*contract[w], *batch[w]}
    return TraceSpace((*free, *weight), (*free, *(size if axis in shared else 1 for axis, size in enumerate(weight))))


def _of_convolution(term: Term) -> TraceSpace:
    """Return the axes of the result but its features, then those of the weight; the data is the patches."""
    node: Any = term.main_node
    numbers, weight = node.dimension_numbers, term.weights[0].shape
    lead = tuple(size for axis, size in enumerate(term.y.shape) if axis != numbers.out_spec[1])
    out, grouped = numbers.rhs_spec[0], node.feature_group_count > 1
    seen = (1 if axis == out and not grouped else size for axis, size in enumerate(weight))
    return TraceSpace((*lead, *weight), (*lead, *seen))


def _data_shape(term: Term) -> tuple[int, ...]:
    return term.x.shape if term.x is not None else ()


def trace_bytes(algorithm: Algorithm, group: GroupPlan, trace: TracePlan, term: Term) -> int:
    """Return the bytes that a learner keeps from step to step for a trace.

    Parameters
    ----------
    algorithm : {"d_rtrl", "es_d_rtrl"}
    group : GroupPlan
    trace : TracePlan
    term : Term
        Of the trace; of a sum of several, of the first.
    """
    if trace.same_as:
        return 0
    space = space_of(term, trace.tail, group.group.varshape)
    full, vectors = len(trace.slots("full")), len(trace.slots("vector"))
    match algorithm:
        case "d_rtrl":
            elements, counter = full * math.prod(space.whole) + vectors * math.prod(space.data), 0
        case "es_d_rtrl":
            pairs = math.prod(pairs_shape(trace.tail, group.group.varshape))
            elements, counter = full * pairs + vectors + _filtered_data(term, space), _STEP_COUNTER
        case _:
            assert_never(algorithm)
    members = [group.group.hidden_invars[member].aval for member, _ in group.slots]
    return elements * _itemsize([*(weight.aval for weight in term.weights), *members]) + counter


def _filtered_data(term: Term, space: TraceSpace) -> int:
    """Return the elements of the filtered data; indices are filtered as the rows that they pick."""
    if term.x is None:
        return 0
    return term.x.aval.size if term.x.aval.is_inexact else math.prod(space.data)


def _itemsize(kinds: Collection[TensorType]) -> int:
    """Return the bytes of an element of the type that these element types have in common."""
    sizes = {kind.dtype: kind.storage[0].itemsize // (2 if kind.is_complex else 1) for kind in kinds}
    real = max(sizes.values())
    if len(sizes) > 1 and real < 4:
        real = 4  # bfloat16 and float16 have float32 in common
    return real * (2 if any(kind.is_complex for kind in kinds) else 1)

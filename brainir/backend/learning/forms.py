"""The space that a trace lives in: how positions and data spread over it, and how a gradient folds back."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import Any, Protocol, assert_never

import jax
from jax import lax
from jax import numpy as jnp

from ...analysis.learning.spaces import TraceSpace, rows_picked, space_of, trace_form
from ...analysis.learning.tails import Tail
from ...analysis.learning.terms import Term
from ...ir.ops import DynamicSlice
from ...ir.ops.contraction import DimensionNumbers
from ...ir.program import Value
from .host import Environment, PlanFunctions, goes_forward
from .pairs import Pairs

__all__ = ["ElementwiseForm", "Form", "form_of"]


class Form(Protocol):
    """How a term acts in one tail.

    Attributes
    ----------
    space : tuple of int
        Shape of a trace that is kept whole.
    vector : tuple of int
        Shape of the data in that space, with ones along the axes that it does not have.
    """

    space: tuple[int, ...]
    vector: tuple[int, ...]

    def data(self, env: Environment) -> Any:
        """Return what each weight multiplies, in the shape `vector`."""

    def spread(self, pairs: Any) -> Any:
        """Give a value for each pair of result and position the axes of the space."""

    def fold(self, gradient: Any, env: Environment) -> list[Any]:
        """Sum a gradient in the space into one for each weight of the term."""


class _Dot:
    """``y = dot_general(x, W)``: free axes of x, then the axes of W in their own order.

    So the gradient needs no transpose; the axes of W that are free are those of the positions.
    """

    def __init__(
        self, space: TraceSpace, dimension_numbers: DimensionNumbers, weight_operand: int, ranks: tuple[int, int]
    ) -> None:
        self.space, self.vector = space
        contract, batch = dimension_numbers
        w, x = weight_operand, 1 - weight_operand
        data_free = [axis for axis in range(ranks[x]) if axis not in (*contract[x], *batch[x])]
        weight_free = [axis for axis in range(ranks[w]) if axis not in (*contract[w], *batch[w])]
        count = len(batch[w])
        first = count + (len(data_free) if x == 0 else len(weight_free))
        data_at = range(count, first) if x == 0 else range(first, first + len(data_free))
        weight_at = range(count, first) if w == 0 else range(first, first + len(weight_free))
        self._free = len(data_free)
        # Axes of y, and of x, in the order of the space.
        result_axis = {
            **dict(zip(batch[w], range(count), strict=True)),
            **dict(zip(weight_free, weight_at, strict=True)),
        }
        self._result_order = [*data_at, *(result_axis[axis] for axis in range(ranks[w]) if axis in result_axis)]
        self._without_sum = [*range(self._free), *(self._free + axis for axis in result_axis)]
        data_axis = {
            **dict(zip(batch[w], batch[x], strict=True)),
            **dict(zip(contract[w], contract[x], strict=True)),
        }
        self._data_order = [*data_free, *(data_axis[axis] for axis in range(ranks[w]) if axis in data_axis)]

    def arrange(self, x: Any) -> Any:
        return jnp.transpose(x, self._data_order).reshape(self.vector)

    def spread(self, pairs: Any) -> Any:
        kept = {*self._without_sum}
        shape = tuple(size if axis in kept else 1 for axis, size in enumerate(self.space))
        return jnp.transpose(pairs, self._result_order).reshape(shape)

    def fold(self, gradient: Any, env: Environment) -> list[Any]:
        return [gradient.sum(axis=tuple(range(self._free))) if self._free else gradient]


class _DotForm(_Dot):
    def __init__(self, term: Term, space: TraceSpace) -> None:
        node: Any = term.main_node
        left, right = (term.weights[0], term.x) if term.weight_operand == 0 else (term.x, term.weights[0])
        super().__init__(space, node.dimension_numbers, term.weight_operand, (_rank(left), _rank(right)))
        self._x = _name(term)

    def data(self, env: Environment) -> Any:
        return self.arrange(env[self._x])


class _EmbeddingForm(_Dot):
    """Rows of a table, or one row: a product with one-hot data."""

    def __init__(self, term: Term, space: TraceSpace) -> None:
        node: Any = term.main_node
        lead, table = rows_picked(term), term.weights[0].shape
        super().__init__(space, (((len(lead),), (0,)), ((), ())), 1, (len(lead) + 1, len(table)))
        self._x, self._lead, self._rows = _name(term), lead, table[0]
        self._clip = isinstance(node, DynamicSlice) or node.mode == "clip"
        self._dtype = jnp.dtype(term.weights[0].dtype)

    def data(self, env: Environment) -> Any:
        rows = env[self._x].reshape(self._lead)
        if self._clip:
            rows = jnp.clip(rows, 0, self._rows - 1)
        return self.arrange(jax.nn.one_hot(rows, self._rows, dtype=self._dtype))


class _ConvolutionForm:
    """A convolution is a product with patches: the axes of the result but its features, then those of the weight.

    With groups of features, a feature of the result sees the patches of its group.
    """

    def __init__(self, term: Term, space: TraceSpace) -> None:
        self.space, self.vector = space
        node: Any = term.main_node
        numbers, result, weight = node.dimension_numbers, term.y.shape, term.weights[0].shape
        self._features, self._out = numbers.out_spec[1], numbers.rhs_spec[0]
        lead = tuple(size for axis, size in enumerate(result) if axis != self._features)
        groups, features = node.feature_group_count, weight[self._out]
        self._repeats = features // groups if groups > 1 else 1
        self._x, self._lead, self._weight = _name(term), len(lead), weight
        window = tuple(weight[axis] for axis in numbers.rhs_spec[2:])
        # Patches have their features in the order of the input features, then of the places in the window.
        specs = (numbers.lhs_spec, (0, 1, *range(2, len(weight))), (0, len(lead), *range(1, len(lead))))
        self._patches = functools.partial(
            lax.conv_general_dilated_patches,
            filter_shape=window,
            window_strides=node.window_strides,
            padding=node.padding,
            lhs_dilation=node.lhs_dilation,
            rhs_dilation=node.rhs_dilation,
            dimension_numbers=lax.ConvDimensionNumbers(*specs),
            precision=lax.Precision.HIGHEST,
        )
        self._window = (groups, weight[numbers.rhs_spec[1]], *window)
        # Where the axes before the features are in the result: the batch, then the spatial ones.
        axes = [axis for axis in range(len(result)) if axis != self._features]
        self._lead_order = [(numbers.out_spec[0], *numbers.out_spec[2:]).index(axis) for axis in axes]
        placed = {axis: place for place, axis in enumerate(numbers.rhs_spec)}
        self._weight_order = [len(lead) + placed[axis] for axis in range(len(weight))]

    def data(self, env: Environment) -> Any:
        patches = self._patches(env[self._x])
        split = patches.reshape(*patches.shape[:-1], *self._window)
        each = jnp.repeat(split, self._repeats, axis=self._lead)
        return jnp.transpose(each, (*self._lead_order, *self._weight_order))

    def spread(self, pairs: Any) -> Any:
        last = jnp.moveaxis(pairs, self._features, -1)
        shape = [size if axis == self._out else 1 for axis, size in enumerate(self._weight)]
        return last.reshape(*last.shape[:-1], *shape)

    def fold(self, gradient: Any, env: Environment) -> list[Any]:
        return [gradient.sum(axis=tuple(range(self._lead)))]


class _SumForm:
    """Products of elements that are summed afterwards: the space is that of the products.

    Each product goes into at most one sum. So the gradient of a product is the data times the gradient of its sum,
    which the transpose of the operation gives, for ones in place of the data.
    """

    def __init__(self, term: Term, space: TraceSpace, run: Any) -> None:
        self.space, self.vector = space
        self._weight, self._result, self._run = term.weights[0], term.y, run
        self._names = [value.name for value in term.operation_invars[1:]]
        x, *others = term.operation_invars[1:]
        # The data either multiplies, or selects the weight by its place among the operands.
        unit = 1 if x.aval.is_inexact else term.weight_operand - 1
        self._units = [(x.shape, x.dtype, unit), *((each.shape, each.dtype, 0) for each in others)]

    def _pull(self, operands: Sequence[Any], gradient: Any) -> Any:
        zero = jnp.zeros(self._weight.shape, self._weight.dtype)
        _, pull = jax.vjp(lambda weight: self._run(weight, *operands)[0], zero)
        if jnp.iscomplexobj(gradient) and not jnp.iscomplexobj(zero):
            return lax.complex(*(pull(part.astype(self._result.dtype))[0] for part in (gradient.real, gradient.imag)))
        return pull(gradient.astype(self._result.dtype))[0]

    def data(self, env: Environment) -> Any:
        ones = jnp.ones(self._result.shape, self._result.dtype)
        return self._pull([env[name] for name in self._names], ones)

    def spread(self, pairs: Any) -> Any:
        return self._pull([jnp.full(shape, fill, dtype) for shape, dtype, fill in self._units], pairs)

    def fold(self, gradient: Any, env: Environment) -> list[Any]:
        return [gradient]


class _ProductForm:
    """Weights in a row, seen as the one matrix that takes x to y; its gradient goes on to each of them."""

    def __init__(self, term: Term, space: TraceSpace, run: Any) -> None:
        self.space, self.vector = space
        self._shape = self.vector[:-1]
        lead = self._shape[:-1]
        self._lead, self._x, self._run = lead, _name(term), run
        self._weights = [weight.name for weight in term.weights]

    def data(self, env: Environment) -> Any:
        return env[self._x][..., None]

    def spread(self, pairs: Any) -> Any:
        return pairs[..., None, :]

    def fold(self, gradient: Any, env: Environment) -> list[Any]:
        def matrix(*weights: Any) -> Any:
            def row(unit: Any) -> Any:
                (y,) = self._run(*weights, jnp.broadcast_to(unit, self._shape))
                return y[(0,) * len(self._lead)]

            return jax.vmap(row)(jnp.eye(self._shape[-1], dtype=gradient.dtype))

        _, pull = jax.vjp(matrix, *(env[name] for name in self._weights))
        total = gradient.sum(axis=tuple(range(len(self._lead)))) if self._lead else gradient
        return list(pull(total))


class ElementwiseForm:
    """The weight meets data element by element: the space is that of the pairs."""

    def __init__(self, space: TraceSpace, pairs: Pairs, dtype: str) -> None:
        self.space, self.vector = space
        self._pairs, self._dtype = pairs, dtype

    def data(self, env: Environment) -> Any:
        """Return one."""
        return jnp.ones(self.vector, self._dtype)

    def spread(self, pairs: Any) -> Any:
        """Return the pairs: they are the space."""
        return pairs

    def fold(self, gradient: Any, env: Environment) -> list[Any]:
        """Sum the gradients of all positions that see one element of the weight."""
        return [self._pairs.summed(gradient)]


class _JacobianForm:
    """Anything else: the derivative of each element of the result with respect to each of the weight."""

    def __init__(self, term: Term, space: TraceSpace, pairs: Pairs, run: Any, forward: bool) -> None:
        self.space, self.vector = space
        self._pairs, self._weight = pairs, term.weights[0].shape
        self._run = run
        self._names = [value.name for value in term.operation_invars]
        few = math.prod(self._weight) < math.prod(pairs.shape)
        jacobian = jax.jacfwd if few and forward else jax.jacrev
        self._jacobian = functools.partial(jacobian, holomorphic=term.y.aval.is_complex)

    def data(self, env: Environment) -> Any:
        weight, *others = (env[name] for name in self._names)

        def result(changed: Any) -> Any:
            return self._run(changed, *others)[0]

        return self._pairs.of_elements(self._jacobian(result)(weight))

    def spread(self, pairs: Any) -> Any:
        return pairs.reshape(*self._pairs.shape, *(1,) * len(self._weight))

    def fold(self, gradient: Any, env: Environment) -> list[Any]:
        return [gradient.sum(axis=tuple(range(len(self._pairs.shape))))]


def form_of(term: Term, tail: Tail, positions: tuple[int, ...], pairs: Pairs, functions: PlanFunctions) -> Form:
    """Return how a term acts in a tail, which has these pairs."""
    form, space = trace_form(term, tail), space_of(term, tail, positions)
    if term.operation is None:
        return ElementwiseForm(space, pairs, term.weights[0].dtype)
    run = functions.of_part(term.operation)
    match form:
        case "elementwise":
            return ElementwiseForm(space, pairs, term.weights[0].dtype)
        case "dot":
            return _DotForm(term, space)
        case "embedding":
            return _EmbeddingForm(term, space)
        case "conv":
            return _ConvolutionForm(term, space)
        case "product":
            return _ProductForm(term, space, run)
        case "sum":
            return _SumForm(term, space, run)
        case "jacobian":
            return _JacobianForm(term, space, pairs, run, goes_forward(term.operation))
        case _:
            assert_never(form)


def _rank(value: Value | None) -> int:
    return len(value.shape) if value is not None else 0


def _name(term: Term) -> str:
    return term.x.name if term.x is not None else ""

"""Random functions of arrays, made of all structural and elementwise operations, and of bodies of these."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from jax import lax

__all__ = ["OPERATIONS", "Choices", "evaluate"]

T = TypeVar("T")
_MAX_SIZE = 24


class Choices:
    """Draws choices when a function runs for the first time, and makes the same ones each time it is traced again.

    Parameters
    ----------
    draw : callable
        Of a hypothesis ``composite`` strategy.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self._draw = draw
        self._made: list[Any] = []
        self._next = 0

    def again(self) -> Choices:
        """Start over; the choices made so far come in the same order."""
        self._next = 0
        return self

    def _take(self, make: Callable[[], T]) -> T:
        if self._next == len(self._made):
            self._made.append(make())
        self._next += 1
        made: T = self._made[self._next - 1]
        return made

    def number(self, low: int, high: int) -> int:
        return self._take(lambda: self._draw(st.integers(low, high)))

    def one_of(self, several: Sequence[T]) -> T:
        return several[self.number(0, len(several) - 1)]

    def yes(self) -> bool:
        return self.number(0, 1) == 1

    def numbers(self, count: int, low: int, high: int) -> np.ndarray:
        return np.array([self.number(low, high) for _ in range(count)], dtype=np.int32)

    def axis(self, array: Any) -> int:
        return self.number(0, array.ndim - 1)

    def order(self, count: int) -> tuple[int, ...]:
        return self._take(lambda: tuple(self._draw(st.permutations(range(count)))))

    def inner(self) -> Choices:
        """Return choices of a function inside, which may be traced more often than what is around it."""
        return self._take(lambda: Choices(self._draw))


Operation = Callable[[Choices, Any, Any, Any], Any]
"""From choices, two arrays of floats, and a few integers that are not known beforehand."""

OPERATIONS: dict[str, Operation] = {}
FORWARD_ONLY = ("while_loop",)
REVERSE_ONLY = ("custom_vjp",)


def operation(fn: Operation) -> Operation:
    OPERATIONS[fn.__name__.strip("_")] = fn
    return fn


def fitted(array: Any, shape: tuple[int, ...]) -> Any:
    """Return an array with the elements of another, repeated or cut to fill a shape."""
    size, wanted = array.size, math.prod(shape)
    if array.shape == shape:
        return array
    flat = array.reshape(size)
    if size < wanted:
        flat = jnp.concatenate([flat] * -(-wanted // size))
    return lax.slice(flat, (0,), (wanted,)).reshape(shape)


def some_shape(pick: Choices, size: int) -> tuple[int, ...]:
    """Return a shape of at most three axes with that many elements."""
    first = pick.one_of([each for each in range(1, size + 1) if size % each == 0])
    rest = size // first
    second = pick.one_of([each for each in range(1, rest + 1) if rest % each == 0])
    return pick.one_of([(size,), (first, rest), (first, second, rest // second)])


def with_axes(array: Any) -> Any:
    return array.reshape(1) if array.ndim == 0 else array


def evaluate(pick: Choices, pool: Sequence[Any], data: Any, count: int, names: Sequence[str]) -> list[Any]:
    """Return some arrays and, behind them, the results of operations on them and on earlier results."""
    values = list(pool)
    for _ in range(count):
        name = pick.one_of(names)
        first, second = (with_axes(values[-1 - min(pick.number(0, 3), len(values) - 1)]) for _ in range(2))
        result = OPERATIONS[name](pick, first, second, data)
        if result.size == 0:
            result = jnp.zeros(6, jnp.float32)
        values.append(fitted(result, (6,)) if result.size > _MAX_SIZE else result)
    return values


_UNARY: list[Callable[[Any], Any]] = [
    jnp.sin, jnp.tanh, jax.nn.softplus, jax.nn.relu, lax.logistic, lax.erf, lax.sign, lax.floor, lax.round, lax.square,
    lambda a: lax.integer_pow(a, 3), lambda a: lax.clamp(-0.5, a, 0.5), lambda a: jnp.log1p(jnp.abs(a)),
    lambda a: lax.rsqrt(a * a + 1.0), lambda a: a.astype(jnp.int32).astype(jnp.float32) + a,
    lambda a: a.astype(jnp.bfloat16).astype(jnp.float32), lambda a: lax.reduce_precision(a, 5, 7),
    lambda a: 0.5 * a - 1.0, jnp.nan_to_num, jax.nn.gelu, jnp.sinc,
]  # fmt: skip
_BINARY: list[Callable[[Any, Any], Any]] = [
    lax.add, lax.sub, lax.mul, lax.max, lax.min, lax.atan2, jnp.logaddexp,
    lambda a, b: a / (b * b + 1.0), lambda a, b: jnp.where(a > b, a, 0.25), lambda a, b: jnp.where(a > 0.0, b, a),
    lambda a, b: lax.rem(a, b * b + 1.0), lambda a, b: lax.pow(a * a + 0.5, b), lambda a, b: lax.stop_gradient(a) * b,
    lambda a, b: (a < b).astype(jnp.float32) + a, lambda a, b: lax.select_n((a > 0).astype(jnp.int32), a, b),
    lambda a, b: lax.clamp(b - 0.1, a, b + 0.1), lambda a, b: lax.optimization_barrier((a, b))[0],
    lambda a, b: lax.complex(a, b).real, lambda a, b: jnp.hypot(a, b),
]  # fmt: skip


@operation
def unary(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return pick.one_of(_UNARY)(a)


@operation
def binary(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return pick.one_of(_BINARY)(a, fitted(b, a.shape))


@operation
def where(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    mask = pick.numbers(a.size, 0, 1).reshape(a.shape)
    return jnp.where(mask > 0, a, fitted(b, a.shape)) if pick.yes() else lax.select_n(mask, a, fitted(b, a.shape))


@operation
def iota(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    counted = lax.broadcasted_iota(jnp.int32, a.shape, pick.axis(a))
    return jnp.where(counted < pick.number(0, 3), a, pick.one_of([0.0, 1.0]) * fitted(b, a.shape))


@operation
def reshape(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return a.reshape(some_shape(pick, a.size))


@operation
def reshape_in_order(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return lax.reshape(a, some_shape(pick, a.size), dimensions=pick.order(a.ndim))


@operation
def transpose(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return lax.transpose(a, pick.order(a.ndim))


@operation
def broadcast(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    rank = a.ndim + 1
    new = pick.number(0, a.ndim)
    shape = [*a.shape[:new], pick.number(1, 2), *a.shape[new:]]
    axes = [axis for axis in range(rank) if axis != new]
    widened = [2 if size == 1 and pick.yes() else size for size in shape]
    return lax.broadcast_in_dim(a, widened, axes)


@operation
def squeeze(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return jnp.expand_dims(a, pick.axis(a)) if pick.yes() else jnp.squeeze(a)


@operation
def slice_(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    starts = [pick.number(0, size - 1) for size in a.shape]
    limits = [pick.number(start + 1, size) for start, size in zip(starts, a.shape, strict=True)]
    return lax.slice(a, starts, limits, [pick.number(1, 2) for _ in starts] if pick.yes() else None)


@operation
def rev(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return lax.rev(a, pick.order(a.ndim)[: pick.number(1, a.ndim)])


@operation
def roll(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    shift = pick.one_of([1, -2, data[0]])
    return jnp.roll(a, shift, axis=pick.one_of([None, pick.axis(a)]))


@operation
def pad(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    value = pick.one_of([0.5, b.reshape(b.size)[0]])
    return lax.pad(a, value, [(pick.number(-1, 1), pick.number(-1, 1), pick.number(0, 1)) for _ in a.shape])


@operation
def concatenate(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return lax.concatenate([a, fitted(b, a.shape), a][: pick.number(1, 3)], pick.axis(a))


@operation
def stack(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return jnp.stack([a, fitted(b, a.shape)], axis=pick.number(0, a.ndim))


@operation
def unstack(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return pick.one_of(jnp.unstack(a, axis=pick.axis(a)))


@operation
def split(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    axis = pick.axis(a)
    return pick.one_of(jnp.split(a, [pick.number(0, a.shape[axis])], axis=axis))


@operation
def tile(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return jnp.tile(a, [pick.number(1, 2) for _ in a.shape])


@operation
def repeat(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return jnp.repeat(a, pick.number(1, 2), axis=pick.axis(a))


@operation
def diagonal(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    flat = a.reshape(a.size)[:4]
    return jnp.diag(flat, pick.number(-1, 1)) if pick.yes() else jnp.diagonal(jnp.outer(flat, flat))


def _indices(pick: Choices, data: Any, size: int, count: int) -> Any:
    """Return indices: known ones, in or out of bounds, some of them counted, or unknown ones."""
    kind = pick.number(0, 4)
    if kind == 0:
        return pick.numbers(count, -size, size + 1)
    if kind == 1:
        return (jnp.arange(count) + pick.number(0, 2)) % size
    if kind == 2:
        return jnp.asarray((data * jnp.ones(count, jnp.int32)[:, None])[:, 0])
    return np.asarray([*range(size)] * count, np.int32)[:count]


@operation
def take(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    axis = pick.axis(a)
    where = _indices(pick, data, a.shape[axis], pick.number(1, 4))
    return jnp.take(a, where, axis=axis, mode=pick.one_of(["clip", "fill", "wrap"]))


@operation
def gather(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    if a.ndim == 1:
        return a[_indices(pick, data, a.shape[0], 4).reshape(2, 2)]
    rows, columns = (_indices(pick, data, a.shape[axis], 3) for axis in range(2))
    way = pick.number(0, 3)
    if way == 0:
        return a[rows, columns]
    if way == 1:
        return a[:, columns]
    if way == 2:
        return jax.vmap(lambda row, column: row[column], in_axes=(0, None))(a, columns)
    return jnp.take_along_axis(a, jnp.broadcast_to(columns[:1], a.shape[:-1])[..., None], axis=-1)


@operation
def scatter(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    way = pick.one_of(["set", "add", "multiply", "min", "max", "subtract"])
    axis = pick.number(0, 1) if a.ndim > 1 else 0
    where = _indices(pick, data, a.shape[axis], pick.number(1, 3))
    target = a.at[:, where] if axis else a.at[where]
    shape = jax.eval_shape(lambda array: array[:, where] if axis else array[where], a).shape
    options = pick.one_of([{}, {"mode": "drop"}, {"mode": "clip"}])
    updates = fitted(b, shape)
    if way in ("multiply", "min", "max"):
        # JAX has no derivative of these where indices may repeat.
        a, updates = lax.stop_gradient(a), lax.stop_gradient(updates)
        target = a.at[:, where] if axis else a.at[where]
    return getattr(target, way)(updates, **options)


@operation
def scatter_scalar(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    where = pick.one_of([1, data[0], jnp.argmax(b)])
    return a.at[where].set(pick.one_of([0.5, b.reshape(b.size)[0]]))


@operation
def dynamic_slice(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    sizes = [pick.number(1, size) for size in a.shape]
    starts = [pick.one_of([pick.number(-1, size), data[0]]) for size in a.shape]
    return lax.dynamic_slice(a, starts, sizes)


@operation
def dynamic_update_slice(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    sizes = [pick.number(1, size) for size in a.shape]
    starts = [pick.one_of([pick.number(-1, size), data[0]]) for size in a.shape]
    return lax.dynamic_update_slice(a, fitted(b, tuple(sizes)), starts)


@operation
def reduce(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    kept = pick.one_of([a, a[:1]])
    return pick.one_of([jnp.sum, jnp.max, jnp.min, jnp.prod, jnp.mean])(kept, axis=pick.axis(kept), keepdims=pick.yes())


@operation
def cumulative(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    way = pick.one_of([lax.cumsum, lax.cumprod, lax.cummax, lax.cummin, lax.cumlogsumexp])
    return way(a, axis=pick.axis(a), reverse=pick.yes())


@operation
def order(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    way = pick.number(0, 3)
    if way == 0:
        return lax.sort(a, dimension=pick.axis(a))
    if way == 1:
        return lax.sort((a, fitted(b, a.shape)), dimension=pick.axis(a), num_keys=1)[pick.number(0, 1)]
    if way == 2:
        return lax.top_k(a, pick.number(1, a.shape[-1]))[0]
    return jnp.argmax(a, axis=pick.axis(a)).astype(jnp.float32)


@operation
def dot_general(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    other = fitted(b, a.shape)
    axes = pick.order(a.ndim)
    batch = pick.number(0, a.ndim)
    summed = pick.number(batch, a.ndim)
    numbers = ((axes[batch:summed], axes[batch:summed]), (axes[:batch], axes[:batch]))
    return lax.dot_general(a, other, numbers)


@operation
def product_with_constants(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    size = a.shape[-1]
    where = jax.nn.one_hot(pick.numbers(size, 0, size - 1), size) if pick.yes() else jnp.tril(jnp.ones((size, size)))
    return a @ where


@operation
def outer(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    one, two = a.reshape(a.size)[:4], b.reshape(b.size)[:4]
    return pick.one_of([jnp.outer(one, two), one[:, None] + two, jnp.kron(one, two[:2])])


@operation
def convolution(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    image = a.reshape(1, -1, a.shape[-1]) if a.ndim > 1 else a.reshape(1, 1, -1)
    width, channels = pick.number(1, 2), image.shape[1]
    kernel = np.linspace(0.5, 1.5, channels * width, dtype=np.float32).reshape(channels, 1, width)
    return lax.conv_general_dilated(image, kernel, (1,), "SAME", feature_group_count=channels)


@operation
def window(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    sizes = [pick.number(1, min(2, size)) for size in a.shape]
    start, combine = pick.one_of([(0.0, lax.add), (-jnp.inf, lax.max)])
    return lax.reduce_window(a, start, combine, sizes, [1] * a.ndim, pick.one_of(["SAME", "VALID"]))


@operation
def fft(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return jnp.fft.fft(a, axis=pick.axis(a)).real


@operation
def normalisation(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return pick.one_of([jax.nn.softmax, lambda each: each / (1.0 + jnp.sum(each**2, axis=-1, keepdims=True))])(a)


INNER = ("unary", "binary", "rev", "where", "roll", "slice_", "take", "reshape", "transpose", "reduce", "concatenate",
         "scatter", "dynamic_slice", "iota", "stack")  # fmt: skip
OPERATIONS["slice_"] = OPERATIONS.pop("slice")


def _body(pick: Choices, shape: tuple[int, ...], *, few: bool = False) -> Callable[..., Any]:
    """Return a function of one array, some others and the integers, to an array of a shape."""
    inner, count = pick.inner(), pick.number(1, 1 if few else 2)

    def run(data: Any, *arrays: Any) -> Any:
        return fitted(evaluate(inner.again(), arrays, data, count, INNER)[-1], shape)

    return run


@operation
def call(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    body = _body(pick, a.shape)
    wrap = pick.one_of([jax.jit, jax.checkpoint, lambda fn: jax.jit(jax.jit(fn))])
    return wrap(body)(data, b, a)


@operation
def vmapped(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    return jax.vmap(_body(pick, a.shape[1:] or (1,)), in_axes=(None, 0))(data, a)


@operation
def cond(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    bodies = [_body(pick, a.shape) for _ in range(pick.number(2, 3))]
    index = pick.one_of([data[0], jnp.argmax(b), 1])
    return lax.switch(index, bodies, data, b, a)


@operation
def scan(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    body, row_shape = _body(pick, a.shape), b.shape[1:]
    out = _body(pick, row_shape or (1,), few=True)

    def step(carry: Any, row: Any) -> Any:
        row = with_axes(row)
        return body(data, row, carry), out(data, carry, row)

    carry, rows = lax.scan(step, a, b, reverse=pick.yes(), unroll=pick.number(1, 2))
    return pick.one_of([carry, rows])


@operation
def fori_loop(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    body, held = _body(pick, a.shape), pick.yes()
    return lax.fori_loop(0, pick.number(1, 3), lambda i, c: body(data + i, *([b] if held else []), c), a)


@operation
def while_loop(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    body, limit = _body(pick, a.shape), pick.one_of([3, data[0] + 1])
    watched = pick.yes()

    def proceed(state: Any) -> Any:
        return (state[0] < limit) & ((state[1].reshape(-1)[0] < 1.0) | (not watched))

    return lax.while_loop(proceed, lambda state: (state[0] + 1, body(data, b, state[1])), (0, a))[1]


@operation
def custom_jvp(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    value, slope, moved = _body(pick, a.shape), _body(pick, a.shape), pick.yes()

    @jax.custom_jvp
    def run(one: Any, two: Any, data: Any) -> Any:
        return value(data, two, one)

    @run.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        one, two, data = primals
        gain = slope(data, two, one)
        return run(one, two, data), gain * (jnp.flip(tangents[0], 0) if moved else tangents[0])

    return run(a, b, data)


@operation
def custom_vjp(pick: Choices, a: Any, b: Any, data: Any) -> Any:
    value, slope, moved = _body(pick, a.shape), _body(pick, a.shape), pick.yes()

    @jax.custom_vjp
    def run(one: Any, two: Any, data: Any) -> Any:
        return value(data, two, one)

    def backward(residuals: Any, cotangent: Any) -> Any:
        one, two, data = residuals
        first = cotangent * slope(data, two, one)
        return jnp.flip(first, 0) if moved else first, jnp.zeros_like(two), None

    run.defvjp(lambda *operands: (run(*operands), operands), backward)
    return run(a, b, data)

"""Brute force: which elements of the results of a function depend on which elements of its arguments.

Two independent ways, both run by JAX: derivatives, forward and backward, and results after a finite change of one
element. Both at several points, since a dependence may happen to vanish at one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tests.quick_compile import quick_options

__all__ = ["Seen", "seen"]

Mask = NDArray[np.bool_]
Arrays = Sequence[Any]

POINTS = 3
# An element keeps its sign and stays small, so that it stays where functions are defined and loops end.
CHANGES = (0.43, 1.31)
SAME = 1e-5


class Seen(NamedTuple):
    """For each result and each argument: a matrix with a row for each element of the result.

    Parameters
    ----------
    slopes : list of list of ndarray of bool
        Whether a derivative is not zero.
    values : list of list of ndarray of bool
        Whether a change of the element of the argument changes the element of the result.
    """

    slopes: list[list[Mask]]
    values: list[list[Mask]]

    @property
    def either(self) -> list[list[Mask]]:
        """Whether an element depends in one way or the other."""
        rows = zip(self.slopes, self.values, strict=True)
        return [[one | two for one, two in zip(*row, strict=True)] for row in rows]


def seen(
    fn: Callable[..., Arrays],
    args: Arrays,
    *,
    forward: bool = True,
    reverse: bool = True,
    changes: bool = True,
    count: int = POINTS,
    by: Sequence[int] | None = None,
) -> Seen:
    """Find out what the results of a function depend on.

    Parameters
    ----------
    fn : callable
        From arrays to a flat sequence of arrays.
    args : sequence of array
    forward, reverse : bool
        Which derivatives JAX has of the function.
    changes : bool
        Whether to change elements too.
    count : int
        At how many points.
    by : sequence of int, optional
        The numbers of the arguments to look at; all by default.
    """
    points = [[_plain(each) for each in args], *(_near(args, seed) for seed in range(1, count))]
    chosen = [*range(len(points[0]))] if by is None else [*by]
    kinds = jax.eval_shape(lambda *operands: tuple(fn(*operands)), *points[0])
    found = Seen(
        *([[np.zeros((kind.size, each.size), bool) for each in points[0]] for kind in kinds] for _ in range(2))
    )
    ways = [way for way, has in ((_Forward, forward), (_Reverse, reverse)) if has]
    sources = [number for number in chosen if _is_inexact(points[0][number])]
    if sources and any(map(_is_inexact, kinds)):
        takes = [way(fn, sources, kinds) for way in ways]
        for number, point in enumerate(points):
            takes[number % len(takes)].mark(point, found.slopes)
    if changes:
        run = _compiled(lambda *operands: [_words(each) for each in fn(*operands)])
        for point in points:
            _mark_changes(run, point, chosen, found.values)
    return found


def _compiled(fn: Callable[..., Any]) -> Callable[..., Any]:
    return jax.jit(fn, compiler_options=quick_options())


def _is_inexact(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jnp.inexact)


def _is_key(array: Any) -> bool:
    return jax.dtypes.issubdtype(jnp.result_type(array), jax.dtypes.extended)


def _plain(array: Any) -> Any:
    return array if _is_key(array) else np.asarray(array)


def _words(array: Any) -> Any:
    return jax.random.key_data(array) if _is_key(array) else array


def _near(args: Arrays, seed: int) -> list[NDArray[Any]]:
    """Return arguments near the given ones: floats are scaled, integers change places, and single ones grow."""
    rng = np.random.default_rng(seed)
    near: list[NDArray[Any]] = []
    for array in map(_plain, args):
        if _is_key(array):
            near.append(array)
        elif _is_inexact(array):
            near.append((array * rng.uniform(0.8, 1.2, array.shape)).astype(array.dtype))
        elif array.ndim:
            near.append(rng.permutation(array.reshape(-1)).reshape(array.shape))
        else:
            near.append(~array if array.dtype == bool else (array + array.dtype.type(seed)).astype(array.dtype))
    return near


def _unit(like: Any, element: int, value: complex) -> NDArray[Any]:
    unit = np.zeros(like.shape, like.dtype)
    unit.reshape(-1)[element] = value
    return unit


def _units(like: Any) -> list[complex]:
    return [1.0, 1.0j] if jnp.issubdtype(like.dtype, jnp.complexfloating) else [1.0]


def _nonzero(array: Any) -> Mask:
    # Not a number is zero times infinity, and says nothing.
    return np.asarray(jnp.nan_to_num(array) != 0).reshape(-1)


class _Forward:
    """Marks what a unit tangent of each element of each argument reaches."""

    def __init__(self, fn: Callable[..., Arrays], sources: list[int], kinds: Arrays) -> None:
        self.sources = sources
        self.targets = [number for number, each in enumerate(kinds) if _is_inexact(each)]

        def push(point: list[Any], tangents: list[Any]) -> list[Any]:
            def inner(*chosen: Any) -> list[Any]:
                operands = list(point)
                for number, each in zip(self.sources, chosen, strict=True):
                    operands[number] = each
                results = fn(*operands)
                return [results[number] for number in self.targets]

            return jax.jvp(inner, [point[number] for number in self.sources], tangents)[1]

        self.push = _compiled(push)

    def mark(self, point: Arrays, slopes: list[list[Mask]]) -> None:
        zeros = [np.zeros_like(point[number]) for number in self.sources]
        for place, number in enumerate(self.sources):
            for element in range(point[number].size):
                for value in _units(point[number]):
                    unit = _unit(point[number], element, value)
                    tangents = self.push(list(point), [*zeros[:place], unit, *zeros[place + 1 :]])
                    for target, tangent in zip(self.targets, tangents, strict=True):
                        slopes[target][number][:, element] |= _nonzero(tangent)


class _Reverse:
    """Marks what a unit cotangent of each element of each result reaches."""

    def __init__(self, fn: Callable[..., Arrays], sources: list[int], kinds: Arrays) -> None:
        self.sources = sources
        self.targets = [number for number, each in enumerate(kinds) if _is_inexact(each)]
        self.kinds = kinds

        def pull(point: list[Any], cotangents: list[Any]) -> Any:
            def inner(*chosen: Any) -> list[Any]:
                operands = list(point)
                for number, each in zip(self.sources, chosen, strict=True):
                    operands[number] = each
                results = fn(*operands)
                return [results[number] for number in self.targets]

            return jax.vjp(inner, *[point[number] for number in self.sources])[1](cotangents)

        self.pull = _compiled(pull)

    def mark(self, point: Arrays, slopes: list[list[Mask]]) -> None:
        zeros = [np.zeros(self.kinds[target].shape, self.kinds[target].dtype) for target in self.targets]
        for place, target in enumerate(self.targets):
            for element in range(self.kinds[target].size):
                for value in _units(self.kinds[target]):
                    unit = _unit(self.kinds[target], element, value)
                    cotangents = self.pull(list(point), [*zeros[:place], unit, *zeros[place + 1 :]])
                    for number, cotangent in zip(self.sources, cotangents, strict=True):
                        slopes[target][number][element] |= _nonzero(cotangent)


def _changed(array: NDArray[Any], element: int) -> list[NDArray[Any]]:
    """Return an array with one element changed, in several ways."""
    old = array.reshape(-1)[element]
    if array.dtype == bool:
        news = [not old]
    elif _is_inexact(array):
        news = [old * factor if old else factor - 1 for factor in CHANGES]
    else:
        news = [old + 1]
    changed = []
    for new in news:
        changed.append(np.array(array))
        changed[-1].reshape(-1)[element] = new
    return changed


def _mark_changes(run: Callable[..., Any], point: Arrays, by: list[int], values: list[list[Mask]]) -> None:
    base = [np.asarray(each) for each in run(*point)]
    for number in by:
        array = point[number]
        for element in range(array.size):
            for changed in _changed(array, element):
                others = run(*point[:number], changed, *point[number + 1 :])
                for row, one, two in zip(values, base, map(np.asarray, others), strict=True):
                    row[number][:, element] |= _differs(one, two, len(row[number]))


def _differs(one: NDArray[Any], two: NDArray[Any], size: int) -> Mask:
    if _is_inexact(one):
        wide = np.complex128 if np.iscomplexobj(one) else np.float64
        # Loops over all elements until the last is exact do a little more for the others.
        same = np.isclose(one.astype(wide), two.astype(wide), rtol=SAME, atol=SAME * 1e-3, equal_nan=True)
    else:
        same = one == two
    return ~same.reshape(size, same.size // max(size, 1)).all(axis=1)

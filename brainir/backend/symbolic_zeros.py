"""Functions whose derivative rules see which tangents and cotangents are zero (``symbolic_zeros=True``).

Generated modules have the same functions; their text is in :mod:`brainir.backend.prelude`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax.custom_derivatives import SymbolicZero

from ..ir.errors import NotStoredError

__all__ = ["covering_jvp", "covering_vjp", "custom_jvp", "custom_vjp"]

Function = Callable[..., tuple[Any, ...]]
Places = tuple[int, ...]
Found = TypeVar("Found")


def custom_jvp(function: Function, closed_over: int, cases: Sequence[tuple[Places, Places, Function]]) -> Function:
    """Return a function with a JVP rule for each case.

    Parameters
    ----------
    function : callable
        From operands to a tuple of results.
    closed_over : int
        How many operands at the beginning the rules do not see.
    cases : sequence of (perturbed, moved, rule)
        See :class:`~brainir.ir.ops.JvpCase`.
    """
    rules = {perturbed: (moved, rule) for perturbed, moved, rule in cases}

    def chosen(tangents: Sequence[Any]) -> tuple[Places, Function, list[Any]]:
        places = _moving(tangents)
        return *_case(rules, places), [tangents[place] for place in places]

    return _with_jvp(function, closed_over, chosen)


def _with_jvp(
    function: Function, closed_over: int, chosen: Callable[[Sequence[Any]], tuple[Places, Function, list[Any]]]
) -> Function:
    """Return a function whose tangents tell which results move, the rule, and the tangents that this takes."""

    def jvp(primals: Sequence[Any], tangents: Sequence[Any]) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        moved, rule, taken = chosen(tangents)
        values = rule(*primals, *taken)
        results = values[: len(values) - len(moved)]
        given = dict(zip(moved, values[len(results) :], strict=True))
        still = [SymbolicZero(jax.typeof(result).to_tangent_aval()) for result in results]
        return results, tuple(given.get(place, zero) for place, zero in enumerate(still))

    def call(*operands: Any) -> tuple[Any, ...]:
        run = jax.custom_jvp(_after(function, _captured(operands[:closed_over])))
        run.defjvp(jvp, symbolic_zeros=True)
        results: tuple[Any, ...] = run(*operands[closed_over:])
        return results

    return call


def custom_vjp(
    function: Function,
    closed_over: int,
    kinds: Sequence[tuple[Sequence[Places], Function, Sequence[tuple[Places, Places, Function]]]],
) -> Function:
    """Return a function with VJP rules for each case.

    JAX hands a backward rule its residuals in the pytree of the forward rule that it traced last, which need not be
    the one that ran. So all forward rules give the same pytree: a number that says which of them ran, and residuals
    for each. Where that number is an array, as in the backward pass of a loop, it chooses the backward rule at run
    time.

    Parameters
    ----------
    function : callable
        From operands to a tuple of results.
    closed_over : int
        How many operands at the beginning the rules do not see.
    kinds : sequence of (perturbed, forward rule, backward rules)
        The cases with the same rules together, see :class:`~brainir.ir.ops.VjpCase`: which operands are perturbed in
        them, and their backward rules as (asked, returned, rule).
    """
    numbers = {perturbed: number for number, (several, *_) in enumerate(kinds) for perturbed in several}
    rules = [{asked: (returned, rule) for asked, returned, rule in backward} for *_, backward in kinds]

    def call(*operands: Any) -> tuple[Any, ...]:
        first, seen = _captured(operands[:closed_over]), operands[closed_over:]
        own = [jax.typeof(operand) for operand in seen]
        run = jax.custom_vjp(_after(function, first))

        def forward(*primals: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            ran = _case(numbers, _perturbed(primals))
            values = [primal.value for primal in primals]
            count = len(jax.eval_shape(function, *first, *values))
            found = [
                rule(*values) if number == ran else jax.tree.map(_zeros, jax.eval_shape(rule, *values))
                for number, (_, rule, _) in enumerate(kinds)
            ]
            return found[ran][:count], (np.int32(ran), *(each[count:] for each in found))

        def backward(residuals: Sequence[Any], cotangents: Sequence[Any]) -> tuple[Any, ...]:
            ran, *held = residuals
            asked = _moving(cotangents)

            def given(number: int) -> dict[int, Any]:
                returned, rule = _case(rules[number], asked)
                return dict(zip(returned, rule(*held[number], *(cotangents[place] for place in asked)), strict=True))

            if len(kinds) == 1 or not isinstance(ran, jax.core.Tracer):
                found = given(int(ran) if len(kinds) > 1 else 0)
            else:
                places = sorted({place for each in rules for place in _case(each, asked)[0]})
                zeros = {place: jnp.zeros(own[place].shape, own[place].dtype) for place in places}
                branches = [lambda number=number: {**zeros, **given(number)} for number in range(len(kinds))]
                found = lax.switch(ran, branches)
            # JAX 0.8 wants the same form of every backward rule, so zeros are not None.
            still = [SymbolicZero(kind.to_tangent_aval()) for kind in own]
            return tuple(found.get(place, zero) for place, zero in enumerate(still))

        run.defvjp(forward, backward, symbolic_zeros=True)
        results: tuple[Any, ...] = run(*seen)
        return results

    return call


def covering_jvp(function: Function, closed_over: int, perturbed: Places, moved: Places, rule: Function) -> Function:
    """Return a function with one JVP rule, which takes zeros where operands are not perturbed.

    Parameters
    ----------
    function, closed_over
        As of :func:`custom_jvp`.
    perturbed, moved : tuple of int
        The operands whose tangents the rule takes, and the results that it gives tangents of.
    rule : callable
    """
    return _with_jvp(
        function, closed_over, lambda tangents: (moved, rule, _filled(tangents, _moving(tangents), perturbed))
    )


def covering_vjp(
    function: Function,
    closed_over: int,
    case: tuple[Places, Places, Places],
    forward_rule: Function,
    backward_rule: Function,
) -> Function:
    """Return a function with one pair of VJP rules, which takes zeros where cotangents of results are not asked.

    Parameters
    ----------
    function, closed_over
        As of :func:`custom_vjp`.
    case : (perturbed, asked, returned)
        See :class:`~brainir.ir.ops.VjpCase`.
    forward_rule, backward_rule : callable
    """
    perturbed, asked, returned = case

    def call(*operands: Any) -> tuple[Any, ...]:
        first, seen = _captured(operands[:closed_over]), operands[closed_over:]
        own = [jax.typeof(operand) for operand in seen]
        run = jax.custom_vjp(_after(function, first))

        def forward(*primals: Any) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
            values = [primal.value for primal in primals]
            _filled(values, _perturbed(primals), perturbed)
            count = len(jax.eval_shape(function, *first, *values))
            found = forward_rule(*values)
            return found[:count], found[count:]

        def backward(residuals: Sequence[Any], cotangents: Sequence[Any]) -> tuple[Any, ...]:
            found = backward_rule(*residuals, *_filled(cotangents, _moving(cotangents), asked))
            given = dict(zip(returned, found, strict=True))
            still = [SymbolicZero(kind.to_tangent_aval()) for kind in own]
            return tuple(given.get(place, zero) for place, zero in enumerate(still))

        run.defvjp(forward, backward, symbolic_zeros=True)
        results: tuple[Any, ...] = run(*seen)
        return results

    return call


def _filled(values: Sequence[Any], places: Sequence[int], covered: Places) -> list[Any]:
    """Return the tangents or cotangents that a rule takes, with arrays of zeros for symbolic ones."""
    if not {*places} <= {*covered}:
        raise NotStoredError(f"the derivative rule was stored for {covered} only, not for {places}")
    taken = [values[place] for place in covered]
    return [jnp.zeros(value.shape, value.dtype) if isinstance(value, SymbolicZero) else value for value in taken]


def _captured(values: Sequence[Any]) -> list[Any]:
    """Return what a function closes over; numbers as arrays, which are operands of JAX's calls of the function."""
    return [jnp.asarray(value) if isinstance(value, np.generic) else value for value in values]


def _after(function: Function, first: Sequence[Any]) -> Function:
    """Return a function of the operands after the first ones, under the same name."""

    @functools.wraps(function)
    def run(*own: Any) -> tuple[Any, ...]:
        return function(*first, *own)

    return run


def _perturbed(primals: Sequence[Any]) -> Places:
    """Return the places of the operands that are perturbed; who says so of all may mean those without tangents too."""
    return tuple(
        place
        for place, primal in enumerate(primals)
        if primal.perturbed and jnp.issubdtype(jax.typeof(primal.value).dtype, jnp.inexact)
    )


def _moving(values: Sequence[Any]) -> Places:
    """Return the places of the tangents or cotangents that are not known to be zero."""
    return tuple(
        place
        for place, value in enumerate(values)
        if not isinstance(value, SymbolicZero) and jax.typeof(value).dtype != jax.dtypes.float0
    )


def _case(rules: Mapping[Places, Found], places: Places) -> Found:
    if places not in rules:
        raise NotStoredError(
            f"the derivative rule failed for {places} when the program was lowered, with zeros elsewhere"
        )
    return rules[places]


def _zeros(spec: Any) -> Any:
    return np.zeros(spec.shape, spec.dtype)

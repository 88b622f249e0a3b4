"""Functions whose derivative rules see which tangents and cotangents are zero (``symbolic_zeros=True``)."""

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp

from ...ir.errors import NotStoredError


def _moving(values):
    """Return the places of the tangents or cotangents that are not known to be zero."""
    zero, none = jax.custom_derivatives.SymbolicZero, jax.dtypes.float0
    moving = [not isinstance(value, zero) and jax.typeof(value).dtype != none for value in values]
    return tuple(place for place, moves in enumerate(moving) if moves)


def _perturbed(primals):
    """Return the places of the operands that are perturbed; who says so of all may mean those without tangents too."""
    moving = [primal.perturbed and jnp.issubdtype(jax.typeof(primal.value).dtype, jnp.inexact) for primal in primals]
    return tuple(place for place, moves in enumerate(moving) if moves)


def _case(rules, places):
    """Return the rule for these places; the others have symbolic zeros."""
    if places not in rules:
        raise NotStoredError(
            f"the derivative rule failed for {places} when the program was lowered, with zeros elsewhere"
        )
    return rules[places]


def _filled(values, places, covered):
    """Return the tangents or cotangents that a rule takes, with arrays of zeros for symbolic ones."""
    if not {*places} <= {*covered}:
        raise NotStoredError(f"the derivative rule was stored for {covered} only, not for {places}")
    zero = jax.custom_derivatives.SymbolicZero
    taken = [values[place] for place in covered]
    return [jnp.zeros(value.shape, value.dtype) if isinstance(value, zero) else value for value in taken]


def _with_zeros(found, kinds):
    """Return tangents or cotangents of values of these types: what was found by place, and symbolic zeros."""
    zeros = [jax.custom_derivatives.SymbolicZero(kind.to_tangent_aval()) for kind in kinds]
    return tuple(found.get(place, zero) for place, zero in enumerate(zeros))


def _captured(values):
    """Return what a function closes over; numbers as arrays, which are operands of JAX's calls of the function."""
    return [jnp.asarray(value) if isinstance(value, np.generic) else value for value in values]


def _after(function, first):
    """Return a function of the operands after the first ones, under the same name."""

    def run(*own):
        return function(*first, *own)

    run.__name__ = run.__qualname__ = function.__name__
    return run


def _with_jvp(function, closed_over, chosen):
    """Return a function whose tangents tell which results move, the rule, and the tangents that this takes."""

    def jvp(primals, tangents):
        moved, rule, taken = chosen(tangents)
        values = rule(*primals, *taken)
        results = values[: len(values) - len(moved)]
        return results, _with_zeros(dict(zip(moved, values[len(results) :], strict=True)), map(jax.typeof, results))

    def call(*operands):
        run = jax.custom_jvp(_after(function, _captured(operands[:closed_over])))
        run.defjvp(jvp, symbolic_zeros=True)
        return run(*operands[closed_over:])

    return call


def _custom_jvp(function, closed_over, cases):
    """Return a function with a JVP rule for each case (perturbed operands, moved results, rule)."""
    rules = {perturbed: (moved, rule) for perturbed, moved, rule in cases}

    def chosen(tangents):
        places = _moving(tangents)
        return *_case(rules, places), [tangents[place] for place in places]

    return _with_jvp(function, closed_over, chosen)


def _covering_jvp(function, closed_over, perturbed, moved, rule):
    """Return a function with one JVP rule, which takes zeros where operands are not perturbed."""
    return _with_jvp(
        function, closed_over, lambda tangents: (moved, rule, _filled(tangents, _moving(tangents), perturbed))
    )


def _custom_vjp(function, closed_over, kinds):
    """Return a function with VJP rules for each case.

    JAX hands a backward rule its residuals in the pytree of the forward rule that it traced last, which need not be
    the one that ran. So all forward rules give the same pytree: a number that says which of them ran, and residuals for
    each. Where that number is an array, as in the backward pass of a loop, it chooses the backward rule at run time.
    The cases with the same rules are together in `kinds`: which operands are perturbed in them, the forward rule, and
    the backward rules, each with the results that are asked for and the operands that get a cotangent.
    """
    numbers = {perturbed: number for number, (several, *_) in enumerate(kinds) for perturbed in several}
    rules = [{asked: (returned, rule) for asked, returned, rule in backward} for *_, backward in kinds]

    def call(*operands):
        first, seen = _captured(operands[:closed_over]), operands[closed_over:]
        types = [jax.typeof(operand) for operand in seen]
        run = jax.custom_vjp(_after(function, first))

        def forward(*primals):
            ran = _case(numbers, _perturbed(primals))
            values = [primal.value for primal in primals]
            count = len(jax.eval_shape(function, *first, *values))
            shapes = [jax.eval_shape(rule, *values)[count:] for _, rule, _ in kinds]
            held = jax.tree.map(lambda kind: np.zeros(kind.shape, kind.dtype), shapes)
            found = kinds[ran][1](*values)
            held[ran] = found[count:]
            return found[:count], (np.int32(ran), *held)

        def backward(residuals, cotangents):
            ran, *held = residuals
            asked = _moving(cotangents)

            def given(number):
                returned, rule = _case(rules[number], asked)
                return dict(zip(returned, rule(*held[number], *(cotangents[place] for place in asked)), strict=True))

            if len(kinds) == 1 or not isinstance(ran, jax.core.Tracer):
                found = given(int(ran) if len(kinds) > 1 else 0)
            else:
                places = sorted({place for each in rules for place in _case(each, asked)[0]})
                zeros = {place: jnp.zeros(types[place].shape, types[place].dtype) for place in places}
                branches = [lambda number=number: {**zeros, **given(number)} for number in range(len(kinds))]
                found = lax.switch(ran, branches)
            # JAX 0.8 wants the same form of every backward rule, so zeros are not None.
            return _with_zeros(found, types)

        run.defvjp(forward, backward, symbolic_zeros=True)
        return run(*seen)

    return call


def _covering_vjp(function, closed_over, case, forward_rule, backward_rule):
    """Return a function with one pair of VJP rules, which takes zeros where cotangents of results are not asked."""
    perturbed, asked, returned = case

    def call(*operands):
        first, seen = _captured(operands[:closed_over]), operands[closed_over:]
        types = [jax.typeof(operand) for operand in seen]
        run = jax.custom_vjp(_after(function, first))

        def forward(*primals):
            values = [primal.value for primal in primals]
            _filled(values, _perturbed(primals), perturbed)
            count = len(jax.eval_shape(function, *first, *values))
            found = forward_rule(*values)
            return found[:count], found[count:]

        def backward(residuals, cotangents):
            found = backward_rule(*residuals, *_filled(cotangents, _moving(cotangents), asked))
            return _with_zeros(dict(zip(returned, found, strict=True)), types)

        run.defvjp(forward, backward, symbolic_zeros=True)
        return run(*seen)

    return call

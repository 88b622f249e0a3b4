"""Functions with derivative rules in a generated module."""

from __future__ import annotations

__all__ = ["DERIVATIVES"]

DERIVATIVES = {
    "_moving": '''
def _moving(values):
    """Return the places of the tangents or cotangents that are not known to be zero."""
    zero, none = jax.custom_derivatives.SymbolicZero, jax.dtypes.float0
    moving = [not isinstance(value, zero) and jax.typeof(value).dtype != none for value in values]
    return tuple(place for place, moves in enumerate(moving) if moves)
''',
    "_perturbed": '''
def _perturbed(primals):
    """Return the places of the operands that are perturbed; who says so of all may mean those without tangents too."""
    kinds = [jax.typeof(primal.value).dtype for primal in primals]
    moving = [jnp.issubdtype(kind, jnp.inexact) and primal.perturbed for kind, primal in zip(kinds, primals)]
    return tuple(place for place, moves in enumerate(moving) if moves)
''',
    "_case": '''
def _case(rules, places):
    """Return the rule for these places; the others have symbolic zeros."""
    if places not in rules:
        raise TypeError(f"the derivative rule failed for {places} when the program was lowered, with zeros elsewhere")
    return rules[places]
''',
    "_captured": '''
def _captured(values):
    """Return what a function closes over; numbers as arrays, which are operands of JAX's calls of the function."""
    return [jnp.asarray(value) if isinstance(value, np.generic) else value for value in values]
''',
    "_custom_jvp": '''
def _custom_jvp(function, closed_over, cases):
    """Return a function with a JVP rule for each case (perturbed operands, moved results, rule)."""
    rules = {perturbed: (moved, rule) for perturbed, moved, rule in cases}

    def jvp(primals, tangents):
        places = _moving(tangents)
        moved, rule = _case(rules, places)
        values = rule(*primals, *(tangents[place] for place in places))
        results = values[: len(values) - len(moved)]
        given = dict(zip(moved, values[len(results) :]))
        still = [jax.custom_derivatives.SymbolicZero(jax.typeof(result).to_tangent_aval()) for result in results]
        return results, tuple(given.get(place, zero) for place, zero in enumerate(still))

    def call(*operands):
        first = _captured(operands[:closed_over])
        run = jax.custom_jvp(lambda *own: function(*first, *own))
        run.defjvp(jvp, symbolic_zeros=True)
        return run(*operands[closed_over:])

    return call
''',
    "_custom_vjp": '''
def _custom_vjp(function, closed_over, kinds):
    """Return a function with VJP rules for each case.

    JAX hands a backward rule its residuals in the pytree of the forward rule that it traced last. So all forward
    rules give the same: a number that says which of them ran, and residuals for each.
    """
    numbers = {perturbed: number for number, (several, *_) in enumerate(kinds) for perturbed in several}
    rules = [{asked: (returned, rule) for asked, returned, rule in backward} for *_, backward in kinds]

    def call(*operands):
        first, seen = _captured(operands[:closed_over]), operands[closed_over:]
        types = [jax.typeof(operand) for operand in seen]
        run = jax.custom_vjp(lambda *own: function(*first, *own))

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
                return dict(zip(returned, rule(*held[number], *(cotangents[place] for place in asked))))

            if len(kinds) == 1 or not isinstance(ran, jax.core.Tracer):
                found = given(int(ran) if len(kinds) > 1 else 0)
            else:
                places = sorted({place for each in rules for place in _case(each, asked)[0]})
                zeros = {place: jnp.zeros(types[place].shape, types[place].dtype) for place in places}
                found = lax.switch(
                    ran, [lambda number=number: {**zeros, **given(number)} for number in range(len(kinds))]
                )
            still = [jax.custom_derivatives.SymbolicZero(kind.to_tangent_aval()) for kind in types]
            return tuple(found.get(place, zero) for place, zero in enumerate(still))

        run.defvjp(forward, backward, symbolic_zeros=True)
        return run(*seen)

    return call
''',
    "_filled": '''
def _filled(values, places, covered):
    """Return the tangents or cotangents that a rule takes, with arrays of zeros for symbolic ones."""
    if not {*places} <= {*covered}:
        raise TypeError(f"the derivative rule was stored for {covered} only, not for {places}")
    zero = jax.custom_derivatives.SymbolicZero
    taken = [values[place] for place in covered]
    return [jnp.zeros(value.shape, value.dtype) if isinstance(value, zero) else value for value in taken]
''',
    "_covering_jvp": '''
def _covering_jvp(function, closed_over, perturbed, moved, rule):
    """Return a function with one JVP rule, which takes zeros where operands are not perturbed."""

    def jvp(primals, tangents):
        values = rule(*primals, *_filled(tangents, _moving(tangents), perturbed))
        results = values[: len(values) - len(moved)]
        given = dict(zip(moved, values[len(results) :]))
        still = [jax.custom_derivatives.SymbolicZero(jax.typeof(result).to_tangent_aval()) for result in results]
        return results, tuple(given.get(place, zero) for place, zero in enumerate(still))

    def call(*operands):
        first = _captured(operands[:closed_over])
        run = jax.custom_jvp(lambda *own: function(*first, *own))
        run.defjvp(jvp, symbolic_zeros=True)
        return run(*operands[closed_over:])

    return call
''',
    "_covering_vjp": '''
def _covering_vjp(function, closed_over, case, forward_rule, backward_rule):
    """Return a function with one pair of VJP rules, which takes zeros where cotangents of results are not asked."""
    perturbed, asked, returned = case

    def call(*operands):
        first, seen = _captured(operands[:closed_over]), operands[closed_over:]
        types = [jax.typeof(operand) for operand in seen]
        run = jax.custom_vjp(lambda *own: function(*first, *own))

        def forward(*primals):
            values = [primal.value for primal in primals]
            _filled(values, _perturbed(primals), perturbed)
            count = len(jax.eval_shape(function, *first, *values))
            found = forward_rule(*values)
            return found[:count], found[count:]

        def backward(residuals, cotangents):
            found = backward_rule(*residuals, *_filled(cotangents, _moving(cotangents), asked))
            given = dict(zip(returned, found))
            still = [jax.custom_derivatives.SymbolicZero(kind.to_tangent_aval()) for kind in types]
            return tuple(given.get(place, zero) for place, zero in enumerate(still))

        run.defvjp(forward, backward, symbolic_zeros=True)
        return run(*seen)

    return call
''',
}
"""A callable has them in :mod:`..symbolic_zeros`."""

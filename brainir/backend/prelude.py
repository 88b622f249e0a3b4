"""Code that generated modules begin with, as far as they need it."""

from __future__ import annotations

from . import unvmap
from .solves import WITH_TRANSPOSE

__all__ = ["PRELUDE"]

PRELUDE = {
    "_solve_with_transpose": WITH_TRANSPOSE,
    "_leaf": '''
def _leaf(value, kind, weak_type=False):
    """Return an argument as an array, checked against the type that the program was made for."""
    is_number = isinstance(value, (bool, int, float, complex)) and not weak_type
    array = jnp.asarray(value, dtype=kind[: kind.index("[")] if is_number else None)
    found = f"{array.dtype}{[*array.shape]}"
    if found != kind:
        raise TypeError(f"expected {kind}, got {found}")
    return array
''',
    "_expect": '''
def _expect(value, kind, size):
    """Refuse a container of another kind or size than the program was made for."""
    if not isinstance(value, kind) or len(value) != size:
        raise TypeError(f"expected a {kind.__name__} of {size} items, got {value!r:.200}")
''',
    "_parts": '''
def _parts(value, kind, size):
    """Return the parts of a container that JAX can take apart, or of a tuple in its place."""
    found = f"{type(value).__module__}:{type(value).__qualname__}"
    parts = jax.tree.leaves(value, is_leaf=lambda part: part is not value)
    if found not in (kind, "builtins:tuple") or len(parts) != size:
        raise TypeError(f"expected a {kind} of {size} parts, got {value!r:.200}")
    return parts
''',
    "_like": '''
def _like(value, parts):
    """Return a container that is like another one in all but its parts."""
    structure = jax.tree.structure(value, is_leaf=lambda part: part is not value)
    return jax.tree.unflatten(structure, parts)
''',
    "_array": '''
def _array(shape, dtype, text):
    """Return an array from the base64 text of its bytes."""
    return jnp.asarray(np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape))
''',
    "_stored": '''
def _stored(shape, dtype, name):
    """Return an array from the file beside this module."""
    return jnp.asarray(np.frombuffer(WEIGHTS[name].tobytes(), dtype=dtype).reshape(shape))
''',
    "_split": '''
def _split(values, index):
    """Return the first values and the others, such as the carry and the outputs of a step."""
    return values[:index], values[index:]
''',
    "_platform_index": '''
def _platform_index(platforms):
    """Return the place of the platform that runs this; None, the last, stands for all others."""
    places = {name: place for place, names in enumerate(platforms) for name in names or ("default",)}
    return lax.platform_dependent(**{name: lambda place=place: jnp.int32(place) for name, place in places.items()})
''',
    "_switch": '''
def _switch(index, branches, *operands):
    """Run the branch of an index that is in range; lax.switch would clamp it first."""
    traced = tuple(jax.make_jaxpr(branch)(*operands) for branch in branches)
    return lax.cond_p.bind(index, *operands, branches=traced)
''',
    "_scan": '''
def _scan(body, consts, init, xs, **options):
    """Run lax.scan with constants of which some are equal; alone, it would add up their gradients in one sum."""
    return lax.scan(lambda carry, xs: body(consts, carry, xs), init, xs, **options)
''',
    "_while": '''
def _while(proceed, advance, batch):
    """Loop until no member of a batch proceeds; those that do not, stay as they are."""

    def step(batch):
        moves = proceed(batch)

        def advanced(new, old):
            axes = range(moves.ndim)
            return lax.select(lax.broadcast_in_dim(moves, new.shape, axes), new, old)

        return tuple(map(advanced, advance(batch), batch))

    return lax.while_loop(lambda batch: proceed(batch).any(), step, batch)
''',
    "_moving": '''
def _moving(values):
    """Return the places of the tangents or cotangents that are not known to be zero."""
    zero, none = jax.custom_derivatives.SymbolicZero, jax.dtypes.float0
    moving = [not isinstance(value, zero) and jax.typeof(value).dtype != none for value in values]
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
            ran = _case(numbers, tuple(place for place, primal in enumerate(primals) if primal.perturbed))
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
            _filled(values, [place for place, primal in enumerate(primals) if primal.perturbed], perturbed)
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
    "_empty2": '''
def _empty2(dtype, memory_space):
    """Return a number that nothing sets, one for all under jax.vmap."""
    return lax.empty.__globals__["empty2_p"].bind(dtype=dtype, memory_space=memory_space)
''',
    "_traced": '''
def _traced(name, function):
    """Return what binds a primitive without a public name that a function of a matrix traces to."""

    def equations(jaxpr):
        for equation in jaxpr.eqns:
            inner = [held.jaxpr for held in equation.params.values() if hasattr(held, "jaxpr")]
            yield from (equation, *(each for part in inner for each in equations(part)))

    traced = jax.make_jaxpr(function)(np.eye(2, dtype=np.float32))
    return next(each.primitive for each in equations(traced.jaxpr) if each.primitive.name == name).bind
''',
    "_geqrf": '''
def _geqrf(matrix):
    """Return a QR decomposition as LAPACK gives it."""
    return _traced("geqrf", lambda matrix: jnp.linalg.qr(matrix, mode="raw"))(matrix)
''',
    "_geqp3": '''
def _geqp3(matrix, pivots, use_magma):
    """Return a QR decomposition with pivots as LAPACK gives it."""
    bind = _traced("geqp3", lambda matrix: jax.scipy.linalg.qr_multiply(matrix, matrix, pivoting=True))
    return bind(matrix, pivots, use_magma=use_magma)
''',
    "_composite": '''
def _composite(function, name, version):
    """Return a function as a composite; its keywords are the attributes, which only the compiler sees."""
    return lax.composite(lambda *operands, **_: function(*operands), name=name, version=version)
''',
    "_on_mesh": '''
def _on_mesh(function, mesh):
    """Return a function that runs where this abstract mesh is around it."""

    def run(*operands):
        with jax.sharding.use_abstract_mesh(mesh):
            return function(*operands)

    return run
''',
    "_with_batching": '''
def _with_batching(function, rule):
    """Return a function that is batched by a rule of its own."""
    made = jax.custom_batching.custom_vmap(function)
    made.def_vmap(rule)
    return made
''',
    "_batching_rule": '''
def _batching_rule(name):
    """Return a batching rule that the caller may put into BATCHING_RULES; it gives its results as a tuple."""

    def rule(size, batched, *operands):
        if BATCHING_RULES.get(name) is None:
            raise NotImplementedError(f"BATCHING_RULES has no batching rule {name!r} of this custom_vmap function")
        results, are_batched = BATCHING_RULES[name](size, batched, *operands)
        return tuple(jax.tree.leaves(results)), tuple(jax.tree.leaves(are_batched))

    rule.__name__ = name
    return rule
''',
    **unvmap.WRITTEN,
    "_iota_2x32": '''
def _iota_2x32(shape):
    """Return the place of each element in row-major order, as words of 32 bits: the high ones, then the low ones."""
    places = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return jnp.zeros(shape, jnp.uint32), places
''',
    "_polynomial": '''
def _polynomial(x, *coefficients, unroll=8):
    """Evaluate a polynomial by Horner's rule, in a loop if it is long; its derivative is a polynomial again."""

    @jax.custom_jvp
    def value(x, *coefficients):
        shape = jnp.broadcast_shapes(x.shape, *(each.shape for each in coefficients))
        if unroll < len(coefficients):
            several = jnp.stack(jnp.broadcast_arrays(*reversed(coefficients)))
            zero = lax.full_like(x, 0, shape=shape)
            return lax.scan(lambda total, each: (total * x + each, None), zero, several, unroll=unroll)[0]
        *rest, total = coefficients or (lax.full_like(x, 0),)
        for each in reversed(rest):
            total = total * x + each
        return jnp.broadcast_to(total, shape)

    def is_zero(tangent):
        return isinstance(tangent, jax.custom_derivatives.SymbolicZero)

    def rule(primals, tangents):
        (x, *held), (dx, *moved) = primals, tangents
        along = []
        if not is_zero(dx):
            slopes = [lax.full_like(each, power) * each for power, each in enumerate(held)][1:]
            along.append(dx * _polynomial(x, *slopes, unroll=unroll))
        if not all(map(is_zero, moved)):
            full = [lax.full_like(of, 0) if is_zero(by) else by for of, by in zip(held, moved)]
            along.append(_polynomial(x, *full, unroll=len(full)))
        result = value(*primals)
        return result, jnp.broadcast_to(sum(along[1:], along[0]), result.shape)

    value.defjvp(rule, symbolic_zeros=True)
    return value(*map(jnp.asarray, (x, *coefficients)))
''',
    "_mesh": '''
def _mesh(names, sizes, types):
    """Return the mesh around the call if it has this shape, else one of the first devices."""
    around = jax.sharding.get_abstract_mesh()
    if (tuple(around.axis_names), tuple(around.axis_sizes)) == (names, sizes):
        return around
    kinds = tuple(getattr(jax.sharding.AxisType, kind.capitalize()) for kind in types)
    devices = np.array(jax.devices()[: math.prod(sizes)]).reshape(sizes)
    return jax.sharding.Mesh(devices, names, axis_types=kinds)
''',
    "_abstract_mesh": '''
def _abstract_mesh(names, sizes, types):
    """Return that mesh without its devices, and with axes of these kinds, whatever they are around the call."""
    if not names:
        return jax.sharding.AbstractMesh((), ())
    kinds = tuple(getattr(jax.sharding.AxisType, kind.capitalize()) for kind in types)
    device = _mesh(names, sizes, types).abstract_mesh.abstract_device
    return jax.sharding.AbstractMesh(sizes, names, axis_types=kinds, abstract_device=device)
''',
    "_external": '''
def _external(name):
    """Return a function that the caller has put into EXTERNALS; its result is flat."""
    missing = [name for name, function in EXTERNALS.items() if function is None]
    if missing:
        raise KeyError(f"put functions into EXTERNALS for {missing}")
    return lambda *args, **kwargs: tuple(jax.tree.leaves(EXTERNALS[name](*args, **kwargs)))
''',
    "_primitive": '''
def _primitive(name):
    """Return an operation that the caller has put into PRIMITIVES; it returns a tuple."""
    missing = [name for name, function in PRIMITIVES.items() if function is None]
    if missing:
        raise KeyError(f"put functions into PRIMITIVES for {missing}")

    def primitive(*operands, **attributes):
        results = PRIMITIVES[name](*operands, **attributes)
        return tuple(results) if isinstance(results, (tuple, list)) else (results,)

    return primitive
''',
    "_unit": '''
def _unit(text):
    """Return a unit as brainunit has it; nothing is imported, who has quantities has loaded it."""
    saiunit = sys.modules["saiunit"]
    try:
        unit = saiunit.parse_unit(text)
    except ValueError:
        unit = None
    if unit is not None and ((*unit.dim._dims,), unit.scale, unit.base, unit.factor) == UNITS[text]:
        return unit
    dimension, scale, base, factor = UNITS[text]
    dimension = saiunit.get_or_create_dimension([*dimension])
    return saiunit.Unit(dim=dimension, scale=scale, base=base, factor=factor)
''',
    "_mantissa": '''
def _mantissa(value, kind, text, quantities, weak_type=False):
    """Return a quantity, or a number if the caller has no quantities, as an array in this unit."""
    if hasattr(value, "mantissa"):
        if not quantities:
            raise TypeError("expected a number like the first value with a unit, got a quantity")
        unit = _unit(text)
        value = value.mantissa if value.unit == unit else value.to_decimal(unit)
    elif quantities and (any(UNITS[text][0]) or UNITS[text][1:] != (0.0, 10.0, 1.0)):
        raise TypeError(f"expected a quantity in {text} like the first value with a unit")
    return _leaf(value, kind, weak_type)
''',
    "_quantity": '''
def _quantity(array, text, quantities):
    """Return a result in the form in which the arguments came."""
    return sys.modules["saiunit"].Quantity(array, unit=_unit(text)) if quantities else array
''',
}
"""Small functions by name; one can need those above it."""

"""Operations that JAX has no public function for."""

import functools
import math

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import batching, mlir


def _solve_with_transpose(functions, constants, vector):
    """Run lax.custom_linear_solve with a product of the transpose that is given; alone, it would derive that."""
    solve = jax.make_jaxpr(lambda x: lax.custom_linear_solve(lambda y: y, x, lambda _, y: y))(jnp.float32(0)).eqns[0]
    traced = [jax.make_jaxpr(function)(*own, *vector) for function, own in zip(functions, constants, strict=True)]
    jaxprs = type(solve.params["jaxprs"])(*traced)
    lengths = type(solve.params["const_lengths"])(*map(len, constants))
    operands = [operand for own in constants for operand in own]
    return solve.primitive.bind(*operands, *vector, const_lengths=lengths, jaxprs=jaxprs)


def _empty2(dtype, memory_space):
    """Return a number that nothing sets, one for all under jax.vmap; JAX 0.8 has it beside lax.empty only."""
    return lax.empty.__globals__["empty2_p"].bind(dtype=dtype, memory_space=memory_space)


def _raw(matrix):
    return jnp.linalg.qr(matrix, mode="raw")


def _pivoted(matrix):
    return jax.scipy.linalg.qr_multiply(matrix, matrix, pivoting=True)


@functools.cache
def _traced(name, function):
    """Return what binds a primitive without a public name that a function of a matrix traces to."""

    def equations(jaxpr):
        for equation in jaxpr.eqns:
            inner = [held.jaxpr for held in equation.params.values() if hasattr(held, "jaxpr")]
            yield from (equation, *(each for part in inner for each in equations(part)))

    traced = jax.make_jaxpr(function)(np.eye(2, dtype=np.float32))
    return next(each.primitive for each in equations(traced.jaxpr) if each.primitive.name == name).bind


def _geqrf(matrix):
    """Return a QR decomposition as LAPACK gives it."""
    return _traced("geqrf", _raw)(matrix)


def _geqp3(matrix, pivots, use_magma):
    """Return a QR decomposition with pivots as LAPACK gives it."""
    return _traced("geqp3", _pivoted)(matrix, pivots, use_magma=use_magma)


def _unvmapped(name, whole, of_batch=None):
    """Return a primitive that gives one result, for a batch that of all examples as one array if not `of_batch`."""

    def batched(operands, axes):
        return (of_batch or primitive.bind)(*operands), None

    primitive = Primitive(name)
    primitive.def_impl(whole)
    primitive.def_abstract_eval(lambda x: jax.core.ShapedArray((), jax.eval_shape(whole, x).dtype))
    batching.primitive_batchers[primitive] = batched
    mlir.register_lowering(primitive, mlir.lower_fun(whole, multiple_results=False))
    return primitive.bind


_is_vmapped = _unvmapped("is_vmapped", lambda x: jnp.bool_(False), lambda x: jnp.bool_(True))
_unvmap_all = _unvmapped("unvmap_all", jnp.all)
_unvmap_any = _unvmapped("unvmap_any", jnp.any)
_unvmap_max = _unvmapped("unvmap_max", jnp.max)


def _iota_2x32(shape):
    """Return the place of each element in row-major order, as words of 32 bits: the high ones, then the low ones."""
    places = lax.iota(jnp.uint32, math.prod(shape)).reshape(shape)
    return jnp.zeros(shape, jnp.uint32), places


def _horner(x, coefficients, unroll):
    """Evaluate a polynomial; one of more coefficients than `unroll` in a loop."""
    shape = jnp.broadcast_shapes(x.shape, *(each.shape for each in coefficients))
    if unroll < len(coefficients):
        several = jnp.stack(jnp.broadcast_arrays(*reversed(coefficients)))
        zero = lax.full_like(x, 0, shape=shape)
        return lax.scan(lambda total, each: (lax.add(lax.mul(total, x), each), None), zero, several, unroll=unroll)[0]
    *rest, total = coefficients or (lax.full_like(x, 0),)
    for each in reversed(rest):
        total = lax.add(lax.mul(total, x), each)
    return jnp.broadcast_to(total, shape)


def _polynomial(x, *coefficients, unroll=8):
    """Evaluate a polynomial by Horner's rule, the lowest power first; its derivative is a polynomial again."""

    @jax.custom_jvp
    def value(x, *coefficients):
        return _horner(x, coefficients, unroll)

    def is_zero(tangent):
        return isinstance(tangent, jax.custom_derivatives.SymbolicZero)

    def rule(primals, tangents):
        (x, *held), (dx, *moved) = primals, tangents
        along = []
        if not is_zero(dx):
            slopes = [lax.mul(lax.full_like(each, power), each) for power, each in enumerate(held)][1:]
            along.append(lax.mul(dx, _polynomial(x, *slopes, unroll=unroll)))
        if not all(map(is_zero, moved)):
            full = [lax.full_like(of, 0) if is_zero(by) else by for of, by in zip(held, moved, strict=True)]
            # JAX writes out the transpose of a long one, too, and before 0.10 it has none of such a loop.
            along.append(_polynomial(x, *full, unroll=len(full)))
        result = value(*primals)
        return result, jnp.broadcast_to(along[0] if len(along) == 1 else lax.add(*along), result.shape)

    value.defjvp(rule, symbolic_zeros=True)
    return value(*map(jnp.asarray, (x, *coefficients)))

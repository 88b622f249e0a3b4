"""One small program or more for every operation of the IR."""

from collections.abc import Callable
from typing import Any

import jax
import jax.extend.core.primitives as primitives
import jax.extend.random
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.case import Case
from tests.compare import JAX
from tests.control_programs import CONTROL_PROGRAMS
from tests.derivative_programs import DERIVATIVE_PROGRAMS

SINCE = {
    "scaled_dot": (0, 10),
    "stack": (0, 10),
    "tile": (0, 9),
    "unstack": (0, 10),
    "geqp3": (0, 10),
    "log2": (0, 12),
    "mul_out_dtype": (0, 10),
    "mulhi": (0, 10),
    "one_minus_square": (0, 12),
    "ormqr": (0, 10),
    "polynomial": (0, 12),
}
"""The JAX version from which on an operation is a primitive; before, JAX writes it with others."""


def _normal(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng((7, *shape)).normal(size=shape), jnp.float32)


X, Y, M = _normal(4), _normal(4)[::-1] * 0.3, _normal(3, 4)
UNIT = jnp.array([-0.7, -0.1, 0.3, 0.9])  # in the domain of acos and atanh
ABOVE = jnp.array([0.2, 0.9, 1.7, 2.6])
Z = lax.complex(X, Y)
N, J = jnp.array([-5, 0, -(2**31), 1000]), jnp.array([1, 2, 0, 3])
OUTSIDE = jnp.array([1, 1, 0, 7])  # twice the same place, and one that there is not
P = jnp.array([True, False, True, True])
S = jnp.eye(4) * 5 + _normal(4, 4)  # far from singular
IMAGE, KERNEL = _normal(2, 4, 6, 5), _normal(6, 2, 3, 2)


def _mapped(*functions: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *operands: [function(*operands) for function in functions]


def _without_slope(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function of arrays that JAX cannot differentiate as one with the derivative zero."""
    return lambda *operands: function(*map(lax.stop_gradient, operands))


def _at(way: str, **options: bool) -> Callable[..., Any]:
    return lambda x, indices, updates: getattr(x.at[indices], way)(updates, **options)


def _symmetric(m: Any) -> Any:
    return m @ m.T + jnp.eye(4)


def _scaled(x: Any, y: Any, scale: Any, other: Any) -> Any:
    return (
        lax.scaled_dot(x, y, lhs_scale=scale, rhs_scale=other, preferred_element_type=jnp.float32),
        lax.scaled_dot(x, y, lhs_scale=lax.stage(scale)),
    )


BLOCKS = (
    _normal(3, 8).astype(jnp.float8_e5m2),
    _normal(8, 2).astype(jnp.float8_e4m3fn),
    jnp.exp2(jnp.round(_normal(3, 4))).astype(jnp.float8_e8m0fnu),
    jnp.exp2(jnp.round(_normal(2, 2))).astype(jnp.float8_e8m0fnu),
)
"""Operands of few bits, and a scale for blocks of two and of four elements."""


def _words() -> Any:
    with jax.threefry_partitionable(True):
        return jax.extend.random.threefry_prng_impl.random_bits(jnp.arange(2, dtype=jnp.uint32), 32, (3, 5))


def _pool(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 1), "SAME")


def _key_words(seed: Any, words: Any) -> Any:
    key = jax.random.key(seed)
    wrapped = jax.random.wrap_key_data(words)
    return (
        key,
        jax.random.key_data(jax.random.fold_in(wrapped, 3)),
        jax.random.split(key, (2, 3))[:, 1],
        jax.random.bits(key, (5,), jnp.uint16),
        jax.random.normal(wrapped, (3,)),
    )


@jax.custom_jvp
def _spike(v: Any, width: float) -> Any:
    return (v > 0).astype(v.dtype)


@_spike.defjvp
def _spike_jvp(primals: Any, tangents: Any) -> Any:
    v, width = primals
    return _spike(v, width), jnp.maximum(0.0, 1.0 - jnp.abs(v) * width) * tangents[0]


@jax.custom_vjp
def _clip_gradient(x: Any, limit: Any) -> Any:
    return x * x


_clip_gradient.defvjp(
    lambda x, limit: (x * x, (x, limit)),
    lambda residuals, g: (jnp.clip(2 * residuals[0] * g, -residuals[1], residuals[1]), jnp.zeros_like(residuals[1])),
)


@jax.jit
def _shared(x: Any) -> Any:
    return jnp.tanh(x) * 2.0


def _rnn(w: Any, xs: Any) -> Any:
    def advance(h: Any, x: Any) -> Any:
        h = jnp.tanh(h @ w + x)
        return h, (h[0], x)

    return lax.scan(advance, xs[0], xs, reverse=True, unroll=2)


PROGRAMS: dict[str, Case] = {
    "elementary functions": Case(
        _mapped(
            lax.abs,
            lax.ceil,
            lax.cos,
            lax.cosh,
            lax.erf,
            lax.erfc,
            lax.exp,
            lax.exp2,
            lax.expm1,
            lax.floor,
            lax.is_finite,
            lax.logistic,
            lax.neg,
            lax.asin,
            lax.asinh,
            lax.atan,
            lax.atanh,
            lax.acos,
            lax.erf_inv,
            lax.sign,
            lax.sin,
            lax.sinh,
            lax.square,
            lax.tan,
            lax.tanh,
            lax.cbrt,
        ),
        (UNIT,),
    ),
    "elementary functions of positive numbers": Case(
        _mapped(lax.digamma, lax.lgamma, lax.log, lax.log1p, lax.rsqrt, lax.sqrt, lambda x: lax.acosh(x + 1)), (ABOVE,)
    ),
    "functions of complex numbers": Case(_mapped(lax.conj, lax.real, lax.imag, lax.exp, lax.abs, lax.square), (Z,)),
    "functions of integers": Case(
        _mapped(lax.clz, lax.population_count, lax.bitwise_not, lax.neg, lax.abs, lax.sign), (N,)
    ),
    "copies": Case(_mapped(jnp.copy, lambda x: lax.stop_gradient(jnp.sin(x)) * x), (X,)),
    # JAX binds this for a traced argument that a rule with ``nondiff_argnums`` takes as fixed.
    "a stop_gradient of integers": Case(lambda x, n: x * lax.stop_gradient_p.bind(n), (X, J)),
    "powers and rounding": Case(
        _mapped(
            lambda x: x**3,
            lambda x: lax.integer_pow(x, -2),
            lax.round,
            lambda x: lax.round(2.5 * x, lax.RoundingMethod.TO_NEAREST_EVEN),
            lambda x: lax.reduce_precision(x, 5, 10),
        ),
        (jnp.array([0.5, 1e-6, 1e5, 2.5]),),  # ties, and numbers out of range with 5 bits of exponent
    ),
    "arithmetic": Case(
        _mapped(lax.add, lax.sub, lax.mul, lax.div, lax.max, lax.min, lax.pow, lax.rem, lax.atan2, lax.complex),
        (jnp.array([0.2, -0.0, jnp.inf, jnp.nan]), jnp.array([-0.7, 0.0, 0.3, jnp.inf])),
    ),
    "Bessel functions": Case(_mapped(lax.bessel_i0e, lax.bessel_i1e), (X,)),
    "gamma functions": Case(
        lambda a, x: (lax.igamma(a, x), lax.igammac(a, x), lax.polygamma(jnp.ones_like(x), x)),
        (ABOVE, ABOVE[::-1]),
    ),
    "functions without derivatives": Case(
        lambda i: [function(i / 3, i / 2 + 1.2) for function in (lax.igamma_grad_a, lax.zeta)], (J + 1,)
    ),
    "incomplete beta function": Case(
        lambda x: lax.betainc(lax.stop_gradient(ABOVE), lax.stop_gradient(ABOVE[::-1]), abs(x)), (UNIT,)
    ),
    "functions that became primitives later": Case(
        lambda x, y: (jnp.log2(x), lax.one_minus_square(x), lax.polynomial(x, [y, 2.0, y])),
        (ABOVE, UNIT),
        since=(0, 12),
    ),
    "polynomials": Case(lambda x, y: jnp.polyval(jnp.concatenate([y, x, y]), x, unroll=4), (X, UNIT)),
    "products in another type": Case(
        lambda x, i: (lax.mul(x, x, out_dtype=jnp.bfloat16), lax.mulhi(i, i)), (X, N), since=(0, 10)
    ),
    "neighbouring floats": Case(_without_slope(lax.nextafter), (X, Y)),
    "bits of integers": Case(
        _mapped(
            lax.bitwise_and,
            lax.bitwise_or,
            lax.bitwise_xor,
            lax.shift_left,
            lax.shift_right_arithmetic,
            lax.shift_right_logical,
        ),
        (N, J),
    ),
    "sums of cotangents": Case(jax.grad(lambda x: jnp.sum(jnp.sin(x) * jnp.cos(x))), (X,)),
    "comparisons": Case(
        _mapped(lax.eq, lax.ne, lax.ge, lax.gt, lax.le, lax.lt),
        (jnp.array([-0.0, 1.0, 0.0, -1.0]), jnp.array([0.0, 2.0, jnp.nan, -2.0])),
    ),
    "comparisons in total order": Case(
        _mapped(primitives.eq_to_p.bind, primitives.le_to_p.bind, primitives.lt_to_p.bind),
        (jnp.array([0.0, jnp.nan, -1.0, 2.0]), jnp.array([-0.0, jnp.nan, jnp.nan, 2.0])),
    ),
    "choices": Case(
        lambda p, i, x, y: (
            jnp.where(p, x, y),
            lax.select_n(jnp.clip(i, 0, 2), x, y, x * y),
            lax.clamp(-0.5, x, 0.5),
            lax.clamp(y, x, y + 1),
        ),
        (P, J, X, Y),
    ),
    "element types": Case(
        lambda x, i: (
            x.astype(jnp.bfloat16),
            i.astype(jnp.float16) * 0.1,
            lax.convert_element_type(3, jnp.float32) * x,
            lax.bitcast_convert_type(lax.stop_gradient(x), jnp.uint8),
        ),
        (X, N),
    ),
    "shapes": Case(
        lambda m: (
            jnp.broadcast_to(m, (2, 3, 4)),
            lax.broadcast_in_dim(m, (3, 5, 4), (0, 2)),
            m.reshape(2, 6),
            lax.reshape(m, (2, 6), dimensions=(1, 0)),
            m[:, None, 2:3].squeeze((1, 2)),
            m.T,
            m[::-1],
            m[1:, ::2],
            lax.rev(m, (0, 1)),
            lax.pad(m, 0.5, ((1, 2, 0), (-1, 0, 2))),
        ),
        (M,),
    ),
    "cutting and joining": Case(
        lambda m, x: (lax.split(m, (1, 3), axis=1), jnp.concatenate([m, x[None], m]), lax.concatenate([m], 0)), (M, X)
    ),
    "new axes": Case(
        lambda m: (jnp.stack([m, m * 2], axis=1), jnp.unstack(m, axis=1), jnp.unstack(m[:1])), (M,), since=(0, 10)
    ),
    "tiles": Case(lambda m: jnp.tile(m, (2, 3)), (M,), since=(0, 9)),
    "counting": Case(lambda x: (jnp.arange(4) * x, lax.broadcasted_iota(jnp.uint8, (3, 4), 1)), (X,)),
    "gathers": Case(
        lambda m, j: (
            m[j % 3],
            m[:, j],
            jnp.take(m, j, axis=0, mode="clip"),
            jnp.take(m, j, axis=0, mode="fill", fill_value=-1.5),
            m.at[0, j].get(mode="promise_in_bounds", unique_indices=True),
            jax.vmap(lambda row, k: row[k])(m, j[:3]),
        ),
        (M, J),
    ),
    "scatters": Case(
        _mapped(_at("set"), _at("add"), _at("subtract"), _at("multiply", unique_indices=True)),
        (X, jnp.array([2, -3, 0, 7]), Y),
    ),
    "scatters of extremes": Case(_without_slope(_mapped(_at("min"), _at("max", mode="drop"))), (X, OUTSIDE, Y)),
    "moving windows": Case(
        lambda m, x, i: (lax.dynamic_slice(m, (i, 1), (2, 2)), lax.dynamic_update_slice(m, x[None], (i, i))), (M, X, 1)
    ),
    "contractions": Case(
        lambda m, x, i: (
            m @ x,
            jnp.einsum("ij,kj->ik", m, m, precision="highest"),
            lax.dot_general(m, m, (((1,), (1,)), ((0,), (0,)))),
            lax.dot_general(i, i, (((0,), (0,)), ((), ())), preferred_element_type=jnp.int32),
            lax.dot(m, x, precision=(lax.Precision.HIGH, lax.Precision.DEFAULT)),
        ),
        (M, X, N.astype(jnp.int8)),
    ),
    "algorithms of products": Case(
        lambda m, x: (lax.dot(m, x, precision=lax.DotAlgorithmPreset.F32_F32_F32), lax.dot(m, x, precision="high")),
        (M, X),
    ),
    "products of scaled blocks": Case(_without_slope(_scaled), BLOCKS, since=(0, 10)),
    "other keys": Case(
        lambda seed: [
            (key, jax.random.split(key)[0], jax.random.bits(jax.random.fold_in(key, 2), (3,)))
            for key in (jax.random.key(seed, impl=impl) for impl in ("threefry4x32", "philox2x32", "philox4x32"))
        ],
        (7,),
        since=(0, 10),
    ),
    "ragged products": Case(
        lambda m, w, sizes: lax.ragged_dot(m, w, sizes), (M, jnp.stack([S, -S]), jnp.array([1, 2], jnp.int32))
    ),
    "convolutions": Case(
        lambda image, kernel: (
            lax.conv_general_dilated(image, kernel, (2, 1), "SAME", feature_group_count=2),
            lax.conv_general_dilated(
                image,
                kernel,
                (1, 1),
                ((2, 1), (0, 0)),
                lhs_dilation=(1, 2),
                rhs_dilation=(2, 1),
                dimension_numbers=("CNHW", "OIHW", "HWNC"),
                precision="highest",
            ),
        ),
        (IMAGE, KERNEL),
    ),
    "windows": Case(
        lambda m: (
            lax.reduce_window(m, 0.0, lax.add, (2, 2), (1, 2), ((0, 1), (1, 1)), window_dilation=(2, 1)),
            lax.reduce_window(m, jnp.inf, lax.min, (2, 2), (1, 1), "VALID", base_dilation=(1, 2)),
            _pool(m),
            jax.grad(lambda x: jnp.sum(jnp.sin(_pool(x))))(m),
        ),
        (M,),
    ),
    "tangents of windows": Case(_without_slope(lambda m: jax.jvp(_pool, (m,), (jnp.cos(m),))), (M,)),
    "elements combined by a function": Case(
        lambda i, j: (
            lax.reduce((i, j), (0, 1), lambda acc, x: (acc[0] + x[1], acc[1] * x[0]), (0,)),
            lax.reduce_window(i, 1, lambda acc, x: acc * x + 1, (2,), (1,), "VALID"),
            i.at[j].apply(lambda x: 2 * x + 1),
        ),
        (N, J),
    ),
    "order": Case(
        lambda m, i: (
            lax.sort(m, dimension=0),
            lax.sort((i, m[0], m[1]), num_keys=2, is_stable=False),
            lax.top_k(m, 2),
            lax.approx_min_k(m, 2, recall_target=0.9),
        ),
        # Ties of one key and of both, zeros of both signs, and what is not a number.
        (M.at[0, 2].set(M[0, 0]).at[:, 3].set(jnp.array([-9.0, 0.0, -0.0])).at[1, 1].set(jnp.nan), N[J % 2]),
    ),
    "Fourier transforms": Case(
        lambda z, m: (jnp.fft.fft(z), jnp.fft.ifft(z), jnp.fft.rfft2(m), jnp.fft.irfft(z, 5)), (Z, M)
    ),
    "decompositions": Case(
        lambda s: (
            lax.linalg.cholesky(_symmetric(s)),
            lax.linalg.lu(s)[0],
            lax.linalg.qr(s, full_matrices=False),
            lax.linalg.eigh(_symmetric(s), lower=False),
            lax.linalg.svd(s, full_matrices=False),
            jnp.linalg.svd(s, compute_uv=False),
        ),
        (S,),
    ),
    "linear systems": Case(
        lambda s, x, m: (
            lax.linalg.triangular_solve(s, m, lower=True, transpose_a=True),
            lax.linalg.tridiagonal_solve(x, jnp.abs(x) + 4, x, m.T),
        ),
        (S, X, M),
    ),
    "decompositions without derivatives": Case(
        _without_slope(
            lambda s, x: (
                lax.linalg.eig(s),
                lax.linalg.hessenberg(s),
                lax.linalg.schur(s),
                lax.linalg.tridiagonal(_symmetric(s)),
                lax.linalg.householder_product(s, x),
                lax.linalg.cholesky_update(s, x),
                lax.linalg.symmetric_product(s, s, alpha=0.5, beta=2.0),
                lax.linalg.lu(s)[1:],
                lax.linalg.qr(s, pivoting=True),
                jnp.linalg.qr(s, mode="raw"),
            )
        ),
        (S, X),
    ),
    "product with an orthogonal factor of permuted columns": Case(
        _without_slope(lambda s, m: jax.scipy.linalg.qr_multiply(s, m, pivoting=True)), (S, M), since=(0, 10)
    ),
    "product with an orthogonal factor": Case(
        _without_slope(lambda s, x: lax.linalg.ormqr(s, x, s, left=False, transpose=True)), (S, X), since=(0, 10)
    ),
    "pivots": Case(lambda p: lax.linalg.lu_pivots_to_permutation(p, 5), (jnp.array([1, 3, 2], jnp.int32),)),
    "code for each platform": Case(
        lambda x: (
            lax.platform_dependent(x, cpu=jnp.sin, cuda=jnp.cos, default=jnp.tan),
            jnp.diagonal(jnp.outer(x, x)),
        ),
        (X,),
    ),
    "memory": Case(lambda x: (jax.device_put(x), lax.empty((3,), jnp.float16), lax.dce_sink(x)), (X,)),
    "places in memory": Case(
        lambda x: (
            jax.device_put(x, jax.devices("cpu")[0]),
            jax.device_put(x + 1, jax.sharding.SingleDeviceSharding(jax.devices("cpu")[0])),
            jax.device_put(2 * x, jax.memory.Space.Device),
        ),
        (X,),
    ),
    "places of elements in two words": Case(_words, ()),
    "reductions": Case(
        lambda m, i, p: (
            [f(m) for f in (jnp.sum, jnp.prod, jnp.max, jnp.min)],
            [f(m, 1) for f in (jnp.sum, jnp.argmax, jnp.argmin)],
            [f(p) for f in (jnp.all, jnp.any)],
            lax.reduce_xor(i, (0,)),
        ),
        (M, N, P),
    ),
    "running combinations": Case(
        lambda m: (
            [f(m, axis=1) for f in (lax.cumsum, lax.cumprod, lax.cummax, lax.cummin, lax.cumlogsumexp)],
            lax.cumsum(m, axis=0, reverse=True),
        ),
        (M,),
    ),
    "keys": Case(_key_words, (3, jnp.arange(2, dtype=jnp.uint32))),
    "keys of another kind": Case(
        lambda seed: jax.random.bits(jax.random.split(jax.random.key(seed, impl="rbg"))[1]), (5,)
    ),
    "hashes and generators": Case(
        lambda key, words: (
            jax.random.clone(jax.random.wrap_key_data(key)),
            primitives.threefry2x32_p.bind(key[0], key[1], words, words + 1),
            primitives.random_gamma_p.bind(
                jax.random.wrap_key_data(words.reshape(2, 2)), words[2:] / 2, log_space=True
            ),
            lax.rng_bit_generator(words, (3, 2), jnp.uint8, lax.RandomAlgorithm.RNG_PHILOX),
        ),
        (jnp.arange(2, dtype=jnp.uint32), jnp.arange(4, dtype=jnp.uint32)),
    ),
    "numbers from the generator of the device": Case(lambda x: lax.rng_uniform(0.5, 1.5, (3,)).shape[0] * x, (X,)),
    "calls": Case(lambda x: (_shared(x) + _shared(-x), jax.jit(lambda y: y + 1, inline=True)(x)), (X,)),
    "JVP rule": Case(lambda x: _spike(x, 0.3) * jax.nn.relu(x), (X,)),
    "VJP rule": Case(lambda x, limit: _clip_gradient(x, limit) * x, (X, 0.5), derivatives="reverse"),
    "choice of two": Case(lambda p, x: lax.cond(p, jnp.sin, lambda v: v * v, x), (True, X)),
    "choice of three": Case(lambda i, x: lax.switch(i, [jnp.sin, lambda v: v * v, lambda v: -v], x), (2, X)),
    "loop over a sequence": Case(_rnn, (M.T @ M, M)),
    "loop of fixed length": Case(lambda x: lax.fori_loop(0, 3, lambda i, v: jnp.sin(v) + i, x), (X,)),
    "loop until": Case(
        lambda x, limit: lax.while_loop(lambda v: jnp.sum(v * v) > limit, lambda v: v * 0.5, x), (X, 0.1), "forward"
    ),
    **CONTROL_PROGRAMS,
    **DERIVATIVE_PROGRAMS,
}
"""By what the program shows."""

PROGRAMS_HERE = {name: case for name, case in PROGRAMS.items() if case.since <= JAX}
"""The programs that the installed JAX can trace."""

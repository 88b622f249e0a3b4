"""Public functions of JAX as cases: programs of several operations, with calls, loops and rules of JAX's own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.scipy as jsp
import numpy as np
from jax.experimental import sparse
from jax.experimental.ode import odeint

__all__ = ["PUBLIC", "PublicFunction"]

Function = Callable[..., Any]


class PublicFunction(NamedTuple):
    """A function with its arguments, as the harness of the primitives has its cases."""

    fullname: str
    group_name: str
    dyn_fun: Function
    arguments: Sequence[Any]
    jax_unimplemented: Sequence[Any] = ()
    dtype: Any = np.float32

    def dyn_args_maker(self, random: np.random.RandomState) -> list[Any]:
        """Return the arguments."""
        return list(self.arguments)

    def filter(self, device: str) -> bool:
        """Whether JAX can run it on a device."""
        return True


_ANY = np.random.default_rng(0)
X = _ANY.normal(size=(4, 6)).astype(np.float32)
V, W = X[0], np.arange(6.0, dtype=np.float32)
S = (X[:, :4] @ X[:, :4].T + 4 * np.eye(4)).astype(np.float32)  # positive definite
I = np.arange(6, dtype=np.int32)  # noqa: E741  # as numpy's examples name indices
IMAGE = _ANY.normal(size=(1, 8, 8, 3)).astype(np.float32)
KEY = np.array([3, 5], np.uint32)

_NAMES: list[tuple[Any, str, tuple[Any, ...]]] = [
    (jnp, "sin cos tan arcsin arctan sinh cosh tanh arcsinh exp expm1 log1p sqrt cbrt square sign floor ceil rint isnan"
     " isfinite sinc i0 nan_to_num angle real imag conj deg2rad signbit trunc frexp modf sum prod mean std var max min"
     " argmax argmin cumsum cumprod median ptp any all count_nonzero nansum nanmean sort argsort ravel diff gradient"
     " flip unwrap trapezoid nanmedian cov corrcoef tril rot90 ediff1d", (X,)),
    (jnp, "outer vdot convolve correlate polymul", (V, V)),
    (jnp, "heaviside nextafter arctan2 hypot logaddexp divmod", (X, X[::-1])),
    (jnp, "kron matmul inner tensordot", (S, S)),
    (jax.nn, "relu gelu silu softplus softmax log_softmax elu selu celu glu leaky_relu hard_tanh hard_sigmoid logsumexp"
     " standardize relu6 squareplus mish soft_sign log_sigmoid", (X,)),
    (jnp.linalg, "norm svd qr pinv matrix_rank cond", (X,)),
    (jnp.linalg, "det slogdet cholesky inv eigh eigvalsh eig eigvals", (S,)),
    (jnp.linalg, "solve", (S, X)),
    (jsp.linalg, "expm lu schur sqrtm polar hessenberg", (S,)),
    (jsp.special, "gammaln digamma erf erfc expit i0e i1 i1e entr xlogx log_ndtr expi spence exp1 gamma ndtr",
     (np.abs(X) + 0.1,)),
    (jsp.special, "zeta poch gammainc gammaincc rel_entr kl_div xlogy", (X**2 + 1.5, X**2 + 1)),
    (jnp.fft, "fft ifft rfft2 irfft fftshift", (X,)),
]  # fmt: skip


def _drawn(draw: Callable[[Any], Any]) -> Function:
    return lambda words: draw(jax.random.wrap_key_data(words))


_RANDOM: dict[str, tuple[Any, ...]] = {
    "normal": ((3,),), "uniform": ((3,),), "bernoulli": (0.3, (4,)), "categorical": (V,), "gumbel": ((3,),),
    "exponential": ((3,),), "gamma": (2.0, (3,)), "beta": (2.0, 3.0, (3,)), "dirichlet": (np.ones(3),),
    "poisson": (3.0, (4,)), "laplace": ((3,),), "logistic": ((3,),), "truncated_normal": (-1.0, 1.0, (3,)),
    "permutation": (I,), "choice": (I, (3,), False), "t": (3.0, (3,)), "cauchy": ((3,),), "randint": ((3,), 0, 9),
    "bits": ((3,),), "ball": (2,), "orthogonal": (3,), "rademacher": ((3,),), "maxwell": ((3,),), "pareto": (2.0, (3,)),
    "weibull_min": (1.0, 2.0, (3,)), "rayleigh": (1.0, (3,)), "geometric": (0.3, (3,)), "lognormal": (1.0, (3,)),
    "triangular": (0.0, 0.5, 1.0, (3,)), "binomial": (10.0, 0.3, (3,)), "wald": (1.0, (3,)), "chisquare": (3.0, (3,)),
    "multivariate_normal": (np.zeros(3), np.eye(3)), "loggamma": (2.0, (3,)), "f": (3.0, 4.0, (3,)),
    "generalized_normal": (2.0, (3,)), "double_sided_maxwell": (0.0, 1.0, (3,)),
}  # fmt: skip

_OTHERS: dict[str, dict[str, tuple[Any, ...]]] = {
    "jax.numpy": {
        "einsum": (lambda a, b: jnp.einsum("ij,kj->ik", a, b), X, X),
        "cross": (jnp.cross, V[:3], V[3:]),
        "where": (lambda a: jnp.where(a > 0, a, 0), X),
        "interp": (jnp.interp, V, W, W),
        "searchsorted": (jnp.searchsorted, W, V),
        "digitize": (jnp.digitize, V, W),
        "histogram": (lambda a: jnp.histogram(a, 5), V),
        "bincount": (lambda a: jnp.bincount(a, length=8), I),
        "unique": (lambda a: jnp.unique(a, size=4), V),
        "nonzero": (lambda a: jnp.nonzero(a > 0, size=3), V),
        "roll": (lambda a: jnp.roll(a, 2, 1), X),
        "tile": (lambda a: jnp.tile(a, (2, 1)), X),
        "repeat": (lambda a: jnp.repeat(a, 2), X),
        "pad": (lambda a: jnp.pad(a, 1, mode="reflect"), X),
        "block": (lambda a: jnp.block([[a, a], [a, a]]), X),
        "polyval": (jnp.polyval, V, X),
        "polyfit": (lambda a, b: jnp.polyfit(a, b, 2), V, V),
        "roots": (lambda a: jnp.roots(a, strip_zeros=False), V),
        "take": (lambda a: jnp.take(a, jnp.array([0, 2]), 1), X),
        "take_along_axis": (lambda a: jnp.take_along_axis(a, jnp.argsort(a, 1), 1), X),
        "updates": (lambda a: a.at[1, 2].set(3.0).at[0].add(1).at[:, 1].mul(2.0).at[jnp.array([1, 1])].add(1.0), X),
        "packbits": (lambda a: jnp.packbits(a > 0), X),
        "select": (lambda a: jnp.select([a > 1, a > 0], [a, 2 * a], -1.0), X),
        "piecewise": (lambda a: jnp.piecewise(a, [a < 0, a >= 0], [lambda t: -t, lambda t: t]), V),
        "quantile": (lambda a: jnp.quantile(a, 0.3), X),
        "percentile": (lambda a: jnp.percentile(a, jnp.array([3.0, 40.0]), axis=1), X),
        "lexsort": (lambda a: jnp.lexsort((a, a[::-1])), V),
        "partition": (lambda a: jnp.partition(a, 2), V),
        "powers": (lambda a: (jnp.abs(a) ** a, a**3, a // 0.3, a % 0.3), X),
        "shifts": (lambda a: (jnp.bitwise_count(a), (a << 2) >> 1), I),
        "ldexp": (jnp.ldexp, V, I),
        "vander": (jnp.vander, V),
        "triu_indices": (lambda a: a[jnp.triu_indices(4)], S),
        "vectorize": (jnp.vectorize(lambda a, b: a @ b, signature="(n),(n)->()"), X, X),
        "isin": (lambda a: jnp.isin(a, a[:2]), I),
        "insert": (lambda a: jnp.insert(a, 2, 5.0), V),
        "compress": (lambda a: jnp.compress(np.array([1, 0, 1, 1], bool), a, axis=0, size=3), X),
        "complex numbers": (lambda a: jnp.abs(jnp.exp(1j * a)), X),
        "narrow numbers": (lambda a: (a.astype(jnp.bfloat16) * 2).astype(jnp.float8_e4m3fn).astype(jnp.float32), X),
        "four bits": (lambda a: a.astype(jnp.int4).astype(jnp.int32), I),
        "nuclear norm": (lambda a: jnp.linalg.matrix_norm(a, ord="nuc"), X),
        "lstsq": (lambda a, b: jnp.linalg.lstsq(a, b)[0], X.T, V),
        "multi_dot": (lambda a: jnp.linalg.multi_dot([a, a, a]), S),
        "matrix_power": (lambda a: jnp.linalg.matrix_power(a, 3), S),
    },
    "jax.scipy": {
        "betainc": (jsp.special.betainc, X**2 + 0.1, X**2 + 1, 1 / (1 + X**2)),
        "hyp1f1": (lambda x: jsp.special.hyp1f1(1.0, 2.0, x), V),
        "polygamma": (lambda x: jsp.special.polygamma(1, x**2 + 1), V),
        "bessel_jn": (lambda z: jsp.special.bessel_jn(z, v=3), V),
        "multigammaln": (lambda a: jsp.special.multigammaln(a + 5, 2), V),
        "cho_solve": (lambda a, b: jsp.linalg.cho_solve(jsp.linalg.cho_factor(a), b), S, X),
        "cg": (lambda a, b: jsp.sparse.linalg.cg(a, b)[0], S, X[:, 0]),
        "gmres": (lambda a, b: jsp.sparse.linalg.gmres(a, b)[0], S, X[:, 0]),
        "bicgstab": (lambda a, b: jsp.sparse.linalg.bicgstab(a, b)[0], S, X[:, 0]),
        "map_coordinates": (lambda a: jsp.ndimage.map_coordinates(a, [V, V], 1), X),
        "norm, t, gamma": (lambda a: jsp.stats.norm.logpdf(a) + jsp.stats.t.logpdf(a, 3.0), X),
        "gaussian_kde": (lambda a: jsp.stats.gaussian_kde(a)(a), V),
        "mode": (lambda a: jsp.stats.mode(a), I),
        "convolve2d": (lambda a: jsp.signal.convolve2d(a, a), X),
        "stft": (lambda a: jsp.signal.stft(a, nperseg=8), np.arange(32, dtype=np.float32)),
        "welch": (lambda a: jsp.signal.welch(a, nperseg=8), np.arange(32, dtype=np.float32)),
        "vq": (lambda a: jsp.cluster.vq.vq(a, a), X),
    },
    "jax": {
        "dot_product_attention": (lambda q: jax.nn.dot_product_attention(q, q, q), np.ones((1, 4, 2, 8), np.float32)),
        "one_hot": (lambda a: jax.nn.one_hot(a, 6), I),
        "segment_sum": (lambda a: jax.ops.segment_sum(a, jnp.array([0, 1, 0, 1]), 2), X),
        "resize": (lambda a: jax.image.resize(a, (1, 5, 5, 3), "bilinear"), IMAGE),
        "scale_and_translate": (
            lambda a: jax.image.scale_and_translate(a, (1, 5, 5, 3), (1, 2), jnp.ones(2), jnp.zeros(2), "cubic"), IMAGE
        ),
        "associative_scan": (lambda a: jax.lax.associative_scan(jnp.add, a), X),
        "map": (lambda a: jax.lax.map(jnp.sin, a), X),
        "grad": (jax.grad(lambda a: jnp.tanh(a).sum()), X),
        "hessian": (jax.hessian(lambda a: jnp.tanh(a).sum()), V),
        "jacrev": (jax.jacrev(jnp.cumprod), V),
        "checkpoint": (jax.grad(jax.checkpoint(lambda a: jnp.sin(jnp.sin(a)).sum())), X),
        "odeint": (lambda a: odeint(lambda y, t: -y, a, jnp.arange(3.0)), V),
        "BCOO": (lambda a: sparse.BCOO.fromdense(a, nse=24) @ a.T, X),
        "platform_dependent": (lambda a: jax.lax.platform_dependent(a, cpu=jnp.sin, default=jnp.cos), X),
    },
}  # fmt: skip


def _group(module: Any) -> str:
    return ".".join(module.__name__.split(".")[:2])


def _cases() -> list[PublicFunction]:
    found = [
        PublicFunction(f"{module.__name__}.{name}", _group(module), getattr(module, name), args)
        for module, names, args in _NAMES
        for name in names.split()
        if hasattr(module, name)
    ]
    for name, args in _RANDOM.items():
        if hasattr(jax.random, name):
            draw = _drawn(lambda key, name=name, args=args: getattr(jax.random, name)(key, *args))
            found.append(PublicFunction(f"jax.random.{name}", "jax.random", draw, (KEY,)))
    for group, cases in _OTHERS.items():
        found += [PublicFunction(f"{group}: {name}", group, fn, args) for name, (fn, *args) in cases.items()]
    return found


PUBLIC = {case.fullname: case for case in _cases()}
"""The cases by name."""

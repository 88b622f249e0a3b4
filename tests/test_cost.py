"""Costs agree with XLA's own cost analysis, and add up through calls, loops and branches."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import brainir
from brainir.analysis.cost.rules import node_cost
from brainir.analysis.passes import UnrollScans
from brainir.ir.types import TensorType
from tests import lapack_loops as loops
from tests.analysis_cases import array, step
from tests.compare import JAX
from tests.lapack_loops import Counted

X = array(8, 16)
UNIT = jnp.tanh(X)
ROWS = jnp.array([1, 2, 3])


def of_xla(fn: Callable[..., Any], *args: Any) -> tuple[int, int, int]:
    """Return flops, transcendentals and bytes that XLA counts before it optimizes."""
    found = jax.jit(fn).lower(*args).cost_analysis() or {}
    return tuple(int(found.get(name, 0)) for name in ("flops", "transcendentals", "bytes accessed"))


def counted(fn: Callable[..., Any], *args: Any) -> tuple[int, int, int]:
    found = brainir.cost(brainir.lower(fn, *args))
    return found.flops, found.transcendentals, found.bytes_moved


EXACT: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    **{
        fn.__name__: (fn, (X,))
        for fn in (lax.abs, lax.cos, lax.erf, lax.exp, lax.exp2, lax.expm1, lax.floor, lax.is_finite, lax.logistic,
                   lax.neg, lax.sign, lax.sin, lax.square, lax.tan, lax.tanh, lax.cosh, lax.cbrt)
    },
    **{fn.__name__: (fn, (jnp.abs(X) + 1,)) for fn in (lax.log, lax.log1p, lax.sqrt, lax.rsqrt)},
    **{
        fn.__name__: (fn, (jnp.abs(X), X))
        for fn in (lax.add, lax.sub, lax.mul, lax.div, lax.max, lax.min, lax.pow, lax.rem, lax.atan2, lax.lt)
    },
    "powers": (lambda x: (x**3, x**5, lax.integer_pow(x, 7), lax.integer_pow(x, -2)), (X,)),
    "conversion": (lambda x: x.astype(jnp.bfloat16), (X,)),
    "selection": (lambda p, x: lax.select_n(p, x, p.astype(x.dtype)), (X > 0, X)),
    "reductions": (lambda x: (jnp.sum(x, 1), jnp.max(x), jnp.prod(x, 0), jnp.min(x, (0, 1))), (X,)),
    "moves": (lambda x: (x.reshape(16, 8), jnp.concatenate([x, x]), x[1:3], x[::-1]), (X,)),
    "sorting": (lambda x: lax.sort(x, dimension=1), (X,)),
    "sorting by a key": (lambda x: lax.sort((x, x * 2), num_keys=1), (X,)),
    "places of extremes": (lambda x: jnp.argmax(x, 1), (X,)),
    "sums of windows": (lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 1), "VALID"), (X,)),
    "largest of windows": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (3, 3), (1, 1), "SAME"), (X,)),
    "fourier": (lambda x: jnp.fft.fft(x), (X.astype(jnp.complex64),)),
    "fourier of reals": (lambda x: jnp.fft.rfft(x), (X,)),
    "fourier of two axes": (lambda x: jnp.fft.fft2(x), (X.astype(jnp.complex64),)),
    "fourier back to reals": (lambda x: lax.fft(x, "IRFFT", (16,)), (X[:, :9].astype(jnp.complex64),)),
    "clamp": (lambda x: lax.clamp(-1.0, x, 1.0), (X,)),
    "padding": (lambda x: lax.pad(x, 0.0, ((1, 1, 0), (0, 2, 1))), (X,)),
    "product": (lambda x, y: x @ y.T, (X, X)),
    "vector": (lambda w, x: w @ x, (X, X[0])),
    "batched product": (lambda x: jnp.einsum("bij,bjk->bik", x, x), (array(5, 4, 4),)),
    "einsum": (lambda a, b: jnp.einsum("abc,cbd->ad", a, b), (array(3, 4, 5), array(5, 4, 2))),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_operations_are_exactly_those_that_xla_counts(name: str) -> None:
    fn, args = EXACT[name]
    assert counted(fn, *args)[:2] == of_xla(fn, *args)[:2]


@pytest.mark.parametrize("name", ["tanh", "add", "product", "vector", "einsum", "conversion", "log"])
def test_bytes_of_one_operation_are_those_that_xla_counts(name: str) -> None:
    fn, args = EXACT[name]
    if name == "product":  # with its transposition, which XLA makes part of the product
        fn = lambda x, y: lax.dot_general(x, y, (((1,), (1,)), ((), ())))  # noqa: E731
    assert counted(fn, *args)[2] == of_xla(fn, *args)[2]


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize(
    ("strides", "padding", "spread", "reach"),
    [
        ((1, 1), ((0, 0), (0, 0)), (1, 1), (1, 1)),
        ((1, 1), ((1, 1), (1, 1)), (1, 1), (1, 1)),
        ((2, 3), ((2, 1), (0, 3)), (1, 1), (1, 2)),
        ((1, 2), ((2, 2), (3, 0)), (2, 3), (1, 1)),
        ((2, 3), ((1, 4), (2, 0)), (3, 2), (2, 1)),
    ],
)
def test_products_of_a_convolution_are_exactly_those_that_xla_counts(
    groups: int, strides: Any, padding: Any, spread: Any, reach: Any
) -> None:
    x, kernel = array(2, 3, 9, 8), array(6, 3 // groups, 3, 2)

    def fn(x: Any, kernel: Any) -> Any:
        return lax.conv_general_dilated(x, kernel, strides, padding, spread, reach, feature_group_count=groups)

    node: Any = SimpleNamespace(
        op="conv_general_dilated",
        dimension_numbers=SimpleNamespace(lhs_spec=(0, 1, 2, 3), rhs_spec=(0, 1, 2, 3), out_spec=(0, 1, 2, 3)),
        window_strides=strides,
        padding=padding,
        lhs_dilation=spread,
        rhs_dilation=reach,
    )
    shapes = [TensorType("float32", each.shape) for each in (x, kernel, jax.eval_shape(fn, x, kernel))]
    assert node_cost(node, shapes[:2], shapes[2:]).flops == of_xla(fn, x, kernel)[0]


def test_a_scan_costs_its_steps_and_a_call_what_it_calls() -> None:
    inner = jax.jit(lambda c, x: jnp.tanh(c * 0.5 + x))

    def fn(x: Any) -> Any:
        return lax.scan(lambda c, row: (inner(c, row), c), x[0], x)[0]

    program = brainir.lower(fn, X)
    found = brainir.cost(program)
    unrolled = brainir.to_callable(UnrollScans().run(program).program)
    assert (found.flops, found.transcendentals) == of_xla(unrolled, X)[:2]
    assert (found.flops, found.transcendentals) == (8 * 32, 8 * 16)


def test_a_cond_costs_its_most_expensive_branch() -> None:
    branches = [lambda v: v * 2 + 1, lambda v: (v @ v.T) @ v, jnp.sin]
    program = brainir.lower(lambda i, x: lax.switch(i, branches, x), 0, X)
    found = brainir.cost(program)
    # Besides the branch: the conversion and the clamp of the index, where the JAX version needs them.
    assert found.flops - brainir.cost(brainir.lower(branches[1], X)).flops in (0, 1, 2)
    assert found.transcendentals == 0


def test_a_while_loop_counts_once_and_says_so() -> None:
    found = brainir.cost(brainir.lower(lambda x: lax.while_loop(lambda v: v[0, 0] > 1, lambda v: v * 0.5, x), X))
    assert found.flops == X.size + 1
    assert [caveat.code for caveat in found.caveats] == ["BIR501"]


def test_what_depends_on_constants_only_costs_nothing() -> None:
    assert counted(lambda x: x + jnp.exp(jnp.arange(16.0)) * 2, X)[:2] == (X.size, 0)


def test_an_operation_without_a_rule_is_guessed_and_named() -> None:
    found = brainir.cost(brainir.lower(lax.digamma, X))
    assert found.transcendentals == X.size
    assert [caveat.code for caveat in found.caveats] == ["BIR502"]
    assert "digamma" in found.caveats[0].message


def test_scopes_add_up_to_the_total() -> None:
    def fn(x: Any) -> Any:
        with jax.named_scope("layer"):
            x = jax.jit(lambda v: jnp.tanh(v) @ v.T)(x)
            with jax.named_scope("inner"):
                x = x * 2
        return jnp.sum(x)

    found = brainir.cost(brainir.lower(fn, X))
    scopes = {part.name: part for part in found.by_scope}
    assert scopes["layer/inner"].flops == 64
    assert {name.split("/")[0] for name in scopes} >= {"layer"}
    for parts in (found.by_scope, found.by_operation):
        assert sum(part.flops for part in parts) == found.flops
        assert sum(part.transcendentals for part in parts) == found.transcendentals
        assert sum(part.bytes_moved for part in parts) == found.bytes_moved


def test_live_memory_of_a_chain_and_of_a_fan() -> None:
    def chain(x: Any) -> Any:
        for _ in range(10):
            x = jnp.sin(x)
        return x

    size = X.nbytes
    assert brainir.cost(brainir.lower(chain, X)).peak_live_bytes == size + 2 * size  # the input, and two at once

    def fan(x: Any) -> Any:
        parts = [jnp.sin(x + number) for number in range(10)]
        return sum(parts)

    assert brainir.cost(brainir.lower(fan, X)).peak_live_bytes >= 10 * size

    def scanned(x: Any) -> Any:
        return lax.scan(lambda c, row: (jnp.sin(c + row), c), x[0], x)[1]

    found = brainir.cost(brainir.lower(scanned, X)).peak_live_bytes
    assert 2 * size <= found <= 2 * size + 6 * X[0].nbytes


def test_trace_memory_is_that_of_the_arrays_the_rules_need() -> None:
    def fn(params: Any, hidden: Any, x: Any) -> Any:
        current = x @ params["w"] + params["b"]
        v = 0.9 * hidden["v"] + current - hidden["a"]
        return {"v": v, "a": 0.99 * hidden["a"] + 0.1 * v * params["tau"], "count": hidden["count"] * 0.5 + v}

    params = {"w": array(3, 4), "b": array(4), "tau": array(4)}
    hidden = {name: array(4) for name in ("v", "a", "count")}
    found = brainir.cost(step(fn, params, hidden, array(3)))
    assert found.parameter_bytes == 4 * (12 + 4 + 4)
    assert found.hidden_bytes == 4 * 12
    sizes = {trace.path: (trace.states, trace.d_rtrl, trace.es_d_rtrl) for trace in found.traces}
    assert sizes[("w",)] == (3, 4 * 3 * 4 * 3, 4 * (3 + 4 * 3))
    assert sizes[("tau",)] == (3, 4 * 4 * 3, 4 * 4 * 3)
    assert sizes[("b",)] == (3, 4 * 4 * 3, 4 * 4 * 3)
    assert found.trace_bytes("d_rtrl", live=False) == sum(size for _, size, _ in sizes.values())


def test_traces_that_cannot_reach_the_loss_are_not_counted_as_live() -> None:
    def run(params: Any, hidden: Any, x: Any) -> Any:
        v = 0.9 * hidden["v"] + x @ params["w"]
        watcher = 0.5 * hidden["watcher"] + v
        return {"v": v, "watcher": watcher}, jnp.sum(v)

    hidden = {"v": array(4), "watcher": array(4)}
    program = brainir.lower_step(run, {"w": array(3, 4)}, hidden, array(3))
    (trace,) = brainir.cost(program).traces
    assert (trace.states, trace.live_states) == (2, 1)
    assert trace.d_rtrl == 2 * trace.d_rtrl_live == 2 * 4 * 12

    def gradient(live: bool) -> Any:
        def loss(w: Any) -> Any:
            states, total = hidden, 0.0
            for t in range(3):
                states, out = run({"w": w}, states, array(3, seed=t))
                if not live:
                    states = {**states, "watcher": states["watcher"] * 0}
                total += out
            return total

        return jax.grad(loss)(array(3, 4))

    assert jnp.array_equal(gradient(True), gradient(False)), "the dropped trace was dead"


def test_a_batch_multiplies_the_traces() -> None:
    def fn(params: Any, hidden: Any, x: Any) -> Any:
        return {"h": jnp.tanh(x @ params["w"] + hidden["h"])}

    (trace,) = brainir.cost(step(fn, {"w": array(3, 4)}, {"h": array(5, 4)}, array(5, 3))).traces
    assert trace.d_rtrl == 4 * 5 * 3 * 4
    assert trace.es_d_rtrl == 4 * (5 * 3 + 5 * 4)


def test_cost_prints_writes_json_and_html() -> None:
    def fn(params: Any, hidden: Any, x: Any) -> Any:
        return {"h": jnp.tanh(x @ params["w"] + hidden["h"])}

    program = step(fn, {"w": array(3, 4)}, {"h": array(4)}, array(3))
    found = brainir.cost(program)
    assert "flops" in str(found)
    assert "D-RTRL trace bytes" in str(found)
    assert json.loads(found.to_json())["flops"] == found.flops
    assert found.to_json() == brainir.cost(brainir.loads(brainir.dumps(program))).to_json()
    assert "<table>" in found._repr_html_()
    if JAX >= (0, 9):
        assert found.traces[0].path == ("w",)


def _factorization_operations(n: int) -> tuple[int, int, int]:
    """Count the operations of Cholesky, LU, and a triangular system with three sides, written out as loops."""
    cholesky = lu = solve = 0
    for j in range(n):
        for _ in range(j, n):
            cholesky += 2 * j + 1  # a product and a difference for each column before, and a root or division
        for _ in range(j + 1, n):
            lu += 1  # the factor of the row
            for _ in range(j + 1, n):
                lu += 2
        solve += 3 * (2 * j + 1)
    return cholesky, lu, solve


def test_factorizations_count_the_operations_of_their_loops() -> None:
    n = 7
    matrix, sides = jnp.eye(n), jnp.ones((n, 3))

    def every(a: Any, b: Any) -> Any:
        lower = jax.lax.linalg.cholesky(a, symmetrize_input=False)
        return lower, jax.lax.linalg.lu(a)[0], jax.lax.linalg.triangular_solve(a, b, left_side=True, lower=True)

    found = brainir.cost(brainir.lower(every, matrix, sides))
    flops = {part.name: part.flops for part in found.by_operation}
    assert (flops["cholesky"], flops["lu"], flops["triangular_solve"]) == _factorization_operations(n)
    assert not found.caveats


def _loops(name: str, m: int, n: int) -> tuple[int, int]:
    """Return products and sums of LAPACK's loops, after a look at whether they compute what they should."""
    a = loops.matrix(m, n)
    before = loops.values(a)
    loops.reset()
    if name == "hessenberg":
        loops.gehrd(a)
        got = Counted.products, Counted.sums
        np.testing.assert_allclose(np.trace(loops.values(a)), np.trace(before), rtol=1e-6)
        return got
    reflectors = loops.geqrf(a)
    if name == "geqrf":
        got = Counted.products, Counted.sums
        np.testing.assert_allclose(loops.values(a).T @ loops.values(a), before.T @ before, rtol=1e-6, atol=1e-9)
        return got
    loops.reset()
    if name == "ormqr":
        c = loops.matrix(m, 3)
        loops.ormqr(reflectors, c)
        return Counted.products, Counted.sums
    q = loops.orgqr(reflectors, m, n)
    got = Counted.products, Counted.sums
    np.testing.assert_allclose(loops.values(q) @ loops.values(a)[:n], before, rtol=1e-6, atol=1e-9)
    return got


DECOMPOSITIONS: dict[str, tuple[Callable[..., Any], tuple[int, int]]] = {
    "hessenberg": (lambda a, tau, c: lax.linalg.hessenberg(a), (7, 7)),
    "geqrf": (lambda a, tau, c: jnp.linalg.qr(a, mode="raw"), (8, 5)),
    "householder_product": (lambda a, tau, c: lax.linalg.householder_product(a, tau), (8, 5)),
    **({"ormqr": (lambda a, tau, c: lax.linalg.ormqr(a, tau, c), (8, 5))} if hasattr(lax.linalg, "ormqr") else {}),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.complex64])
@pytest.mark.parametrize("name", DECOMPOSITIONS)
def test_decompositions_count_the_operations_of_lapack(name: str, dtype: Any) -> None:
    fn, (m, n) = DECOMPOSITIONS[name]
    operands = (jnp.ones(shape, dtype) for shape in ((m, n), (min(m, n),), (m, 3)))
    found = brainir.cost(brainir.lower(fn, *operands))
    products, sums = _loops(name, m, n)
    # The note has n (n + 1) / 2 - 3 sums more for the Hessenberg form than its loops make.
    sums += n * (n + 1) // 2 - 3 if name == "hessenberg" else 0
    flops = {part.name: part.flops for part in found.by_operation}
    assert flops[name] == (products + sums if dtype == jnp.float32 else 6 * products + 2 * sums)
    assert not found.caveats


def test_iterated_decompositions_are_estimates_and_a_long_matrix_is_made_short_first() -> None:
    def svd(m: int, n: int, **options: Any) -> Any:
        return brainir.cost(brainir.lower(lambda a: jnp.linalg.svd(a, **options), jnp.ones((m, n))))

    def flops(found: Any) -> int:
        return {part.name: part.flops for part in found.by_operation}["svd"]

    n = 6
    assert flops(svd(n, n)) == 21 * n**3  # 4 + 8 + 9, Golub and Van Loan
    assert flops(svd(n, n, full_matrices=False)) == 22 * n**3  # 14 + 8
    assert flops(svd(n, n, compute_uv=False)) == round(8 * n**3 / 3)
    assert flops(svd(100, n, full_matrices=False)) == 6 * 100 * n**2 + 20 * n**3
    (caveat,) = svd(n, n).caveats
    assert (caveat.code, "converges" in caveat.message) == ("BIR502", True)
    general = brainir.cost(brainir.lower(lambda a: jnp.linalg.eig(a), jnp.ones((n, n))))
    assert {part.name: part.flops for part in general.by_operation}["eig"] == 25 * n**3

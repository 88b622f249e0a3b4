"""Products of sparse matrices and of events, as brainevent and brainunit write them, are weights like others."""

import functools
from collections.abc import Callable
from typing import Any

import brainevent
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from tests.analysis_cases import array, step
from tests.quick_compile import quick_options

ROWS, COLUMNS = np.array([0, 0, 1, 2, 2, 3]), np.array([1, 4, 2, 0, 3, 4])
INDPTR = np.array([0, 2, 3, 5, 6])
SHAPE = (4, 5)
FANOUT = np.array([[0, 1], [2, 3], [1, 4], [0, 4]], np.int32)
EVENTS = brainevent.BinaryArray


def csr(w: Any) -> Any:
    return brainevent.CSR((w, COLUMNS, INDPTR), shape=SHAPE)


def filled(w: Any) -> Any:
    return jnp.zeros(SHAPE).at[ROWS, COLUMNS].set(w)


def fanned(w: Any) -> Any:
    return jnp.zeros(SHAPE).at[np.arange(4)[:, None], FANOUT].set(w)


def spikes(x: Any) -> Any:
    return (x > 0).astype(x.dtype)


# The shape of the weight, the length of the input, what the library computes and what it means, and the kind.
Product = Callable[[Any, Any], Any]
PRODUCTS: dict[str, tuple[tuple[int, ...], int, Product, Product, str]] = {
    "vector and matrix": ((6,), 4, lambda w, x: x @ csr(w), lambda w, x: x @ filled(w), "sparse"),
    "matrix and vector": ((6,), 5, lambda w, x: csr(w) @ x, lambda w, x: filled(w) @ x, "sparse"),
    "by columns": (
        (6,),
        5,
        lambda w, x: x @ brainevent.CSC((w, COLUMNS, INDPTR), shape=SHAPE[::-1]),
        lambda w, x: filled(w) @ x,
        "sparse",
    ),
    "events": ((6,), 4, lambda w, x: EVENTS(x > 0) @ csr(w), lambda w, x: spikes(x) @ filled(w), "sparse"),
    "events behind": ((6,), 5, lambda w, x: csr(w) @ EVENTS(x > 0), lambda w, x: filled(w) @ spikes(x), "sparse"),
    "events and all connections": (
        SHAPE,
        4,
        lambda w, x: EVENTS(x > 0) @ w,
        lambda w, x: spikes(x) @ w,
        "custom",
    ),
    "a number of targets": (
        (4, 2),
        4,
        lambda w, x: x @ brainevent.FixedNumPerPre((w, FANOUT), shape=SHAPE),
        lambda w, x: x @ fanned(w),
        "sparse",
    ),
    "of brainunit": (
        (6,),
        4,
        lambda w, x: x @ u.sparse.CSR((w, COLUMNS, INDPTR), shape=SHAPE),
        lambda w, x: x @ filled(w),
        "sparse",
    ),
    "of brainunit, by coordinates": (
        (6,),
        5,
        lambda w, x: u.sparse.COO((w, ROWS, COLUMNS), shape=SHAPE) @ x,
        lambda w, x: filled(w) @ x,
        "sparse",
    ),
}


# From version 0.3 on, brainevent computes this product once more without infinities, by a choice that its own transpose
# rule knows nothing of and JAX cannot transpose: the relation is found, and there is forward mode only.
FORWARD_ONLY = {"events and all connections"} if brainevent.__version_info__[:2] >= (0, 3) else set[str]()


# JAX transposes x @ CSR by a rule that takes no notice of which side x is on. What comes back has the gradient of the
# original, not that of the matrix.
OWN_GRADIENT = {"of brainunit"}


@pytest.mark.parametrize("name", PRODUCTS)
def test_products_are_relations_with_the_gradient_of_the_full_matrix(name: str) -> None:
    shape, size, product, meaning, kind = PRODUCTS[name]
    w, x = array(*shape, seed=1), array(size, seed=2)
    hidden = {"h": array(*jax.eval_shape(meaning, w, x).shape, seed=3)}

    def cell(op: Product) -> Callable[..., Any]:
        return lambda params, hidden, x: {"h": 0.9 * hidden["h"] + jnp.tanh(op(params["w"], x))}

    program = step(cell(product), {"w": w}, hidden, x)
    (relation,) = brainir.find_hidden_param_op_relations(program)
    assert (relation.path, relation.kind, relation.tail) == (("w",), kind, "aligned")
    run = brainir.to_callable(brainir.loads(brainir.dumps(program)))

    def derivative(step: Callable[..., Any], w: Any) -> Any:
        def loss(w: Any) -> Any:
            return jnp.sum(jnp.sin(step({"w": w}, hidden, x)["h"]))

        return jax.jvp(loss, (w,), (w,)) if name in FORWARD_ONLY else jax.value_and_grad(loss)(w)

    @functools.partial(jax.jit, compiler_options=quick_options())
    def both(w: Any) -> Any:
        return derivative(lambda *operands: run(*operands)[0], w), derivative(
            cell(product if name in OWN_GRADIENT else meaning), w
        )

    for one, two in zip(*both(w), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["events", "vector and matrix", "a number of targets", "of brainunit"])
def test_products_are_learned_online_as_backpropagation_through_the_full_matrix_learns_them(name: str) -> None:
    shape, size, product, meaning, _ = PRODUCTS[name]
    params, xs = {"w": array(*shape, seed=1)}, array(6, size, seed=2)
    hidden = {"h": jnp.zeros(jax.eval_shape(meaning, params["w"], xs[0]).shape)}
    targets = array(6, *hidden["h"].shape, seed=3)

    def cell(op: Product) -> Callable[..., Any]:
        def run(params: Any, hidden: Any, x: Any) -> Any:
            h = 0.9 * hidden["h"] + jnp.tanh(op(params["w"], x))
            return {"h": h}, h

        return run

    def loss(out: Any, target: Any) -> Any:
        return jnp.sum((out - target) ** 2)

    def both(params: Any) -> Any:
        def backward(params: Any) -> Any:
            model = cell(product if name in OWN_GRADIENT else meaning)
            outs = jax.lax.scan(lambda hidden, x: model(params, hidden, x), hidden, xs)[1]
            return jax.vmap(loss)(outs, targets).sum()

        return [learner.run(params, learner.init(hidden), xs, targets)[2], jax.grad(backward)(params)]

    program = brainir.lower_step(cell(product), params, hidden, xs[0])
    learner = brainir.compile_learner(program, loss=loss)
    assert not learner.report().excluded
    found, expected = jax.jit(both, compiler_options=quick_options())(params)
    np.testing.assert_allclose(found["w"], expected["w"], rtol=1e-5, atol=1e-5 * float(jnp.abs(expected["w"]).max()))

"""Primitives of other packages that hold arrays: what comes back from a file is lowered to the same program again."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import sparse
from jax.interpreters import ad, batching, mlir

import brainir

TABLE = np.array([1.0, -2.0, 3.0], "f")
OTHER = jnp.array([0.5, 0.25, -1.5])
SCALE = np.float32(1.5)
X = jnp.array([0.3, -1.2, 2.0])
MATRIX = jnp.array([[4.0, 0.0, 0.5], [0.3, 5.0, 0.0]])
ROWS, COLUMNS = jnp.array([0, 0, 1, 1]), jnp.array([0, 2, 0, 1])


def elementwise(name: str, compute: Callable[[Any], Any], rule: Callable[[Any, Any], Any] | None) -> Any:
    """Return a primitive of one operand, and a rule that has the derivative of the operand along its tangent."""
    made = jax.extend.core.Primitive(f"brainir_tests_{name}")
    made.def_impl(compute)
    made.def_abstract_eval(lambda x: x)
    mlir.register_lowering(made, mlir.lower_fun(compute, multiple_results=False))
    batching.primitive_batchers[made] = lambda args, axes: (made.bind(jnp.moveaxis(*args, *axes, 0)), 0)
    if rule is not None:
        ad.primitive_jvps[made] = lambda primals, tangents: (made.bind(*primals), rule(*primals, *tangents))
    return made


inner_p = elementwise("inner", lambda x: jnp.sin(x) * TABLE, lambda x, t: inner_p.bind(x + 1.0) * t)


def refused(x: Any, t: Any) -> Any:
    raise RuntimeError("it has no derivative")


def scaled(x: Any) -> Any:
    return x * TABLE


PRIMITIVES = {
    "itself": elementwise("itself", lambda x: x * TABLE, lambda x, t: jnp.cos(x) * t),
    "rule": elementwise("rule", lambda x: jnp.sin(x) + 0.5, lambda x, t: jnp.cos(x) * OTHER * t),
    "both": elementwise("both", lambda x: x * TABLE + OTHER, lambda x, t: PRIMITIVES["both"].bind(x) * TABLE * t),
    "number": elementwise("number", lambda x: x * SCALE, lambda x, t: jnp.cos(x) * SCALE * t),
    "nested": elementwise("nested", lambda x: inner_p.bind(x * OTHER), lambda x, t: inner_p.bind(x) * OTHER * t),
    "jit": elementwise("jit", jax.jit(lambda x: x * TABLE), lambda x, t: jnp.cos(x) * t),
    "scan": elementwise(
        "scan",
        lambda x: lax.scan(lambda carry, _: (inner_p.bind(carry) * TABLE, None), x, length=2)[0],
        lambda x, t: jnp.cos(x) * t,
    ),
    "derived": elementwise("derived", scaled, None),
    "refused": elementwise("refused", lambda x: jnp.sin(x) * TABLE, refused),
    "none": elementwise("none", lambda x: jnp.sin(x) * TABLE, None),
}
ad.primitive_jvps[PRIMITIVES["derived"]] = functools.partial(jax.jvp, scaled)

PLACES: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "twice": lambda f: lambda x: f(f(x)) + f(x),
    "jit": jax.jit,
    "scan": lambda f: lambda x: lax.scan(lambda carry, _: (f(carry) * TABLE, f(carry) + OTHER), x, length=2),
    "cond": lambda f: lambda x: lax.cond(x[0] > 0.0, f, lambda x: f(x) + OTHER, x),
    "while": lambda f: lambda x: lax.while_loop(lambda carry: f(carry)[0] < 1.0, lambda carry: f(carry) + OTHER, x),
    "vmap": lambda f: lambda x: jax.vmap(f)(jnp.stack([x, 2.0 * x])),
}


def total(f: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x: sum(jnp.sum(leaf) for leaf in jax.tree.leaves(f(x)))


def returned(fn: Callable[..., Any], x: Any) -> Callable[..., Any]:
    """Return what comes back from a file, which has to be lowered to the same program again."""
    program = brainir.lower(fn, x)
    ours = brainir.to_callable(brainir.loads(brainir.dumps(program)))
    assert brainir.fingerprint(brainir.lower(ours, x)) == brainir.fingerprint(program)
    return ours


@pytest.mark.parametrize("kind", PRIMITIVES)
@pytest.mark.parametrize("place", PLACES)
def test_what_comes_back_is_lowered_to_the_same_program(kind: str, place: str) -> None:
    returned(PLACES[place](PRIMITIVES[kind].bind), X)


@pytest.mark.parametrize("kind", sorted(PRIMITIVES.keys() - {"refused", "none"}))
@pytest.mark.parametrize("place", ["twice", "scan"])
def test_derivatives_are_those_of_the_rule_and_are_lowered_to_the_same_program(kind: str, place: str) -> None:
    fn = PLACES[place](PRIMITIVES[kind].bind)
    ours = returned(fn, X)
    gradient = returned(jax.grad(total(fn)), X)
    wanted = jax.jit(lambda x: (fn(x), jax.grad(total(fn))(x), jax.jvp(fn, (x,), (x,)), jax.jacfwd(jax.jacfwd(fn))(x)))
    got = jax.jit(lambda x: (ours(x), gradient(x), jax.jvp(ours, (x,), (x,)), jax.jacfwd(jax.jacfwd(ours))(x)))
    for mine, its in zip(jax.tree.leaves(got(X)), jax.tree.leaves(wanted(X)), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-5)


def test_a_function_without_a_rule_that_holds_an_array_is_called_as_it_is() -> None:
    program = brainir.lower(PRIMITIVES["derived"].bind, X)
    assert [node.op for function in program.functions for node in function.nodes] == ["call", "mul"]


@pytest.mark.parametrize(
    "fn",
    [
        lambda m: sparse.BCOO.fromdense(m, nse=4) @ X,
        lambda m: sparse.BCOO.fromdense(m, nse=4).T.todense(),
        lambda m: sparse.todense(sparse.BCOO.fromdense(m, nse=4)) * sparse.todense(jnp.cos(m)),
        lambda m: lax.scan(lambda carry, _: (carry + sparse.BCOO.fromdense(m, nse=4).T @ X[:2], None), X, length=2)[0],
        # Its product has a rule to be transposed: a linear system inside its own rule, whose rules lead back to it.
        lambda m: sparse.CSR((m[ROWS, COLUMNS], COLUMNS, jnp.array([0, 2, 4])), shape=(2, 3)) @ X,
    ],
    ids=["product", "transpose", "dense again", "scan", "compressed rows"],
)
def test_sparse_matrices_and_their_gradients_are_lowered_to_the_same_program(fn: Callable[..., Any]) -> None:
    for f in (fn, jax.grad(total(fn))):
        np.testing.assert_allclose(jax.jit(returned(f, MATRIX))(MATRIX), jax.jit(f)(MATRIX), rtol=1e-6)

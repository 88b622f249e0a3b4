"""Rules that ask which tangents and cotangents are zero are stored for each case, and the right one is taken."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.custom_derivatives import SymbolicZero

import brainir
from brainir.ir.errors import VerificationError
from tests.compare import assert_same_bits

X = jnp.array([0.3, -1.2, 2.0])
Y = jnp.array([1.5, 0.4, -0.7])
TABLE = jnp.array([0.5, -2.0, 3.0])

# Rules that compute something else in every case, none of it the true derivative


def still(value: Any) -> SymbolicZero:
    return SymbolicZero(jax.typeof(value).to_tangent_aval())


@jax.custom_jvp
def pushed(x: Any, y: Any, n: Any = 2) -> Any:
    return x * y * TABLE, y + n


def pushed_jvp(primals: Any, tangents: Any) -> Any:
    (x, y, _), (dx, dy, dn) = primals, tangents
    assert isinstance(dn, SymbolicZero)
    product, shifted = pushed(*primals)
    match isinstance(dx, SymbolicZero), isinstance(dy, SymbolicZero):
        case True, True:
            moved = still(product), still(shifted)
        case True, False:
            moved = 3.0 * dy * x, dy * TABLE
        case False, True:
            moved = 5.0 * dx * y, still(shifted)
        case _:
            moved = dx * y + 7.0 * dy, 11.0 * dy
    return (product, shifted), moved


pushed.defjvp(pushed_jvp, symbolic_zeros=True)


@jax.custom_vjp
def pulled(x: Any, y: Any) -> Any:
    return x * y * TABLE, jnp.sin(x)


def pulled_fwd(x: Any, y: Any) -> Any:
    out = pulled(x.value, y.value)
    if x.perturbed and y.perturbed:
        return out, (x.value, y.value)
    return out, (y.value, None) if x.perturbed else (x.value, x.value.shape)


def pulled_bwd(residuals: Any, cotangents: Any) -> Any:
    (a, b), (ct, sine) = residuals, cotangents
    if isinstance(ct, SymbolicZero):
        return 11.0 * sine * a, None
    if isinstance(sine, SymbolicZero):
        return ct * a, 13.0 * ct
    if b is None:
        return ct * a * TABLE + sine, None
    return ct * a, ct * (a.reshape(b) if isinstance(b, tuple) else b) * 17.0


pulled.defvjp(pulled_fwd, pulled_bwd, symbolic_zeros=True)


def total(fn: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *args: sum(jnp.sum(leaf) for leaf in fn(*args))


def loop(fn: Callable[..., Any], x: Any) -> Any:
    """Call it in a scan, once with the carry in front and once behind."""
    return lax.scan(lambda c, _: (fn(c, Y)[0], fn(Y, c)[0]), x, None, 3)


@functools.cache
def regenerated(name: str, way: str) -> Callable[..., Any]:
    fn: Callable[..., Any] = {"pushed": pushed, "pulled": pulled}[name]
    program = brainir.loads(brainir.dumps(brainir.lower(fn, X, Y)))
    if way == "callable":
        return brainir.to_callable(program)
    module: dict[str, Any] = {}
    exec(brainir.to_source(program), module)
    found: Callable[..., Any] = module[program.entry]
    return found


FORWARD: dict[str, Callable[..., Any]] = {
    "first": lambda f: jax.jvp(lambda x: f(x, Y), (X,), (Y,)),
    "second": lambda f: jax.jvp(lambda y: f(X, y), (Y,), (X,)),
    "both": lambda f: jax.jvp(f, (X, Y), (Y, X)),
    "first under jit": lambda f: jax.jit(jax.jacfwd(f))(X, Y),
    "second under jit": lambda f: jax.jit(jax.jacfwd(f, 1))(X, Y),
    "zero results as operands": lambda f: jax.jit(jax.jacfwd(lambda x: f(*f(x, Y))))(X),
    "second derivatives": lambda f: jax.jit(jax.jacfwd(jax.jacfwd(f, (0, 1)), (0, 1)))(X, Y),
    "mixed derivatives": lambda f: jax.jit(jax.jacfwd(jax.jacfwd(f, 0), 1))(X, Y),
    "reverse": lambda f: jax.grad(total(f))(X, Y),
    "batch": lambda f: jax.vmap(jax.jacfwd(f, 1), (0, None))(jnp.stack([X, Y]), Y),
    "loop": lambda f: jax.jit(jax.jacfwd(functools.partial(loop, f)))(X),
}
REVERSE: dict[str, Callable[..., Any]] = {
    "first": lambda f: jax.vjp(lambda x: f(x, Y), X)[1]((X, Y)),
    "second": lambda f: jax.vjp(lambda y: f(X, y), Y)[1]((X, Y)),
    "both": lambda f: jax.vjp(f, X, Y)[1]((X, Y)),
    "first, one result": lambda f: jax.grad(lambda x: f(x, Y)[0].sum())(X),
    "second, one result": lambda f: jax.grad(lambda y: f(X, y)[0].sum())(Y),
    "first, other result, under jit": lambda f: jax.jit(jax.grad(lambda x: f(x, Y)[1].sum()))(X),
    "both under jit": lambda f: jax.jit(jax.grad(total(f), (0, 1)))(X, Y),
    "through a jit": lambda f: jax.grad(lambda x: total(jax.jit(f))(x, Y))(X),
    "batch": lambda f: jax.vmap(jax.grad(lambda x, y: f(x, y)[0].sum(), 1), (0, None))(jnp.stack([X, Y]), Y),
    "loop": lambda f: jax.jit(jax.grad(total(functools.partial(loop, f))))(X),
}


@pytest.mark.parametrize("way", ["callable", "source"])
@pytest.mark.parametrize("derivative", FORWARD)
def test_jvp_rules_see_the_same_zeros(derivative: str, way: str) -> None:
    derive = FORWARD[derivative]
    assert_same_bits(derive(regenerated("pushed", way)), derive(pushed))


@pytest.mark.parametrize("way", ["callable", "source"])
@pytest.mark.parametrize("derivative", REVERSE)
def test_vjp_rules_see_the_same_perturbations_and_zeros(derivative: str, way: str) -> None:
    derive = REVERSE[derivative]
    assert_same_bits(derive(regenerated("pulled", way)), derive(pulled))


@pytest.mark.parametrize("fn", [pushed, pulled])
def test_functions_with_cases_trace_to_the_same_program(fn: Callable[..., Any]) -> None:
    program = brainir.lower(fn, X, Y)
    assert brainir.fingerprint(brainir.lower(brainir.to_callable(program), X, Y)) == brainir.fingerprint(program)


def test_a_backward_rule_gets_the_residuals_of_the_forward_rule_that_ran() -> None:
    ours = jax.jit(regenerated("pulled", "callable"))
    _, first = jax.vjp(lambda x: ours(x, Y), X)
    _, both = jax.vjp(ours, X, Y)
    # JAX itself would take the residuals of `first` for those of `both` here, so the original is not under jit.
    np.testing.assert_allclose(first((X, Y))[0], jax.vjp(lambda x: pulled(x, Y), X)[1]((X, Y))[0], rtol=1e-6)
    np.testing.assert_allclose(both((X, Y)), jax.vjp(pulled, X, Y)[1]((X, Y)), rtol=1e-6)


def test_the_same_rules_for_all_cases_are_stored_once() -> None:
    @jax.custom_vjp
    def plain(x: Any, y: Any) -> Any:
        return x * y

    plain.defvjp(
        lambda x, y: (x.value * y.value, (x.value, y.value)), lambda r, ct: (3.0 * ct, ct * r[0]), symbolic_zeros=True
    )
    (node,) = brainir.lower(plain, X, X).entry_function.nodes
    assert [case.perturbed for case in node.cases] == [(), (0,), (1,), (0, 1)]
    assert len(set(node.fwds)) == len(set(node.bwds)) == 1


def test_a_case_for_which_the_rule_fails_is_an_error_when_it_occurs() -> None:
    @jax.custom_jvp
    def picky(x: Any, y: Any) -> Any:
        return x * y

    picky.defjvp(lambda p, t: (p[0] * p[1], t[0] * p[1]), symbolic_zeros=True)
    ours = brainir.to_callable(brainir.lower(picky, X, Y))
    assert_same_bits(jax.jacfwd(ours)(X, Y), jax.jacfwd(picky)(X, Y))
    with pytest.raises(TypeError, match=r"rule failed for \(1,\)"):
        jax.jacfwd(ours, 1)(X, Y)


def test_functions_with_more_cases_than_can_be_stored_run_and_say_so_when_they_are_differentiated() -> None:
    @jax.custom_jvp
    def many(*xs: Any) -> Any:
        return sum(xs)

    many.defjvp(lambda p, t: (sum(p), t[0]), symbolic_zeros=True)
    ours = brainir.to_callable(brainir.lower(many, *[X] * 7))
    assert_same_bits(ours(*[X] * 7), many(*[X] * 7))
    with pytest.raises(Exception, match="7 operands and results can have them: that makes 128 cases"):
        jax.jacfwd(ours)(*[X] * 7)


def test_the_verifier_checks_the_rules_of_all_cases() -> None:
    program = brainir.lower(pulled, X, Y)
    entry = program.entry_function
    (node,) = entry.nodes

    def changed(**changes: Any) -> Any:
        functions = (entry.replace(nodes=(node.replace(**changes),)), *program.functions[1:])
        return program.replace(functions=functions)

    for changes, message in (
        ({"bwds": (node.bwds[0],) * len(node.bwds)}, "asked"),
        ({"cases": node.cases[:-1]}, "a rule for each case"),
        ({"cases": (*node.cases[:-1], node.cases[0])}, "two cases"),
        ({"closed_over": 9}, "closed_over"),
    ):
        with pytest.raises(VerificationError, match=message):
            brainir.verify(changed(**changes))

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
from brainir import Program
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
    return executed(program)


def executed(program: Program) -> Callable[..., Any]:
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


@pytest.mark.parametrize("way", ["callable", "source"])
def test_operands_without_tangents_are_not_perturbed_when_a_function_is_lowered_again(way: str) -> None:
    fn: Any = jax.custom_vjp(lambda x, n: (x * n, n))
    fn.defvjp(
        lambda x, n: ((x.value * n.value, n.value), n.value if x.perturbed else -n.value),
        lambda n, ct: (None if isinstance(ct[0], SymbolicZero) else 3.0 * ct[0] * n, None),
        symbolic_zeros=True,
    )
    program = brainir.lower(fn, X, 2)
    again = brainir.to_callable(program) if way == "callable" else executed(program)
    assert brainir.fingerprint(brainir.lower(again, X, 2)) == brainir.fingerprint(program)
    assert_same_bits(jax.vjp(lambda x: again(x, 2)[0], X)[1](Y), jax.vjp(lambda x: fn(x, 2)[0], X)[1](Y))


@pytest.mark.parametrize("way", ["callable", "source"])
@pytest.mark.parametrize("reverse", [False, True])
def test_numbers_that_a_function_closes_over_stay_operands(reverse: bool, way: str) -> None:
    bound = jnp.int32(2)

    def scaled(x: Any, y: Any) -> Any:
        return jnp.where(bound > 1, x * y, x)

    if reverse:
        fn: Any = jax.custom_vjp(scaled)
        fn.defvjp(lambda x, y: (x.value, y.value), lambda y, ct: (ct * y, None), symbolic_zeros=True)
    else:
        fn = jax.custom_jvp(scaled)
        fn.defjvp(lambda primals, tangents: (fn(*primals), tangents[0] * primals[1]), symbolic_zeros=True)
    program = brainir.lower(fn, X, Y)
    (node,) = program.entry_function.nodes
    assert (node.inputs, node.closed_over) == (("2:i32", "x", "y"), 1)
    again = brainir.to_callable(program) if way == "callable" else executed(program)
    assert brainir.fingerprint(brainir.lower(again, X, Y)) == brainir.fingerprint(program)


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
    with pytest.raises(brainir.BrainIRError, match=r"rule failed for \(1,\)"):
        jax.jacfwd(ours, 1)(X, Y)


@jax.custom_jvp
def many(*xs: Any) -> Any:
    return sum(xs), xs[0]


def many_jvp(primals: Any, tangents: Any) -> Any:
    """Move the sum by twice what it should."""
    moved = sum(2.0 * tangent for tangent in tangents if not isinstance(tangent, SymbolicZero))
    return many(*primals), (moved, still(primals[0]))


many.defjvp(many_jvp, symbolic_zeros=True)


@jax.custom_vjp
def guarded(x: Any, y: Any, table: Any, *others: Any) -> Any:
    return x * y + table, jnp.sin(x), sum(others)


def guarded_fwd(x: Any, y: Any, table: Any, *others: Any) -> Any:
    assert not table.perturbed, "the table is a constant"
    return guarded(x.value, y.value, table.value, *(other.value for other in others)), (x.value, y.value)


def guarded_bwd(residuals: Any, cotangents: Any) -> Any:
    (x, y), (product, sine, rest) = residuals, cotangents
    assert isinstance(rest, SymbolicZero), "nobody uses the third result"
    product, sine = (jnp.zeros(3) if isinstance(each, SymbolicZero) else each for each in (product, sine))
    return 3.0 * product * y + sine, 5.0 * product * x, None, None, None, None


guarded.defvjp(guarded_fwd, guarded_bwd, symbolic_zeros=True)


def guarded_in(way: str) -> Callable[..., Any]:
    """Return a function in which the rule of `guarded` meets a constant table, inside of something."""

    def run(x: Any, y: Any, table: Any = TABLE) -> Any:
        product, sine, _ = guarded(x, y, table, jnp.round(x), y, lax.stop_gradient(y))
        return product * sine

    match way:
        case "scan":
            # The tables are a scanned operand, the count is carried; neither is perturbed.
            tables = jnp.stack([TABLE, 2.0 * TABLE])
            return lambda x, y: lax.scan(
                lambda c, table: ((run(c[0], y, table + c[1]), c[1] + 1.0), None), (x, 0.0), tables
            )[0][0]
        case "cond":
            return lambda x, y: lax.cond(x[0] > 0.0, run, lambda x, y: jnp.cos(x) * y, x, y)
        case "jit":
            return lambda x, y: jax.jit(run)(jnp.sin(x), y) + jax.jit(run)(x, y * y)
        case "checkpoint":
            return jax.checkpoint(run)
        case "while":
            return lambda x, y: lax.fori_loop(0, 2, lambda i, x: x + run(TABLE, y), x)
    return run


@pytest.mark.parametrize("places", [(0,), (3, 5), range(7)], ids=str)
def test_of_more_cases_than_can_be_stored_the_one_that_covers_them_is_taken(places: Any) -> None:
    given = [X + place for place in range(7)]
    loaded = brainir.loads(brainir.dumps(brainir.lower(many, *given)))
    module: dict[str, Any] = {}
    exec(brainir.to_source(loaded), module)
    wanted = jax.jit(jax.jacfwd(many, tuple(places)))(*given)
    for ours in (brainir.to_callable(loaded), module[loaded.entry]):
        assert_same_bits(jax.tree.leaves(jax.jit(jax.jacfwd(ours, tuple(places)))(*given)), jax.tree.leaves(wanted))
    assert brainir.fingerprint(brainir.lower(brainir.to_callable(loaded), *given)) == brainir.fingerprint(loaded)


@pytest.mark.parametrize("way", ["alone", "scan", "cond", "jit", "checkpoint"])
@pytest.mark.parametrize("form", ["callable", "source"])
def test_a_rule_that_refuses_what_is_constant_in_the_program_is_stored_for_what_is_not(way: str, form: str) -> None:
    fn = guarded_in(way)
    loaded = brainir.loads(brainir.dumps(brainir.lower(fn, X, Y)))
    module: dict[str, Any] = {}
    exec(brainir.to_source(loaded), module)
    ours = brainir.to_callable(loaded) if form == "callable" else module[loaded.entry]
    for along in (0, 1, (0, 1)):
        got, wanted = (jax.jit(jax.grad(lambda *a, f=f: f(*a).sum(), along))(X, Y) for f in (ours, fn))
        assert_same_bits(jax.tree.leaves(got), jax.tree.leaves(wanted))
    assert brainir.fingerprint(brainir.lower(ours, X, Y)) == brainir.fingerprint(loaded)


def test_a_rule_in_a_while_loop_is_stored_for_what_the_loop_can_perturb() -> None:
    program = brainir.lower(guarded_in("while"), X, Y)
    (node,) = (node for function in program.functions for node in function.nodes if node.op == "custom_vjp")
    assert node.covering
    (case,) = node.cases
    assert case.perturbed == (1, 4)


def test_a_rule_that_refuses_an_operand_that_nothing_moves_says_so() -> None:
    @jax.custom_jvp
    def still(x: Any) -> Any:
        return jnp.sin(x)

    def rule(primals: Any, tangents: Any) -> tuple[Any, Any]:
        assert isinstance(tangents[0], SymbolicZero)
        return still(*primals), tangents[0]

    still.defjvp(rule, symbolic_zeros=True)
    program = brainir.lower(lambda x: still(jnp.ones(3)) + x, X)
    (node,) = (node for node in program.entry_function.nodes if node.op == "no_derivative")
    assert "refuses some operands" in node.reason


def test_the_verifier_wants_one_case_that_covers_the_others() -> None:
    program = brainir.lower(pushed, X, Y)
    (node,) = program.entry_function.nodes
    entry = program.entry_function.replace(nodes=(node.model_copy(update={"covering": True}),))
    functions = (entry, *(function for function in program.functions if function.name != program.entry))
    with pytest.raises(VerificationError, match="one case that covers the others, not 4"):
        brainir.verify(program.replace(functions=functions))


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

"""Primitives of other packages whose rules refuse some operands, or that JAX transposes by a rule of their own."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.interpreters import ad, batching, mlir

import brainir
from brainir.ir.errors import LoweringError
from tests.compare import JAX, assert_same_bits

MATRIX = jnp.array([[4.0, 1.0, 0.5], [0.3, 5.0, -1.0], [0.2, 0.7, 6.0]])
TALL = jnp.array([[0.5, 0.1], [0.3, -0.4], [0.2, 0.3]])
X = jnp.array([0.3, -1.2, 2.0])


def primitive(name: str, compute: Callable[..., Any]) -> Any:
    """Return a primitive with several results, with all of its rules but those for derivatives."""
    made = jax.extend.core.Primitive(name)
    made.multiple_results = True
    made.def_impl(compute)
    made.def_abstract_eval(
        lambda *avals, **params: [
            jax.core.ShapedArray(found.shape, found.dtype)
            for found in jax.eval_shape(functools.partial(compute, **params), *avals)
        ]
    )
    mlir.register_lowering(made, mlir.lower_fun(compute, multiple_results=True))

    def batched(args: Any, axes: Any, **params: Any) -> Any:
        results = jax.vmap(functools.partial(compute, **params), axes)(*args)
        return results, [0] * len(results)

    batching.primitive_batchers[made] = batched
    return made


def iterated(matrix: Any, state: Any, b: Any) -> Any:
    """Solve by Jacobi's method in a loop of unknown length, which JAX cannot transpose; count the rounds."""

    def advance(carry: Any) -> Any:
        x, count = carry
        return (b - matrix @ x + state * x) / state, count + 1

    return lax.while_loop(lambda carry: carry[1] < 60, advance, (jnp.zeros_like(b), jnp.int32(0)))


def summed(weights: Any, x: Any) -> Any:
    """Multiply by a matrix in a loop, into a result of another shape than the operand."""
    rows = jnp.int32(weights.shape[0])

    def advance(carry: Any) -> Any:
        total, row = carry
        return total + weights[row] * x[row], row + 1

    return (lax.while_loop(lambda carry: carry[1] < rows, advance, (jnp.zeros(weights.shape[1:]), jnp.int32(0)))[0],)


solve_p = primitive("brainir_tests_solve", iterated)
product_p = primitive("brainir_tests_product", summed)


def solve_jvp(primals: Any, tangents: Any) -> Any:
    (matrix, state, b), (dmatrix, dstate, db) = primals, tangents
    assert isinstance(dstate, ad.Zero), "the state is not for derivatives"
    x, count = solve_p.bind(matrix, state, b)
    moved = -ad.instantiate_zeros(dmatrix) @ x + ad.instantiate_zeros(db)
    return [x, count], [solve_p.bind(matrix, state, moved)[0], ad.Zero(jax.typeof(count).to_tangent_aval())]


def product_jvp(primals: Any, tangents: Any) -> Any:
    (weights, x), (dweights, dx) = primals, tangents
    assert isinstance(dweights, ad.Zero), "the weights are constant"
    return product_p.bind(weights, x), product_p.bind(weights, ad.instantiate_zeros(dx))


ad.primitive_jvps[solve_p] = solve_jvp
ad.primitive_transposes[solve_p] = lambda cts, matrix, state, b: [None, None, solve_p.bind(matrix.T, state, cts[0])[0]]
ad.primitive_jvps[product_p] = product_jvp
ad.primitive_transposes[product_p] = lambda cts, weights, x: [None, weights @ ad.instantiate_zeros(cts[0])]


unruly_p = primitive("brainir_tests_unruly", summed)
ad.primitive_jvps[unruly_p] = lambda primals, tangents: (
    unruly_p.bind(*primals),
    unruly_p.bind(primals[0], tangents[1]),
)
ad.primitive_transposes[unruly_p] = lambda cts, weights, x: [None, x.dtype]


fresh_p = primitive("brainir_tests_fresh", lambda x, tag: (jnp.exp(x) + 0.25,))


class Tag:
    """A parameter that equals itself only."""

    def __init__(self) -> None:
        self.own = [self]

    def again(self) -> "Tag":
        return Tag()


def counting(number: int) -> Any:
    """Return a parameter that is a new object each time, and holds what it is."""

    def again() -> Any:
        return counting(number)

    jaxpr = jax.make_jaxpr(lambda x: jax.nn.relu(number * x) + MATRIX[0])(jnp.float32(0))
    return Held(jax.tree_util.Partial(again, jaxpr, {"number": float(number)}))


@jax.tree_util.register_pytree_node_class
class Held:
    def __init__(self, held: Any) -> None:
        self.held = held

    def again(self) -> Any:
        return self.held.func()

    def tree_flatten(self) -> Any:
        return (self.held,), "held"

    @classmethod
    def tree_unflatten(cls, _: Any, children: Any) -> Any:
        return cls(*children)


def fresh_jvp(primals: Any, tangents: Any, tag: Any) -> Any:
    """Use the primitive with a parameter that is another one in every order of derivative."""
    return fresh_p.bind(*primals, tag=tag), [tangents[0] * fresh_p.bind(*primals, tag=tag.again())[0]]


ad.primitive_jvps[fresh_p] = fresh_jvp


class Power:
    """A parameter that is no plain number, and holds one."""

    def __init__(self, exponent: int) -> None:
        self.exponent = exponent


growing_p = primitive("brainir_tests_growing", lambda x, power: (jnp.sin(x),))


def growing_jvp(primals: Any, tangents: Any, power: Power) -> Any:
    """Multiply by a higher power in every order of derivative, in a branch."""
    (x,) = primals
    factor = lax.cond(x > 0, lambda x: lax.integer_pow(x, power.exponent), lambda x: x, x)
    following = growing_p.bind(x, power=Power(power.exponent + 1))[0]
    return growing_p.bind(x, power=power), [tangents[0] * factor * following]


ad.primitive_jvps[growing_p] = growing_jvp


skewed_p = primitive("brainir_tests_skewed", lambda weights, x: (weights @ x,))
joined_p = primitive("brainir_tests_joined", lambda x, y: (x + 2.0 * y,))


def skewed_jvp(primals: Any, tangents: Any) -> Any:
    (weights, x), (dw, dx) = primals, map(ad.instantiate_zeros, tangents)
    return skewed_p.bind(weights, x), [skewed_p.bind(dw, x)[0] + skewed_p.bind(weights, dx)[0]]


def skewed_transpose(cts: Any, weights: Any, x: Any) -> Any:
    """Give something else than the transpose, as for a spike that is passed back as if it were a number."""
    if ad.is_undefined_primal(weights):
        return jnp.outer(cts[0], jnp.sign(x)), None
    return None, 3.0 * (jnp.abs(weights).T @ cts[0])


def joined_jvp(primals: Any, tangents: Any) -> Any:
    return joined_p.bind(*primals), joined_p.bind(*map(ad.instantiate_zeros, tangents))


ad.primitive_jvps[skewed_p], ad.primitive_transposes[skewed_p] = skewed_jvp, skewed_transpose
ad.primitive_jvps[joined_p] = joined_jvp
ad.primitive_transposes[joined_p] = lambda cts, x, y: (
    5.0 * cts[0] if ad.is_undefined_primal(x) else None,
    7.0 * cts[0] if ad.is_undefined_primal(y) else None,
)


plain_p = primitive("brainir_tests_plain", lambda weights, x: (weights @ x,))


def plain_jvp(primals: Any, tangents: Any) -> Any:
    (weights, x), (dw, dx) = primals, map(ad.instantiate_zeros, tangents)
    return plain_p.bind(weights, x), [plain_p.bind(dw, x)[0] + plain_p.bind(weights, dx)[0]]


def plain_transpose(cts: Any, weights: Any, x: Any) -> Any:
    return (
        (jnp.outer(cts[0], x), None) if ad.is_undefined_primal(weights) else (None, plain_p.bind(weights.T, cts[0])[0])
    )


ad.primitive_jvps[plain_p], ad.primitive_transposes[plain_p] = plain_jvp, plain_transpose


def refused_transpose(cts: Any, x: Any) -> Any:
    raise RuntimeError("this cannot be differentiated backwards")


forward_p = primitive("brainir_tests_forward", lambda x: (2.0 * x,))
ad.primitive_jvps[forward_p] = lambda primals, tangents: (forward_p.bind(*primals), forward_p.bind(*tangents))
ad.primitive_transposes[forward_p] = refused_transpose


def solved(scale: Any, b: Any) -> Any:
    matrix = scale * MATRIX
    return jnp.sin(solve_p.bind(matrix, lax.stop_gradient(jnp.diagonal(matrix)), b)[0])


def multiplied(x: Any, y: Any) -> Any:
    return jnp.sin(product_p.bind(TALL, x * y)[0])


DERIVATIVES: dict[str, Callable[..., Any]] = {
    "forward": lambda f: jax.jacfwd(f, (0, 1)),
    "along both": lambda f: lambda *a: jax.jvp(f, a, a),
    "reverse": lambda f: jax.grad(lambda *a: jnp.sum(f(*a)), (0, 1)),
    "in a batch": lambda f: jax.vmap(jax.grad(lambda *a: jnp.sum(f(*a)), (0, 1))),
    "second": lambda f: jax.jacfwd(jax.jacfwd(f, (0, 1)), (0, 1)),
}
if jax.__version_info__ >= (0, 10):
    # JAX before cannot differentiate a loop of which it has evaluated a part, but for one that it traced itself.
    DERIVATIVES |= {
        "reverse, then forward": lambda f: jax.jacfwd(jax.grad(lambda *a: jnp.sum(f(*a)), (0, 1)), (0, 1)),
        "reverse twice": lambda f: jax.jacrev(jax.grad(lambda *a: jnp.sum(f(*a)), (0, 1)), (0, 1)),
        "reverse, then forward in a batch": lambda f: jax.vmap(
            jax.jacfwd(jax.grad(lambda *a: jnp.sum(f(*a)), (0, 1)), (0, 1))
        ),
    }


def check(fn: Callable[..., Any], args: Any, derivative: str, form: str) -> None:
    """Compare a derivative of what comes back from a file with that of the original."""
    loaded = brainir.loads(brainir.dumps(brainir.lower(fn, *args)))
    module: dict[str, Any] = {}
    exec(brainir.to_source(loaded), module)
    ours = brainir.to_callable(loaded) if form == "callable" else module[loaded.entry]
    batch = [jnp.stack([each, 2.0 * each]) for each in args] if derivative.endswith("in a batch") else args
    got, wanted = (jax.jit(DERIVATIVES[derivative](f))(*batch) for f in (ours, fn))
    for mine, its in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(mine, its, rtol=1e-5, atol=1e-6)
    if form == "callable":
        assert brainir.fingerprint(brainir.lower(ours, *args)) == brainir.fingerprint(loaded)


@pytest.mark.parametrize("derivative", DERIVATIVES)
@pytest.mark.parametrize("form", ["callable", "source"])
def test_a_rule_that_refuses_some_operands_is_stored_for_the_others(derivative: str, form: str) -> None:
    check(solved, (jnp.array([1.5, -0.5, 2.0]), X), derivative, form)


@pytest.mark.parametrize("derivative", [name for name in DERIVATIVES if name != "reverse twice"])
@pytest.mark.parametrize("form", ["callable", "source"])
def test_a_transpose_is_that_of_the_rule_even_if_it_is_another_one(derivative: str, form: str) -> None:
    def fn(weights: Any, x: Any) -> Any:
        return jnp.sin(skewed_p.bind(weights, jnp.tanh(x))[0])

    check(fn, (TALL.T, X), derivative, form)


def test_a_gradient_by_a_rule_that_is_another_one_is_lowered_itself() -> None:
    gradient = jax.grad(lambda w, x: jnp.sum(jnp.sin(skewed_p.bind(w, x)[0])), (0, 1))
    ours = brainir.to_callable(brainir.lower(gradient, TALL.T, X))
    for got, wanted in zip(jax.jit(ours)(TALL.T, X), jax.jit(gradient)(TALL.T, X), strict=True):
        np.testing.assert_array_equal(got, wanted)


def test_what_was_transposed_by_a_rule_is_differentiated_again() -> None:
    def fn(weights: Any, x: Any) -> Any:
        return jnp.sum(jnp.sin(plain_p.bind(weights, jnp.tanh(plain_p.bind(weights, x)[0]))[0]))

    def product(f: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args: jax.jvp(jax.grad(f, (0, 1)), args, args)[1]

    ours = brainir.to_callable(brainir.lower(fn, MATRIX, X))
    for got, wanted in zip(*(jax.jit(product(f))(MATRIX, X) for f in (ours, fn)), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("along", [0, 1, (0, 1)])
def test_an_operation_in_two_operands_is_transposed_along_those_that_move(along: Any) -> None:
    def fn(x: Any, y: Any) -> Any:
        return jnp.sum(jnp.sin(joined_p.bind(x, y)[0]))

    ours = brainir.to_callable(brainir.lower(fn, X, 2.0 * X))
    got, wanted = (jax.jit(jax.grad(f, along))(X, 2.0 * X) for f in (ours, fn))
    for mine, its in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("error", [AssertionError, KeyError, TypeError, ValueError])
def test_a_rule_that_fails_leaves_the_values_of_its_primitive(error: type[Exception]) -> None:
    failing_p = primitive(f"brainir_tests_{error.__name__}", lambda x: (2.0 * x,))

    def failing_jvp(primals: Any, tangents: Any) -> Any:
        raise error

    ad.primitive_jvps[failing_p] = failing_jvp
    ours = brainir.to_callable(brainir.lower(lambda x: failing_p.bind(x)[0], X))
    np.testing.assert_array_equal(ours(X), 2.0 * X)
    with pytest.raises(NotImplementedError, match=error.__name__):
        jax.jvp(ours, (X,), (X,))


def test_a_rule_that_only_refuses_to_transpose_is_left_out() -> None:
    def fn(x: Any) -> Any:
        return jnp.sin(forward_p.bind(x)[0])

    ours = brainir.to_callable(brainir.lower(fn, X))
    np.testing.assert_array_equal(jax.jacfwd(ours)(X), jax.jacfwd(fn)(X))
    np.testing.assert_array_equal(jax.jacrev(ours)(X), jax.jacfwd(fn)(X))


@pytest.mark.parametrize("derivative", ["along both", "reverse", "in a batch"])
def test_what_jax_cannot_transpose_is_transposed_by_the_rule_of_the_primitive(derivative: str) -> None:
    check(multiplied, (X, 2.0 * X), derivative, "callable")


def test_what_neither_jax_nor_the_rule_of_the_primitive_transposes_has_tangents() -> None:
    def fn(x: Any) -> Any:
        return jnp.sin(unruly_p.bind(TALL, x)[0])

    ours = brainir.to_callable(brainir.lower(fn, X))
    np.testing.assert_allclose(jax.jacfwd(ours)(X), jax.jacfwd(fn)(X), rtol=1e-6)
    with pytest.raises(ValueError, match="Reverse-mode differentiation does not work"):
        jax.grad(lambda x: ours(x).sum())(X)


def test_an_operand_for_which_no_rule_was_stored_has_no_derivative() -> None:
    program = brainir.lower(lambda weights, x: product_p.bind(weights, x)[0], TALL, X)
    with pytest.raises(Exception, match="weights are constant"):
        jax.grad(lambda w: brainir.to_callable(program)(w, X).sum())(TALL)


def nth(fn: Callable[..., Any], order: int) -> Any:
    return functools.reduce(lambda f, _: jax.jacfwd(f), range(order), fn)(0.3)


def test_a_rule_refers_to_itself_where_new_parameters_hold_what_those_before_held() -> None:
    def fn(x: Any) -> Any:
        return fresh_p.bind(x, tag=counting(2))[0]

    program = brainir.lower(fn, jnp.float32(0.3))
    assert len(program.functions) == 3  # the entry, what it computes and its rule
    ours = brainir.to_callable(brainir.loads(brainir.dumps(program)))
    assert brainir.fingerprint(brainir.lower(ours, jnp.float32(0.3))) == brainir.fingerprint(program)
    for order in range(6):
        np.testing.assert_allclose(nth(ours, order), nth(fn, order), rtol=1e-6)


def test_a_rule_does_not_refer_to_itself_where_new_parameters_only_look_alike() -> None:
    """Parameters that equal only themselves may be counted by the rule, or looked up in a table."""
    seen: list[Tag] = []

    def once_more(tag: Tag) -> Tag:
        seen.append(tag)
        return Tag()

    def steep_jvp(primals: Any, tangents: Any, tag: Tag) -> Any:
        factor = 1.0 if len(seen) < 8 else 7.0
        return steep_p.bind(*primals, tag=tag), [factor * tangents[0] * steep_p.bind(*primals, tag=once_more(tag))[0]]

    steep_p = primitive("brainir_tests_steep", lambda x, tag: (jnp.exp(x) + 0.25,))
    ad.primitive_jvps[steep_p] = steep_jvp
    program = brainir.lower(lambda x: steep_p.bind(x, tag=Tag())[0], jnp.float32(0.3))
    ours = brainir.to_callable(program)
    assert brainir.fingerprint(brainir.lower(ours, jnp.float32(0.3))) == brainir.fingerprint(program)
    np.testing.assert_allclose(nth(ours, 3), np.exp(0.3) + 0.25, rtol=1e-6)
    with pytest.raises(NotImplementedError, match="order 4 and above are not stored"):
        nth(ours, 4)


def test_a_linear_rule_with_new_parameters_in_every_order_refers_to_itself_in_its_tangents() -> None:
    """Tangents run another function than operands, because there the primitive is transposed by its own rule."""
    tripled_p = primitive("brainir_tests_tripled", lambda x, tag: [3 * x])
    ad.primitive_jvps[tripled_p] = lambda primals, tangents, tag: (
        tripled_p.bind(*primals, tag=tag.again()),
        tripled_p.bind(*map(ad.instantiate_zeros, tangents), tag=tag.again()),
    )
    ad.primitive_transposes[tripled_p] = lambda cotangents, x, tag: tripled_p.bind(*cotangents, tag=tag.again())

    def fn(x: Any) -> Any:
        return jnp.sin(tripled_p.bind(x, tag=counting(3))[0])

    program = brainir.lower(fn, jnp.float32(0.3))
    assert [node.op for function in program.functions for node in function.nodes if node.op == "no_derivative"] == []
    ours = brainir.to_callable(program)
    assert brainir.fingerprint(brainir.lower(ours, jnp.float32(0.3))) == brainir.fingerprint(program)
    for order in range(6):
        np.testing.assert_allclose(nth(ours, order), nth(fn, order), rtol=1e-6)
    np.testing.assert_allclose(jax.grad(ours)(0.3), jax.grad(fn)(0.3), rtol=1e-6)


def test_a_rule_with_other_numbers_in_every_order_does_not_refer_to_itself() -> None:
    def fn(x: Any) -> Any:
        return growing_p.bind(x, power=Power(2))[0]

    ours = brainir.to_callable(brainir.lower(fn, jnp.float32(0.7)))
    for order in range(4):
        got, wanted = (functools.reduce(lambda f, _: jax.grad(f), range(order), f)(0.7) for f in (ours, fn))
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    with pytest.raises(NotImplementedError, match="order 4 and above are not stored"):
        jax.grad(jax.grad(jax.grad(jax.grad(ours))))(0.7)


class Note:
    """A parameter that says nothing of what it stands for."""


def test_what_cannot_be_lowered_is_said_though_it_was_met_where_that_does_not_matter() -> None:
    """The implementation is differentiated to compare with the rule; that holds a primitive that nothing computes."""
    unknown = jax.extend.core.Primitive("brainir_tests_unknown")
    unknown.def_abstract_eval(lambda x: x)
    inner = jax.jit(lambda x: unknown.bind(x) * 1)
    kept = jax.extend.core.Primitive("brainir_tests_kept")
    kept.def_impl(jnp.sin)
    kept.def_abstract_eval(lambda x: x)
    ad.primitive_jvps[kept] = lambda primals, tangents: (kept.bind(*primals), inner(*tangents))
    outer = jax.extend.core.Primitive("brainir_tests_outer")
    outer.def_impl(lambda x, note: kept.bind(x) * 1)
    outer.def_abstract_eval(lambda x, note: x)
    ad.primitive_jvps[outer] = lambda primals, tangents, note: (kept.bind(*primals), tangents[0])

    def run(x: Any) -> Any:
        # Rules with a parameter that cannot be looked into are lowered with the program.
        return outer.bind(x, note=Note())

    for _ in range(2):
        with pytest.raises(brainir.BrainIRError, match="brainir_tests_unknown: brainir has no rule"):
            brainir.lower(lambda x: run(x) + inner(x), X, keep=["brainir_tests_kept"])
    brainir.lower(run, X, keep=["brainir_tests_kept"])


def test_functions_of_a_rule_that_is_not_stored_do_not_name_others() -> None:
    inner = jax.jit(lambda x: x * x)
    outer = jax.extend.core.Primitive("brainir_tests_derived")
    outer.def_impl(lambda x, note: inner(x))
    outer.def_abstract_eval(lambda x, note: x)
    ad.primitive_jvps[outer] = lambda primals, tangents, note: jax.jvp(inner, primals, tangents)

    @jax.jit
    def own(x: Any, t: Any) -> Any:
        return x * x, ad.add_jaxvals(t * x, x * t)

    def run(x: Any) -> Any:
        return outer.bind(x, note=Note()), own(x, 2 * x)

    first = brainir.lower(run, X)
    assert "own" in [function.name for function in first.functions]
    brainir.lower(lambda x: own(x, x), X)
    assert brainir.dumps(brainir.lower(run, X)) == brainir.dumps(first)


def test_primitive_of_operands_without_tangents_is_a_call_whatever_its_rule_says() -> None:
    count = primitive("brainir_tests_count", lambda mask: [jnp.sum(mask, dtype=jnp.int32)])

    def refuse(primals: Any, tangents: Any) -> Any:
        raise RuntimeError("there is nothing to differentiate")

    ad.primitive_jvps[count] = refuse

    def fn(x: Any) -> Any:
        return jnp.sum(jnp.sin(x)) * count.bind(x > 0)[0]

    program = brainir.loads(brainir.dumps(brainir.lower(fn, X)))
    assert {node.op for node in program.entry_function.nodes}.isdisjoint({"custom_jvp", "no_derivative"})
    ours = brainir.to_callable(program)
    assert np.array_equal(jax.grad(ours)(X), jax.grad(fn)(X))
    assert np.array_equal(jax.vmap(jax.jacfwd(ours))(jnp.stack([X, -X])), jax.vmap(jax.jacfwd(fn))(jnp.stack([X, -X])))


def test_a_primitive_that_computes_with_itself_in_another_way_is_lowered() -> None:
    power_p = primitive("brainir_tests_power", lambda x, n: [x * power_p.bind(x, n=n - 1)[0] if n else jnp.cos(x)])
    ad.primitive_jvps[power_p] = lambda primals, tangents, n: (
        power_p.bind(*primals, n=n),
        [tangents[0] * (n + 1) * power_p.bind(*primals, n=n)[0]],
    )

    def fn(x: Any) -> Any:
        return power_p.bind(x, n=2)[0]

    program = brainir.lower(fn, jnp.float32(0.3))
    ours = brainir.to_callable(brainir.loads(brainir.dumps(program)))
    assert brainir.fingerprint(brainir.lower(ours, jnp.float32(0.3))) == brainir.fingerprint(program)
    for order in range(4):
        np.testing.assert_allclose(nth(ours, order), 3.0**order * 0.09 * np.cos(0.3), rtol=1e-6)


@pytest.mark.parametrize("again", [lambda tag: tag, lambda tag: Tag()])
def test_a_primitive_that_computes_with_itself_without_end_is_refused(again: Callable[[Tag], Tag]) -> None:
    endless_p = jax.extend.core.Primitive("brainir_tests_endless")
    endless_p.def_impl(lambda x, tag: 2 * endless_p.bind(x, tag=again(tag)))
    endless_p.def_abstract_eval(lambda x, tag: x)
    with pytest.raises(brainir.BrainIRError, match="what computes it cannot be traced"):
        brainir.lower(lambda x: endless_p.bind(x, tag=Tag()), X)


def test_results_have_the_types_that_the_primitive_says() -> None:
    """JAX traces by those; what computes the primitive may give a number of weak type where that says otherwise."""
    weak_p = jax.extend.core.Primitive("brainir_tests_weak")
    weak_p.def_impl(lambda x: lax.while_loop(lambda n: n < 3, lambda n: n + 1, 0))
    weak_p.def_abstract_eval(lambda x: jax.core.ShapedArray((), jnp.int32))

    def fn(x: Any) -> Any:
        return weak_p.bind(x) * jnp.float16(0.5)

    program = brainir.lower(fn, X)
    ours = brainir.to_callable(program)
    assert jax.eval_shape(ours, X) == jax.eval_shape(fn, X)
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)


if JAX >= (0, 9):
    from jax.experimental import hijax

    Base: Any = hijax.VJPHiPrimitive if hasattr(hijax, "VJPHiPrimitive") else hijax.HiPrim

    class Scaled(Base):
        """Two arrays and a number multiplied, with a rule for cotangents that is not the true derivative."""

        def __init__(self, pair: Any, number: Any) -> None:
            self.in_avals, self.out_aval, self.params = (pair, number), [pair["a"]], {}
            super().__init__()

        def expand(self, pair: Any, number: Any) -> Any:
            return [pair["a"] * pair["b"] * number]

        def vjp_fwd(self, perturbed: Any, pair: Any, number: Any) -> Any:
            return self.expand(pair, number), (pair, number)

        def vjp_bwd_retval(self, held: Any, cotangents: Any) -> Any:
            pair, number = held
            (ct,) = cotangents
            nothing = np.zeros((), jax.dtypes.float0)
            return {"a": ct * pair["b"] * 2, "b": ct * pair["a"] * number * 5}, nothing

    class Accumulating(Scaled):
        vjp_bwd_retval = Base.vjp_bwd_retval

        def vjp_bwd(self, held: Any, cotangents: Any, *accumulators: Any) -> None:
            raise NotImplementedError

    def scaled(kind: Any, a: Any, b: Any) -> Any:
        number = jnp.int32(3)
        return kind({"a": jax.typeof(a), "b": jax.typeof(b)}, jax.typeof(number))({"a": a, "b": b}, number)[0]

    def test_the_cotangents_of_a_primitive_of_hijax_are_those_of_its_rule() -> None:
        def loop(a: Any, b: Any) -> Any:
            return lax.scan(lambda c, y: (scaled(Scaled, c, y), c), a, jnp.stack([b, a]))

        def total(fn: Callable[..., Any]) -> Callable[..., Any]:
            return jax.jit(jax.grad(lambda a, b: sum(jnp.sum(leaf) for leaf in jax.tree.leaves(fn(a, b))), (0, 1)))

        for fn in (functools.partial(scaled, Scaled), loop):
            program = brainir.lower(fn, X, X + 1)
            ours = brainir.to_callable(brainir.loads(brainir.dumps(program)))
            assert_same_bits(jax.jit(ours)(X, X + 1), jax.jit(fn)(X, X + 1))
            assert_same_bits(total(ours)(X, X + 1), total(fn)(X, X + 1))
            assert brainir.fingerprint(brainir.lower(ours, X, X + 1)) == brainir.fingerprint(program)

    def test_a_primitive_of_hijax_that_adds_up_cotangents_in_place_is_refused() -> None:
        with pytest.raises(LoweringError, match="Accumulating has a rule vjp_bwd; give it a vjp_bwd_retval"):
            brainir.lower(functools.partial(scaled, Accumulating), X, X)

    def test_a_value_of_a_type_of_hijax_is_no_constant() -> None:
        class Several:
            pass

        @dataclasses.dataclass(frozen=True)
        class SeveralType(hijax.HiType):
            def lo_ty(self) -> Any:
                return [jax.core.ShapedArray((), np.dtype("float32"))]

            def lower_val(self, value: Any) -> Any:
                return [jnp.float32(1)]

            def to_tangent_aval(self) -> Any:
                return self

        hijax.register_hitype(Several, lambda value: SeveralType())
        held = Several()

        class Gathering(Base):
            def __init__(self, kind: Any) -> None:
                self.in_avals, self.out_aval, self.params = (kind,), SeveralType(), {}
                super().__init__()

            def expand(self, array: Any) -> Any:
                return held

        class Spreading(Base):
            def __init__(self, kind: Any) -> None:
                self.in_avals, self.out_aval, self.params = (SeveralType(),), kind, {}
                super().__init__()

            def expand(self, several: Any) -> Any:
                return jnp.zeros(4)

        with pytest.raises(LoweringError, match=r"a value of the type .*SeveralType.* of the experimental hijax"):
            brainir.lower(lambda x: lax.scan(lambda c, y: (c, y + Spreading(jax.typeof(X))(c)), held, x)[1], X)
        with pytest.raises(LoweringError, match=r"call_hi_primitive: a value of the type .*SeveralType.* of the exp"):
            brainir.lower(lambda x: Spreading(jax.typeof(X))(Gathering(jax.typeof(X))(x)), X)
        assert not brainir.lower(lambda x: (Gathering(jax.typeof(X))(x), x)[1], X).entry_function.nodes

"""Derivative rules are part of a program: every derivative of the regenerated function is the original's."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import brainir
from brainir.ir.canonical import function_keys
from brainir.ir.errors import LoweringError
from brainir.ir.program import Program
from tests.compare import assert_same_bits, assert_same_function
from tests.derivative_programs import DERIVATIVE_PROGRAMS

X = jnp.array([-0.8, -0.1, 0.2, 1.3])
TABLE = jnp.array([0.5, -2.0, 3.0, 0.7])


def round_trip(program: Program) -> Callable[..., Any]:
    """Return the function that comes back from the JSON of a program."""
    loaded = brainir.loads(brainir.dumps(program))
    assert loaded == program
    return brainir.to_callable(loaded)


# Functions whose derivative is not that of what they compute


@jax.custom_jvp
def wrong(x: Any) -> Any:
    return jnp.sin(x)


@wrong.defjvp
def wrong_jvp(primals: Any, tangents: Any) -> Any:
    return wrong(*primals), 7.0 * wrong(*primals) * tangents[0]


@jax.custom_jvp
def closes(x: Any) -> Any:
    return x * TABLE


@closes.defjvp
def closes_jvp(primals: Any, tangents: Any) -> Any:
    (x,) = primals
    return closes(x), jnp.cos(TABLE * x) * TABLE * tangents[0]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0, 2))
def applied(function: Callable[..., Any], x: Any, power: int) -> Any:
    return function(x) ** power


@applied.defjvp
def applied_jvp(function: Callable[..., Any], power: int, primals: Any, tangents: Any) -> Any:
    (x,) = primals
    return applied(function, x, power), power * 10.0 * function(x) * tangents[0]


@jax.custom_jvp
def counted(x: Any, n: Any) -> Any:
    return x * n, n + 1


@counted.defjvp
def counted_jvp(primals: Any, tangents: Any) -> Any:
    (x, n), (dx, _) = primals, tangents
    y, m = counted(x, n)
    return (y, m), (dx * x * 3, np.zeros(jnp.shape(m), jax.dtypes.float0))


@jax.custom_jvp
def picked(x: Any, places: Any) -> Any:
    return jnp.sin(x)[places]


picked.defjvp(lambda primals, tangents: jax.jvp(lambda x, places: x[places] ** 2, primals, tangents))


def root(x: Any) -> Any:
    def solve(f: Callable[[Any], Any], guess: Any) -> Any:
        return lax.fori_loop(0, 12, lambda _, v: v - f(v) / (3 * v * v + 1), guess)

    places = jnp.argsort(x)
    return lax.custom_root(lambda v: v**3 + v - x[places], x, solve, lambda g, y: y / g(jnp.ones_like(y)))


@jax.custom_vjp
def backward(x: Any, y: Any) -> Any:
    return jnp.sin(x) * y, y


backward.defvjp(
    lambda x, y: (backward(x, y), (x, y)),
    lambda xy, ct: (5.0 * ct[0] * jnp.tanh(xy[0]), ct[1] + xy[1]),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def clipped(x: Any, limit: float) -> Any:
    return x * x


clipped.defvjp(
    lambda x, limit: (x * x, x), lambda limit, x, ct: (jnp.clip(2 * x * ct, -limit, limit) * TABLE,)
)  # fmt: skip


@jax.custom_vjp
def backward_of_closure(x: Any) -> Any:
    return x * TABLE


backward_of_closure.defvjp(lambda x: (x * TABLE, None), lambda _, ct: (ct * jnp.sin(TABLE),))


@jax.custom_jvp
def linearized(x: Any, n: Any) -> Any:
    return jnp.sin(x) * n, n


@linearized.defjvp
def linearized_jvp(primals: Any, tangents: Any) -> Any:
    (x, n), (dx, dn) = primals, tangents

    def other(x: Any) -> Any:
        return lax.scan(lambda v, w: (clipped(v, 0.7) + w, clipped(w, 0.5)), x, jnp.stack([x, -x]))[0]

    return linearized(x, n), (jax.linearize(other, x)[1](dx) * n, dn)


def spiking(x: Any) -> Any:
    def advance(v: Any, current: Any) -> Any:
        v = 0.9 * v + current
        return v - wrong(v) * closes(v), jax.nn.relu(v)

    return lax.scan(advance, x, jnp.stack([x, 2 * x, -x]))


def spiking_backward(x: Any) -> Any:
    def advance(v: Any, current: Any) -> Any:
        return clipped(v, 0.4) + current, backward_of_closure(v)

    return lax.scan(advance, x, jnp.stack([x, 2 * x, -x]))


FORWARD: dict[str, Callable[..., Any]] = {
    "relu": jax.nn.relu,
    "softplus": jax.nn.softplus,
    "logsumexp": jax.nn.logsumexp,
    "silu": jax.nn.silu,
    "wrong rule": wrong,
    "rule that closes over an array": closes,
    "arguments without derivative": lambda x: applied(jnp.sin, x, 2) + applied(jnp.cos, x, 3),
    "integer operands and results": lambda x: counted(x, 3),
    "rule that pushes the tangents of integers on": lambda x: picked(x, jnp.argsort(x)),
    "root of a function that holds integers": root,
    "rules in a scan": spiking,
    "rules in rules": lambda x: wrong(wrong(x)) * jax.jit(closes)(x),
    "rule in a cond": lambda x: lax.cond(x[0] < 0, wrong, closes, x),
    "derivative inside": lambda x: jax.grad(lambda v: wrong(v).sum())(x) * x,
}
BACKWARD: dict[str, Callable[..., Any]] = {
    "wrong rule": lambda x: backward(x, x + 1),
    "arguments without derivative": lambda x: clipped(x, 0.4),
    "rule that closes over an array": backward_of_closure,
    "rules in a scan": spiking_backward,
    "JVP rule that linearizes what has backward rules": lambda x: linearized(x, 3)[0],
    "in jit": lambda x: jax.jit(lambda y: clipped(y, 0.3) * backward(y, x)[0])(x),
}


def scalar(fn: Callable[..., Any]) -> Callable[[Any], Any]:
    def total(x: Any) -> Any:
        leaves = [leaf for leaf in jax.tree.leaves(fn(x)) if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact)]
        return sum(jnp.sum(jnp.cos(leaf)) for leaf in leaves)

    return total


def third(fn: Callable[..., Any]) -> Callable[..., Any]:
    for _ in range(2):
        fn = scalar(jax.grad(scalar(fn)))
    return jax.grad(fn)


REVERSE: dict[str, Callable[[Callable[..., Any]], Callable[..., Any]]] = {
    "value": lambda fn: fn,
    "vjp": lambda fn: lambda x: jax.vjp(scalar(fn), x)[1](jnp.float32(0.3)),
    "second derivative": lambda fn: jax.grad(scalar(jax.grad(scalar(fn)))),
    "third derivative": third,
    "vmap": lambda fn: lambda x: jax.vmap(fn)(jnp.stack([x, -x, 2 * x])),
    "vmap of gradient": lambda fn: lambda x: jax.vmap(jax.grad(scalar(fn)))(jnp.stack([x, -x])),
}
BOTH = {
    **REVERSE,
    "jvp": lambda fn: lambda x: jax.jvp(scalar(fn), (x,), (jnp.cos(x),)),
    "jacfwd": lambda fn: jax.jacfwd(scalar(fn)),
    "hessian": lambda fn: jax.hessian(scalar(fn)),
}


@functools.cache
def regenerated(name: str, rule: str) -> Callable[..., Any]:
    return round_trip(brainir.lower((FORWARD if rule == "jvp" else BACKWARD)[name], X))


def assert_same_derivative(
    derive: Callable[[Callable[..., Any]], Callable[..., Any]], actual: Any, expected: Any, transform: str
) -> None:
    # JAX 0.12 adds the many cotangents of a value in another order.
    rtol = 1e-5 if transform in ("second derivative", "third derivative") else 0.0
    assert_same_function(derive(actual), derive(expected), X, rtol=rtol)


@pytest.mark.parametrize("transform", BOTH)
@pytest.mark.parametrize("name", FORWARD)
def test_derivatives_by_jvp_rules_are_the_original_ones(name: str, transform: str) -> None:
    assert_same_derivative(BOTH[transform], regenerated(name, "jvp"), FORWARD[name], transform)


@pytest.mark.parametrize("transform", REVERSE)
@pytest.mark.parametrize("name", BACKWARD)
def test_derivatives_by_vjp_rules_are_the_original_ones(name: str, transform: str) -> None:
    assert_same_derivative(REVERSE[transform], regenerated(name, "vjp"), BACKWARD[name], transform)


def test_a_jvp_rule_that_linearizes_what_has_backward_rules_has_no_tangents() -> None:
    name = "JVP rule that linearizes what has backward rules"
    for fn in (BACKWARD[name], regenerated(name, "vjp")):
        with pytest.raises(TypeError, match=r"can't apply forward-mode autodiff \(jvp\) to a custom_vjp function"):
            jax.jvp(fn, (X,), (X,))


def test_a_wrong_rule_is_the_derivative() -> None:
    ours = round_trip(brainir.lower(wrong, X))
    np.testing.assert_array_equal(jax.jacfwd(ours)(X), np.diag(7.0 * jnp.sin(X)))
    ours = round_trip(brainir.lower(lambda x: backward(x, x)[0], X))
    np.testing.assert_array_equal(jax.grad(lambda x: ours(x).sum())(X), 5.0 * jnp.tanh(X) + X)


@pytest.mark.parametrize("name", [name for name in FORWARD if name != "rule in a cond"])
def test_functions_with_jvp_rules_trace_to_the_same_program(name: str) -> None:
    again = brainir.lower(regenerated(name, "jvp"), X)
    assert brainir.fingerprint(again) == brainir.fingerprint(brainir.lower(FORWARD[name], X))


@pytest.mark.parametrize("name", BACKWARD)
def test_functions_with_vjp_rules_trace_to_the_same_program(name: str) -> None:
    again = brainir.lower(regenerated(name, "vjp"), X)
    assert brainir.fingerprint(again) == brainir.fingerprint(brainir.lower(BACKWARD[name], X))


# Which rules are one


def ruled(slope: float, nested: bool = False) -> Callable[..., Any]:
    """Return a new function with a rule of its own, which calls it, in a nested jit or not."""

    @jax.custom_jvp
    def spike(x: Any) -> Any:
        return (x > 0).astype(x.dtype)

    @spike.defjvp
    def spike_jvp(primals: Any, tangents: Any) -> Any:
        called = jax.jit(lambda x: spike(x)) if nested else spike
        y = called(*primals)
        return y, slope * (1 + y) * jnp.exp(-jnp.abs(primals[0])) * tangents[0]

    return spike


@pytest.mark.parametrize("nested", [False, True])
def test_equal_functions_with_different_rules_stay_different(nested: bool) -> None:
    def fn(x: Any) -> Any:
        return ruled(0.3, nested)(x) + 10.0 * ruled(0.7, nested)(x)

    program = brainir.lower(fn, X)
    assert_same_bits(jax.jit(jax.jacfwd(jax.jacfwd(round_trip(program))))(X), jax.jit(jax.jacfwd(jax.jacfwd(fn)))(X))
    rules = {node.jvp for node in program.entry_function.nodes if node.op == "custom_jvp"}
    keys = function_keys(program.table)
    assert len({keys[rule] for rule in rules}) == 2


@pytest.mark.parametrize("nested", [False, True])
def test_equal_functions_with_equal_rules_are_one(nested: bool) -> None:
    twice = brainir.lower(lambda x: ruled(0.3, nested)(x) + ruled(0.3, nested)(-x), X)
    once = brainir.lower(lambda x: -ruled(0.3, nested)(x), X)
    assert len(twice.functions) == len(once.functions)


def test_a_rule_in_a_nested_jit_of_another_rule_keeps_its_own_derivative() -> None:
    inner, other = ruled(0.3), ruled(0.7)

    @jax.custom_jvp
    def outer(x: Any) -> Any:
        return jnp.sin(x)

    @outer.defjvp
    def outer_jvp(primals: Any, tangents: Any) -> Any:
        (x,), (dx,) = primals, tangents
        return outer(x), (jax.jit(lambda v: inner(v) + 2.0 * x)(x) - jax.jit(lambda v: other(v) + x)(x)) * dx

    ours = round_trip(brainir.lower(outer, X))
    got, wanted = (jax.jit(third(fn))(X) for fn in (ours, outer))
    np.testing.assert_allclose(got, wanted, rtol=1e-5)


def test_what_was_differentiated_first_can_be_lowered_and_jitted_afterwards() -> None:
    program = brainir.lower(closes, X)
    ours = round_trip(program)
    slope = jax.grad(lambda x: ours(x).sum())(X)
    assert_same_bits(jax.jit(jax.grad(lambda x: ours(x).sum()))(X), slope)
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)


# Residuals


def with_closure(table: Any) -> Callable[..., Any]:
    @jax.custom_vjp
    def fn(x: Any, y: Any) -> Any:
        return x * table + y

    fn.defvjp(lambda x, y: (x * table + y, (x, y)), lambda xy, ct: (ct * jnp.sin(xy[0]), xy[1]))
    return fn


def test_residuals_that_are_operands_are_found_behind_what_the_function_closes_over() -> None:
    def fn(x: Any, y: Any) -> Any:
        return with_closure(TABLE)(x, y) * y

    ours = round_trip(brainir.lower(fn, X, X + 1))
    derive = jax.grad(lambda f, x, y: f(x, y).sum(), (1, 2))
    assert_same_bits(derive(ours, X, X + 1), derive(fn, X, X + 1))


def test_residuals_that_are_numbers_stay_numbers_for_the_backward_rule() -> None:
    @jax.custom_vjp
    def fn(x: Any) -> Any:
        return jnp.sum(x)

    fn.defvjp(
        lambda x: (jnp.sum(x), (x.shape, np.arange(4), 2.5)), lambda r, ct: (jnp.full(r[0], ct * r[2])[np.array(r[1])],)
    )
    program = brainir.lower(fn, X)
    ours = round_trip(program)
    assert_same_bits(jax.grad(ours)(X), jax.grad(fn)(X))
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)


@pytest.mark.parametrize("way", ["callable", "source"])
def test_a_derivative_that_is_not_stored_says_so_and_those_before_it_are_right(way: str) -> None:
    growing, (x,) = DERIVATIVE_PROGRAMS["a rule that is larger for every order"][:2]
    program = brainir.lower(growing, x)
    if way == "callable":
        back = brainir.to_callable(program)
    else:
        module: dict[str, Any] = {}
        exec(compile(brainir.to_source(program), "generated", "exec"), module)
        back = module[program.entry]

    def second(fn: Callable[..., Any]) -> Callable[..., Any]:
        return jax.grad(lambda x: jnp.sum(jax.grad(fn)(x) ** 2))

    assert_same_bits(jax.jit(second(back))(x), jax.jit(second(growing))(x))
    with pytest.raises(NotImplementedError, match="derivatives of order 3 and above are not stored"):
        jax.grad(lambda x: jnp.sum(second(back)(x)))(x)


def test_a_backward_rule_that_gives_nothing_for_an_integer_has_no_node_for_it() -> None:
    @jax.custom_vjp
    def picked(x: Any, places: Any) -> Any:
        return x[places]

    picked.defvjp(
        lambda x, places: (x[places], places), lambda places, ct: (jnp.zeros(4).at[places].add(2.0 * ct), None)
    )
    places = jnp.array([0, 2])
    program = brainir.lower(picked, X, places)
    nodes = [node for function in program.functions for node in function.nodes]
    assert [node for node in nodes if "float0" in str(node.types)] == []
    assert brainir.fingerprint(brainir.lower(round_trip(program), X, places)) == brainir.fingerprint(program)


def test_a_rule_that_linearizes_keeps_constants_out_of_its_residuals() -> None:
    @jax.custom_jvp
    def scaled(x: Any) -> Any:
        return x * x

    @scaled.defjvp
    def scaled_jvp(primals: Any, tangents: Any) -> Any:
        return scaled(*primals), jax.linearize(lambda x: clipped(x, 0.5) * TABLE, *primals)[1](*tangents)

    program = brainir.lower(scaled, X)
    assert brainir.fingerprint(brainir.lower(round_trip(program), X)) == brainir.fingerprint(program)


def test_a_tangent_of_a_function_with_backward_rules_is_refused_with_the_way_out() -> None:
    clipped = jax.custom_gradient(lambda x: (jnp.sin(x), lambda ct: (jnp.clip(ct, -1, 1),)))
    with pytest.raises(LoweringError, match=r"custom_lin: it is a tangent of a function .*; use jax\.vjp"):
        brainir.lower(lambda x, t: jax.linearize(clipped, x)[1](t), 0.5, 1.0)


def stopped(x: Any) -> Any:
    return lax.stop_gradient(clipped(x, 0.5)) + x


@pytest.mark.parametrize(
    "fn", [stopped, jax.jit(stopped), lambda x: lax.scan(lambda v, _: (stopped(v), None), x, length=2)[0]]
)
def test_a_tangent_of_a_function_with_backward_rules_that_nothing_needs_is_left_out(fn: Callable[[Any], Any]) -> None:
    def moved(x: Any) -> Any:
        return jax.jvp(fn, (x,), (jnp.cos(x),))

    assert_same_bits(jax.jit(round_trip(brainir.lower(moved, X)))(X), jax.jit(moved)(X))


def test_a_rule_that_jax_batches_to_other_shapes_is_refused_and_the_values_are_right() -> None:
    doubled = jax.custom_jvp(lambda x: x * 2.0)
    # A loop has the batch in front, where the function leaves it at the end.
    doubled.defjvp(lambda primals, tangents: (lax.fori_loop(0, 1, lambda _, c: c * 2.0, *primals), tangents[0] * 2.0))
    fn, x = jax.vmap(doubled, in_axes=-1, out_axes=-1), jnp.linspace(0.2, 0.8, 8).reshape(4, 2)
    program = brainir.lower(fn, x)
    ours = brainir.to_callable(brainir.loads(brainir.dumps(program)))
    assert_same_bits(jax.jit(ours)(x), jax.jit(fn)(x))
    with pytest.raises(brainir.BrainIRError, match="JAX batches its derivative rule to results of other shapes"):
        jax.jacfwd(ours)(x)


def _raising(error: type[Exception]) -> Callable[..., Any]:
    def rule(primals: Any, tangents: Any) -> Any:
        raise error("not written yet")

    fn = jax.custom_jvp(lambda x: x * 2.0)
    fn.defjvp(rule)
    return fn


@pytest.mark.parametrize("error", [KeyError, ZeroDivisionError, NameError, OSError])
def test_whatever_a_rule_raises_the_values_are_stored_and_the_derivative_is_refused(error: type[Exception]) -> None:
    fn = _raising(error)
    ours = round_trip(brainir.lower(fn, X))
    assert_same_bits(ours(X), fn(X))
    with pytest.raises(brainir.BrainIRError, match=rf"cannot trace its derivative rule \({error.__name__}\)"):
        jax.jvp(ours, (X,), (X,))


def test_the_jacobian_with_respect_to_integers_is_zeros_of_their_type() -> None:
    fn = jax.jacrev(lambda x, places: (jnp.sum(x[places]), jnp.prod(x)), argnums=(0, 1), allow_int=True)
    places = jnp.array([0, 2])
    program = brainir.lower(fn, X, places)
    ours = round_trip(program)
    assert_same_bits(jax.jit(ours)(X, places), jax.jit(fn)(X, places))
    assert brainir.fingerprint(brainir.lower(ours, X, places)) == brainir.fingerprint(program)

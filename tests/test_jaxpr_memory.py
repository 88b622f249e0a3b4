"""What functions that JAX keeps were lowered to before is used again, and no program can tell."""

import functools
import gc
import operator
import time
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax.interpreters import ad

import brainir
from brainir.backend.bindings import external_names
from brainir.frontend.memory import arrangement, forgetting, functions
from tests.compare import assert_same_bits

X = jnp.array([-0.7, 0.2, 1.5])
SLOPE = 0.5


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    forgetting.forget()


@jax.custom_jvp
def sloped(v: Any) -> Any:
    """Step function whose derivative reads a global."""
    return (v > 0).astype(v.dtype)


sloped.defjvp(lambda primals, tangents: (sloped(*primals), SLOPE * tangents[0]))


@functools.partial(jax.custom_jvp)
def other_sloped(v: Any) -> Any:
    """Compute what the one above computes, with another derivative."""
    return (v > 0).astype(v.dtype)


other_sloped.defjvp(lambda primals, tangents: (other_sloped(*primals), 2 * tangents[0]))


@jax.custom_vjp
def sloped_backwards(v: Any) -> Any:
    """Compute the same again, with rules that loops keep in their gradients."""
    return (v > 0).astype(v.dtype)


sloped_backwards.defvjp(lambda v: (sloped_backwards(v), v), lambda v, g: (g * jnp.exp(-jnp.abs(v)) * SLOPE,))


@jax.jit
def clip(x: Any) -> Any:
    """Function with the name of one that it calls."""
    return jnp.clip(x, -1, 1) * 2


@jax.jit
def clip_as_well(x: Any) -> Any:
    """Compute what the one above computes, on other lines."""
    return jnp.clip(x, -1, 1) * 2


@jax.jit
def spiking(x: Any) -> Any:
    """Function with a rule in it."""
    return sloped(clip(x)) + jnp.where(x > 0, x, 0.0)


@jax.jit
def branching(x: Any) -> Any:
    """Call the same functions as branches."""
    return jax.lax.cond(x[0] > 0, clip, clip_as_well, x) + jax.lax.cond(x[1] > 0, clip_as_well, clip, x)


@jax.jit
def scoped(x: Any) -> Any:
    """Compute in a scope what JAX computes without."""
    with jax.named_scope("area"):
        return jnp.where(x > 0, x, 0.0)


@jax.custom_jvp
def recurring(x: Any) -> Any:
    """Function whose rule leads back to it."""
    return jnp.sin(x)


recurs = jax.jit(lambda x: recurring(x))
recurs_again = jax.jit(lambda x: recurs(x))
recurring.defjvp(lambda primals, tangents: (recurs_again(*primals), jnp.cos(primals[0]) * tangents[0]))


def spiking_step(v: Any, current: Any) -> Any:
    """Step of a loop, with a rule and functions of jax.numpy in it."""
    spikes = sloped(v - 1)
    return jnp.where(spikes > 0, 0.0, 0.9 * v + clip(current)), spikes


def looping(x: Any) -> Any:
    """Run a step that JAX keeps, and the same as a function."""
    last, spikes = jax.lax.scan(spiking_step, x, jnp.outer(x, x))
    return last + spikes.sum(0) + spiking_step(x, x)[0]


def halved(x: Any) -> Any:
    """Body of a loop."""
    return clip(x) * 0.5


def is_large(x: Any) -> Any:
    """Condition of a loop."""
    return jnp.sum(x * x) > 0.1


saved = jax.checkpoint(lambda x: jnp.sin(clip(x)) * x)


FUNCTIONS: dict[str, Callable[[Any], Any]] = {
    "one jit": clip,
    "its like": clip_as_well,
    "both": lambda x: clip(x) + clip_as_well(x),
    "both, the other first": lambda x: clip_as_well(x) - clip(x),
    "a rule": spiking,
    "a gradient": jax.grad(lambda x: spiking(x).sum() + jax.nn.gelu(x).sum()),
    "functions alike but for their rules": lambda x: other_sloped(x) + spiking(x) + sloped(x),
    "branches": branching,
    "branches of one of these": lambda x: jax.lax.cond(x[0] > 0, clip_as_well, spiking, x),
    "a scope": scoped,
    "functions of jax.numpy": lambda x: jnp.linalg.inv(jnp.outer(x, x) + jnp.eye(3)) @ jnp.where(x > 0, x, 1.0),
    "others of one name": lambda x: jnp.where(x > 0, x, x + 1) + jnp.where(x > 0, 1.0, x) + jnp.clip(x, 0),
    "a rule that leads back": lambda x: recurs(x) * 2,
    "what a rule leads back to": lambda x: recurs(x),
    "a loop": looping,
    "the gradient of a loop": jax.grad(lambda x: looping(x).sum()),
    "the gradient of a loop with backward rules": jax.grad(
        lambda x: jax.lax.scan(lambda c, y: (sloped_backwards(clip(c) + y), c), x[0], x)[1].sum()
    ),
    "another one": jax.grad(lambda x: jax.lax.scan(lambda c, y: (sloped_backwards(clip(c) - y), c), x[0], x)[1].sum()),
    "loops in a loop": lambda x: jax.lax.fori_loop(0, 2, lambda i, v: looping(v) * i, x),
    "a loop until": lambda x: jax.lax.while_loop(is_large, halved, x) + halved(x),
    "what was a body is a branch": lambda x: jax.lax.cond(is_large(x), halved, clip, x),
    "branches in another order": lambda x: jax.lax.cond(is_large(x), clip, halved, x),
    "remat": lambda x: saved(x) + saved(2 * x),
    "the gradient of remat": jax.grad(lambda x: saved(x).sum()),
    "code for each platform": lambda x: jax.lax.platform_dependent(x, cpu=clip, default=halved),
    "a mapped function": lambda x: jax.vmap(clip)(jnp.outer(x, x)),
    "branches made anew": lambda x: jax.lax.cond(x[0] > 0, lambda v: jnp.sin(v) + X, lambda v: clip(v) * 2, x),
    "branches alike on another line": lambda x: jax.lax.cond(
        x[0] > 0, lambda v: jnp.sin(v) + X, lambda v: clip(v) * 2, x
    ),
    "branches alike but for an array": lambda x: jax.lax.cond(
        x[0] > 0, lambda v: jnp.sin(v) + 2 * X, lambda v: clip(v) * 2, x
    ),
}


def written(name: str) -> str:
    return brainir.dumps(brainir.lower(FUNCTIONS[name], X))


@functools.cache
def written_afresh(name: str) -> str:
    forgetting.forget()
    return written(name)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_program_is_the_same_whatever_was_lowered_before(name: str) -> None:
    fresh = {each: written_afresh(each) for each in FUNCTIONS}
    for before in FUNCTIONS:
        forgetting.forget()
        written(before)
        assert written(name) == fresh[name]
    forgetting.forget()
    for before in FUNCTIONS:
        for each in (before, before, name):  # what is no nested jit is remembered when it is met again
            assert written(each) == fresh[each]


@pytest.mark.parametrize("name", ["branches made anew", "a rule that leads back", "functions of jax.numpy"])
def test_function_that_is_written_as_before_is_the_one_of_before(name: str) -> None:
    programs = [brainir.lower(lambda x: FUNCTIONS[name](x), X) for _ in range(3)]
    before, again = programs[1].functions, programs[2].functions
    assert len(again) > 2
    assert all(map(operator.is_, again, before))


def test_long_function_that_is_written_as_before_is_the_one_of_before() -> None:
    def long(x: Any) -> Any:
        for _ in range(300):
            x = jnp.sin(x)
        return x

    before, again = (brainir.lower(lambda x: jax.jit(lambda x: long(x))(x), X) for _ in range(2))
    assert len(again.functions[1].nodes) == 300
    assert before.functions[1] is again.functions[1]


def test_function_of_a_nested_jit_is_lowered_once_as_it_is_traced_once() -> None:
    first, again = (brainir.lower(lambda x: clip(x) + jnp.where(x > 0, x, 0.0), X) for _ in range(2))
    assert len(first.functions) > 2
    assert all(one is other for one, other in zip(first.functions[1:], again.functions[1:], strict=True))


@pytest.mark.parametrize(
    "fn",
    [
        looping,
        lambda x: jax.lax.while_loop(is_large, halved, x),
        lambda x: saved(x),
        FUNCTIONS["what was a body is a branch"],
    ],
)
def test_function_of_a_loop_or_branch_is_lowered_once_where_jax_keeps_it(fn: Callable[[Any], Any]) -> None:
    first, second, third = (brainir.lower(lambda x: fn(x), X) for _ in range(3))
    assert brainir.dumps(first) == brainir.dumps(second) == brainir.dumps(third)
    assert all(one is other for one, other in zip(second.functions[1:], third.functions[1:], strict=True))


class Tag:
    """A parameter that equals itself only, and of which nothing tells what it stands for."""

    def __init__(self) -> None:
        self.own = [self]


fresh_p = jax.extend.core.Primitive("brainir_tests_fresh_jit")
fresh_p.def_impl(lambda x, tag: jax.jit(lambda x: jnp.sin(x) * x)(x))
fresh_p.def_abstract_eval(lambda x, tag: x)
ad.primitive_jvps[fresh_p] = lambda primals, tangents, tag: (
    fresh_p.bind(*primals, tag=tag),
    tangents[0] * fresh_p.bind(*primals, tag=Tag()),
)


def test_function_of_a_nested_jit_that_the_program_does_not_need_is_left_out() -> None:
    """The rule is another one in every order of derivative, and stored for three."""
    program = brainir.lower(lambda x: fresh_p.bind(x, tag=Tag()), X)
    assert len(program.functions) == 6
    np.testing.assert_allclose(jax.jvp(brainir.to_callable(program), (X,), (X,))[1], X * jnp.sin(X) * X, rtol=1e-6)


def test_rule_in_a_nested_jit_is_traced_again_when_what_it_reads_has_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = jax.jit(sloped)
    outer = jax.jit(lambda x: inner(x) * 2)

    def gradient(fn: Callable[[Any], Any]) -> Any:
        regenerated = brainir.to_callable(brainir.lower(fn, X))
        return jax.grad(lambda x: regenerated(x).sum())(X)

    assert_same_bits(gradient(lambda x: inner(x) + outer(x)), jnp.full(3, 1.5))
    monkeypatch.setattr(f"{__name__}.SLOPE", 3.0)
    assert_same_bits(gradient(lambda x: inner(x)), jnp.full(3, 3.0))
    brainir.lower(lambda x: inner(x), X)
    assert_same_bits(gradient(lambda x: outer(x)), jnp.full(3, 6.0))


@pytest.mark.parametrize("held", [[0.5], {0: 0.5}, np.array([0.5], np.float32)])
@pytest.mark.parametrize("partial", [False, True])
def test_rule_in_a_nested_jit_is_traced_again_when_what_it_holds_has_changed(held: Any, partial: bool) -> None:
    step = jax.custom_jvp(lambda v: (v > 0).astype(v.dtype))

    def rule(primals: Any, tangents: Any, *, slope: Any = held) -> Any:
        return step(*primals), slope[0] * tangents[0]

    step.defjvp(functools.partial(rule, slope=held) if partial else rule)
    inner = jax.jit(lambda x: step(x))
    for slope in (0.5, 3.0):
        held[0] = slope
        regenerated = brainir.to_callable(brainir.lower(lambda x: inner(x), X))
        assert_same_bits(jax.jvp(regenerated, (X,), (jnp.ones(3),))[1], jnp.full(3, slope))


def test_primitive_is_kept_where_this_program_keeps_it() -> None:
    fn = jax.jit(lambda x: jnp.tanh(x) + 1)
    for keep in ((), ("tanh",), ()):
        program = brainir.lower(lambda x: fn(x), X, keep=keep)
        ops = [node.op for function in program.functions for node in function.nodes]
        assert ("custom_call" in ops, "tanh" in ops) == (bool(keep), not keep)


def test_callbacks_have_names_of_their_program() -> None:
    def calling(factor: float) -> Callable[[Any], Any]:
        def host(x: Any) -> Any:
            return np.asarray(factor * np.asarray(x))

        return jax.jit(lambda x: jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x))

    def check(first: Callable[[Any], Any], second: Callable[[Any], Any], expected: Any) -> None:
        program = brainir.lower(lambda x: first(x) - second(x), X)
        assert external_names(program) == ("host", "host_1")
        fn = brainir.to_callable(program, externals={"host": lambda x: 10 * x, "host_1": lambda x: x})
        assert_same_bits(fn(X), expected)

    double, triple = calling(2.0), calling(3.0)
    check(double, triple, 10 * X - X)
    check(triple, double, 10 * X - X)
    outer = jax.jit(lambda x: double(x) * 2)
    brainir.lower(lambda x: double(x) + outer(x), X)
    check(outer, triple, 20 * X - X)


@pytest.mark.parametrize("fn", [lambda y: y * 2, lambda y: jax.nn.relu(y) * sloped(y)])
def test_what_jax_forgets_is_forgotten(fn: Callable[[Any], Any]) -> None:
    program = brainir.lower(lambda x: jax.jit(fn)(x), X)
    kept = weakref.ref(program.functions[1])
    del program
    jax.clear_caches()
    functions.FUNCTIONS.clear()
    arrangement.ARRANGEMENTS.clear()
    gc.collect()
    assert kept() is None


def test_callbacks_in_rules_have_names_of_their_program() -> None:
    def calling(factor: float) -> Callable[[Any], Any]:
        def host(x: Any) -> Any:
            return np.asarray(factor * np.asarray(x))

        return lambda x: jax.pure_callback(host, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    with_rule = jax.custom_jvp(lambda x: x * 1)
    in_rule = calling(3.0)
    with_rule.defjvp(lambda primals, tangents: (with_rule(*primals), in_rule(*primals) * tangents[0]))
    plain, jitted = jax.jit(calling(2.0)), jax.jit(lambda x: with_rule(x))
    twice = jax.jit(lambda x: with_rule(x) - with_rule(2 * x))
    for fn in (jitted, twice):
        brainir.lower(lambda x: jitted(x) + twice(x), X)
        program = brainir.lower(lambda x, fn=fn: plain(x) * fn(x), X)
        assert external_names(program) == ("host", "host_1")
        for function in program.functions:
            if function.name.endswith("_jvp"):
                assert [node.name for node in function.nodes if node.op == "pure_callback"] == ["host_1"]


def _in_order(x: Any, names: tuple[str, str]) -> Any:
    values = {name: getattr(jnp, name)(x) for name in names}
    return values["sin"] * values["cos"]


def test_equal_function_with_its_nodes_in_another_order_does_not_stand_in_later() -> None:
    first = jax.jit(functools.partial(_in_order, names=("sin", "cos")))
    second = jax.jit(functools.partial(_in_order, names=("cos", "sin")))

    def fn(x: Any) -> Any:
        return second(x) * 2

    fresh = brainir.dumps(brainir.lower(fn, X))
    forgetting.forget()
    brainir.lower(lambda x: first(x) + second(x), X)
    assert brainir.dumps(brainir.lower(fn, X)) == fresh


@pytest.mark.parametrize("shape", [(), (3,), (1500,)])
@pytest.mark.parametrize("as_literals", [False, True])
def test_array_of_numpy_that_was_changed_in_place_has_its_new_values(shape: tuple[int, ...], as_literals: bool) -> None:
    held = np.full(shape, 2, np.float32)
    fn = jax.jit(lambda x: jax.lax.cond(x > 0, lambda x: x * held, lambda x: x - held, x).sum())
    jax.config.update("jax_use_simplified_jaxpr_constants", as_literals)
    try:
        brainir.lower(lambda x: fn(x), X[0])
        held[...] = 7
        program = brainir.lower(lambda x: fn(x), X[0])
    finally:
        jax.config.update("jax_use_simplified_jaxpr_constants", False)
    np.testing.assert_allclose(brainir.to_callable(program)(X[2]), 1.5 * held.sum(), rtol=1e-6)


def test_a_rule_is_traced_by_one_thread_at_a_time() -> None:
    """What JAX notes while it traces a rule is in the rule, which is the same for all threads."""
    inside, most = [], []

    def forward(x: Any) -> Any:
        inside.append(x)
        time.sleep(0.01)
        most.append(len(inside))
        inside.pop()
        return x * x, (x, 2 * x)

    squared = jax.custom_vjp(lambda x: x * x)
    squared.defvjp(forward, lambda held, g: (g * held[1],))
    inner = jax.jit(lambda x: squared(x) + squared(squared(x)))

    def lowered(_: int) -> str:
        return brainir.dumps(brainir.lower(lambda x: inner(x), X))

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(lowered, range(4)))) == 1
    assert max(most) == 1

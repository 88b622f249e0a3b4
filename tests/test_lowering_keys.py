"""What is the same while one program is lowered: what holds the same, and no more than itself where nothing tells."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.frontend.keys.function_keys import FunctionKeys
from brainir.frontend.keys.lowering_keys import LoweringKeys


@dataclasses.dataclass(frozen=True)
class Point:
    x: Any


class Opaque:
    """An object that looks like others."""

    def __repr__(self) -> str:
        return "Opaque()"


ARRAY = jnp.arange(3.0)


def adding(number: Any) -> Callable[..., Any]:
    return lambda x: x + number


def traced(number: Any, axis: int = 0) -> Any:
    return jax.make_jaxpr(lambda x: jnp.sum(jax.nn.relu(number * x) + jnp.arange(3.0), axis))(jnp.ones((2, 3)))


def equation(number: Any) -> Any:
    return traced(number).jaxpr.eqns[0]


SAME: dict[str, Callable[[Any], Any]] = {
    "a number": lambda n: n,
    "an array": lambda n: np.array([n, 1.0]),
    "an array of JAX": lambda n: jnp.array([n, 1.0]),
    "a closure": adding,
    "a default": lambda n: functools.partial(lambda x, number=n: x, n),
    "a jaxpr": traced,
    "an open jaxpr": lambda n: traced(n).jaxpr,
    "an open jaxpr with constants": lambda n: jax.make_jaxpr(lambda x: n * x + ARRAY)(jnp.ones(3)).jaxpr,
    "an equation": equation,
    "a frozen dataclass": lambda n: Point(n),
    "a tree": lambda n: jax.tree.structure(jax.tree_util.Partial(max, n)),
    "static parts of a tree": lambda n: jax.tree.structure(jax.tree_util.Partial(adding(n))),
    "a pytree": lambda n: jax.tree_util.Partial(adding(n), n),
    "a set": lambda n: frozenset([("a", n)]),
    "a dict of lists": lambda n: {"a": [n]},
}


def key(value: Any) -> Any:
    return LoweringKeys().of(value).content


@pytest.mark.parametrize("name", SAME)
def test_what_holds_the_same_is_the_same(name: str) -> None:
    assert key(SAME[name](2.0)) == key(SAME[name](2.0))
    assert hash(key(SAME[name](2.0))) == hash(key(SAME[name](2.0)))


@pytest.mark.parametrize("name", [name for name in SAME if name != "a tree"])
def test_what_holds_another_number_is_not(name: str) -> None:
    assert key(SAME[name](2.0)) != key(SAME[name](3.0))


@pytest.mark.parametrize("name", ["a number", "a closure", "a default", "a frozen dataclass", "a pytree", "a set"])
def test_what_holds_an_equal_number_of_another_type_is_not(name: str) -> None:
    assert key(SAME[name](2.0)) != key(SAME[name](2))


@pytest.mark.parametrize(("one", "other"), [(1, True), (0.0, -0.0), (1.0, np.float32(1)), (None, False), ((1,), [1])])
def test_values_that_are_equal_in_python_are_told_apart(one: Any, other: Any) -> None:
    assert key(one) != key(other)
    assert key(jax.tree.structure(Static(one))) != key(jax.tree.structure(Static(other)))


@jax.tree_util.register_pytree_node_class
class Static:
    def __init__(self, held: Any) -> None:
        self.held = held

    def tree_flatten(self) -> Any:
        return (), self.held

    @classmethod
    def tree_unflatten(cls, held: Any, _: Any) -> Any:
        return cls(held)


@pytest.mark.parametrize("make", [Opaque, object, lambda: adding(Opaque())])
def test_objects_that_only_look_alike_are_not_the_same(make: Callable[[], Any]) -> None:
    one, other = make(), make()
    keys = LoweringKeys()
    (first, _, parts), (second, _, others) = keys.of([one]), keys.of([other])
    assert first != second
    assert first == keys.of([one]).content
    assert len(parts) == len(others) == 1
    assert parts != others


def test_jaxprs_are_told_apart_by_every_parameter() -> None:
    assert key(traced(2.0)) != key(traced(2.0, axis=1))


@pytest.mark.parametrize("keys", [LoweringKeys, FunctionKeys])
def test_jaxprs_are_told_apart_by_all_that_they_compute(keys: type[FunctionKeys]) -> None:
    held = np.arange(3.0)
    functions: list[Callable[[Any], Any]] = [
        lambda x: x * 0.0,
        lambda x: x * -0.0,
        lambda x: x + 0.0,
        lambda x: jnp.sum(x) * 0.0,
        lambda x: x * held,
        lambda x: x * (held + 1),
        lambda x: jax.lax.scan(lambda c, y: (c * y, c), x[0], x)[0],
        lambda x: jax.lax.scan(lambda c, y: (c - y, c), x[0], x)[0],
        lambda x: (x, x * 2),
        lambda x: (x * 2, x),
    ]
    found = [keys().of(jax.make_jaxpr(fn)(held)) for fn in functions]
    again = [keys().of(jax.make_jaxpr(fn)(held)) for fn in functions]
    assert found == again
    assert len(set(found)) == len(functions)


def test_jaxprs_on_other_lines_are_other_ones_between_programs_only() -> None:
    def sine(x: Any) -> Any:
        return jnp.sin(x)

    def named(x: Any) -> Any:
        with jax.named_scope("a"):
            return jnp.sin(x)

    sine_below = functools.partial(lambda fn, x: fn(x), lambda x: jnp.sin(x))
    jaxprs = [jax.make_jaxpr(jax.jit(lambda x, fn=fn: fn(x)))(1.0) for fn in (sine, named, sine_below)]
    assert len({FunctionKeys().of(jaxpr).content for jaxpr in jaxprs}) == 3
    assert len({key(jaxpr) for jaxpr in jaxprs}) == 1


def rising(number: Any, following: Callable[[Any], Any]) -> Any:
    """Return a function whose rule is another one in every order of derivative, and computes it with the same code."""

    @jax.custom_jvp
    def fn(x: Any) -> Any:
        return jnp.sin(x)

    @fn.defjvp
    def rule(primals: Any, tangents: Any) -> Any:
        (x,), (t,) = primals, tangents
        return fn(x), t * x ** np.asarray(getattr(number, "x", number)) * rising(following(number), following)(x)

    return fn


@pytest.mark.parametrize(("first", "following"), [(2, lambda n: n + 1), (Point(2), lambda n: Point(n.x + 1))])
def test_a_rule_that_is_another_one_in_every_order_is_not_stored_as_its_first(first: Any, following: Any) -> None:
    fn = rising(first, following)
    ours = brainir.to_callable(brainir.lower(fn, jnp.float32(0.7)))
    for order in range(5):
        got, wanted = (functools.reduce(lambda f, _: jax.jacfwd(f), range(order), f)(0.7) for f in (ours, fn))
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    assert brainir.fingerprint(brainir.lower(ours, jnp.float32(0.7))) == brainir.fingerprint(
        brainir.lower(fn, jnp.float32(0.7))
    )


def test_a_rule_with_a_new_object_in_every_order_ends_after_a_few() -> None:
    class Box:
        def __init__(self, x: int) -> None:
            self.x = x

    fn = rising(Box(2), lambda box: Box(box.x + 1))
    ours = brainir.to_callable(brainir.lower(fn, jnp.float32(0.7)))
    for order in range(4):
        got, wanted = (functools.reduce(lambda f, _: jax.jacfwd(f), range(order), f)(0.7) for f in (ours, fn))
        np.testing.assert_allclose(got, wanted, rtol=1e-5)
    with pytest.raises(NotImplementedError, match="order 4 and above are not stored"):
        jax.jacfwd(jax.jacfwd(jax.jacfwd(jax.jacfwd(ours))))(0.7)

"""Rules that read objects, classes and containers are remembered, and are other ones once one of these changes."""

import dataclasses
import functools
import gc
import types
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.frontend.keys.function_keys import FunctionKeys
from brainir.frontend.keys.wrapped import UnknownBehaviourError
from brainir.frontend.memory import forgetting

X = jnp.array([-0.7, 0.2, 1.5])


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    forgetting.forget()


class Solver:
    """An object with the slope of a rule."""

    factor = 1.0

    def __init__(self, slope: Any) -> None:
        self.slope = slope

    def backward(self, _: Any, g: Any) -> Any:
        return (g * jnp.float32(self.slope) * self.factor,)

    @property
    def doubled(self) -> Any:
        return 2 * self.slope

    @staticmethod
    def scaled(g: Any) -> Any:
        return g * 3.0

    @classmethod
    def named(cls, g: Any) -> Any:
        return g * cls.factor


class Slotted:
    """An object without a dict."""

    __slots__ = ("slope", "unset")

    def __init__(self, slope: Any) -> None:
        self.slope = slope


@dataclasses.dataclass
class Record:
    """A dataclass that can change."""

    slope: Any
    others: list[Any] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    """A dataclass with slots, which has a state of its own."""

    slope: Any


class Pair(NamedTuple):
    """A tuple with a method."""

    slope: Any

    def scaled(self, g: Any) -> Any:
        return g * self.slope


class Counting:
    """A callable that a function is wrapped in, with an attribute of its own."""

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.slope = 1.0

    def __call__(self, g: Any) -> Any:
        return g * self.slope


@Counting
def counting(g: Any) -> Any:
    """Return what is replaced."""
    return g


def with_backward(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Return the identity with a backward rule."""

    @jax.custom_vjp
    def fn(x: Any) -> Any:
        return x * 1.0

    fn.defvjp(lambda x: (x * 1.0, None), backward)
    return fn


def slope_of(fn: Callable[..., Any]) -> Any:
    """Return the slope that a function has once it was lowered, which is that by JAX."""
    back = brainir.to_callable(brainir.lower(lambda x: fn(x), X))
    ours, theirs = (jax.grad(lambda x, f=f: f(x).sum())(X) for f in (back, with_fresh_rule(fn)))
    np.testing.assert_array_equal(ours, theirs)
    return float(ours[0])


def with_fresh_rule(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that JAX traces anew."""
    jax.clear_caches()
    return lambda x: fn(x)


def _bound(solver: Any) -> Callable[..., Any]:
    return with_backward(solver.backward)


def _set(owner: Any, name: str, value: Any) -> Callable[[], None]:
    return lambda: setattr(owner, name, value)


def _method(self: Any, _: Any, g: Any) -> Any:
    return (g * 7.0,)


def objects() -> dict[str, tuple[Callable[..., Any], Callable[[], None], float]]:
    """Return functions, what changes what their rules read, and the slope after that."""
    solver, dict_held, list_held = Solver(2.0), {"slope": 2.0}, [2.0]
    array, slotted, record, frozen = np.full((), 2.0, np.float32), Slotted(2.0), Record(0.0, [2.0]), Frozen([2.0])
    nested, space, named = Solver(Solver(2.0)), types.SimpleNamespace(slope=2.0), Counting(lambda g: g)
    named.slope = 2.0
    own = type("Own", (Solver,), {"factor": 2.0})
    bases = type("Bases", (Solver,), {})
    cell = 2.0
    cyclic = Solver(2.0)
    cyclic.itself = cyclic  # type: ignore[attr-defined]
    attributed = with_attribute(2.0)

    def reads_cell(_: Any, g: Any) -> Any:
        return (g * cell,)

    def set_cell() -> None:
        nonlocal cell
        cell = 5.0

    def default(_: Any, g: Any, slopes: Any = list_held) -> Any:
        return (g * slopes[0],)

    def keyword(_: Any, g: Any, *, slopes: Any = dict_held) -> Any:
        return (g * slopes["slope"],)

    return {
        "attribute of a bound object": (_bound(solver), _set(solver, "slope", 5.0), 5.0),
        "attribute of an object in a bound object": (
            with_backward(lambda _, g: (g * nested.slope.slope,)),
            _set(nested.slope, "slope", 5.0),
            5.0,
        ),
        "attribute of an object that holds itself": (_bound(cyclic), _set(cyclic, "slope", 5.0), 5.0),
        "list": (with_backward(lambda _, g: (g * list_held[0],)), lambda: list_held.__setitem__(0, 5.0), 5.0),
        "dict": (with_backward(lambda _, g: (g * dict_held["slope"],)), lambda: dict_held.update(slope=5.0), 5.0),
        "array in place": (with_backward(lambda _, g: (g * array,)), lambda: array.fill(5.0), 5.0),
        "closure cell": (with_backward(reads_cell), set_cell, 5.0),
        "default argument": (with_backward(default), lambda: list_held.__setitem__(0, 5.0), 5.0),
        "keyword default": (with_backward(keyword), lambda: dict_held.update(slope=5.0), 5.0),
        "slot": (with_backward(lambda _, g: (g * slotted.slope,)), _set(slotted, "slope", 5.0), 5.0),
        "list in a dataclass": (
            with_backward(lambda _, g: (g * record.others[0],)),
            lambda: record.others.__setitem__(0, 5.0),
            5.0,
        ),
        "list in a frozen dataclass": (
            with_backward(lambda _, g: (g * frozen.slope[0],)),
            lambda: frozen.slope.__setitem__(0, 5.0),
            5.0,
        ),
        "attribute of a namespace": (with_backward(lambda _, g: (g * space.slope,)), _set(space, "slope", 5.0), 5.0),
        "attribute of a callable object": (with_backward(lambda _, g: (named(g),)), _set(named, "slope", 5.0), 5.0),
        "attribute of a callable of a module": (
            with_backward(lambda _, g: (counting(g),)),
            _set(counting, "slope", 5.0),
            5.0,
        ),
        "attribute of a class": (_bound(own(1.0)), _set(own, "factor", 5.0), 5.0),
        "method of a class": (with_backward(lambda _, g: own(1.0).backward(_, g)), _set(own, "backward", _method), 7.0),
        "attribute of a base class": (
            with_backward(lambda _, g: (g * bases(2.0).doubled,)),
            _set(Solver, "doubled", property(lambda self: 5.0)),
            5.0,
        ),
        "static method": (
            with_backward(lambda _, g: (Solver(1.0).scaled(g),)),
            _set(Solver, "scaled", staticmethod(lambda g: g * 5.0)),
            5.0,
        ),
        "class method": (with_backward(lambda _, g: (Solver.named(g),)), _set(Solver, "factor", 5.0), 5.0),
        "method of a named tuple": (
            with_backward(lambda _, g: (Pair(2.0).scaled(g),)),
            _set(Pair, "scaled", lambda self, g: g * 5.0),
            5.0,
        ),
        "attribute of a function": (
            with_backward(lambda _, g: (g * attributed.slope,)),
            _set(attributed, "slope", 5.0),
            5.0,
        ),
        "partial of a bound method": (
            with_backward(functools.partial(solver.backward)),
            _set(solver, "slope", 5.0),
            5.0,
        ),
    }


def with_attribute(slope: float) -> Any:
    """Return a function with an attribute."""

    def fn() -> None:
        pass

    fn.slope = slope  # type: ignore[attr-defined]
    return fn


@pytest.fixture
def _as_before() -> Any:
    kept = {kind: dict(vars(kind)) for kind in (Solver, Pair)}
    yield
    for kind, members in kept.items():
        for name in ("factor", "doubled", "scaled", "named", "backward"):
            if name in members:
                setattr(kind, name, members[name])
    counting.slope = 1.0


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("what", objects())
def test_a_rule_is_another_one_once_what_it_reads_has_changed(what: str) -> None:
    fn, change, slope = objects()[what]
    assert slope_of(fn) != slope
    change()
    assert slope_of(fn) == slope


@pytest.mark.usefixtures("_as_before")
@pytest.mark.parametrize("what", objects())
def test_rules_that_hold_the_same_are_the_same_until_one_changes(what: str) -> None:
    (fn, _, _), (same, change, _) = objects()[what], objects()[what]
    first, second = key(fn), key(same)
    assert first == second
    assert hash(first) == hash(second)
    change()
    assert key(same) != first


def key(value: Any) -> Any:
    return FunctionKeys().of(value).content


def test_a_rule_of_a_bound_method_is_traced_once_in_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    class Telling(Solver):
        def backward(self, _: Any, g: Any) -> Any:
            print("rule")
            return (g * self.slope,)

    brainir.lower(lambda x: _bound(Telling(2.0))(x), X)
    assert capsys.readouterr().out.count("rule") == 1
    brainir.lower(lambda x: _bound(Telling(2.0))(x), X)
    assert capsys.readouterr().out == ""
    brainir.lower(lambda x: _bound(Telling(3.0))(x), X)
    assert capsys.readouterr().out.count("rule") == 1


def referring(names: str) -> Callable[..., Any]:
    """Return the first of three functions of one code; each refers to another one, given by its letter."""

    def made() -> Callable[..., Any]:
        following: Any = None

        def fn() -> Any:
            return following

        def follow(other: Any) -> None:
            nonlocal following
            following = other

        fn.follow = follow  # type: ignore[attr-defined]
        return fn

    functions = {letter: made() for letter in "abc"}
    for function, name in zip(functions.values(), names, strict=True):
        function.follow(functions[name])  # type: ignore[attr-defined]
        del function.follow  # type: ignore[attr-defined]
    return functions["a"]


def test_functions_that_lead_back_to_other_ones_are_other_functions() -> None:
    graphs = ["aaa", "baa", "bba", "bca", "bcb", "bcc"]
    assert len({key(referring(names)) for names in graphs}) == len(graphs)
    assert [key(referring(names)) for names in graphs] == [key(referring(names)) for names in graphs]


def test_a_function_that_holds_a_class_of_jax_has_a_key() -> None:
    def made_anew() -> Any:
        return lambda x, kind=jax.Array: x if isinstance(x, kind) else 2 * x

    assert FunctionKeys().of(made_anew()) == FunctionKeys().of(made_anew())


def test_the_key_of_a_function_is_the_same_whatever_had_a_key_before() -> None:
    keys = FunctionKeys()
    inner = referring("bca")
    outer = with_backward(lambda _, g: (g, inner))
    keys.of(inner)
    assert keys.of(outer) == FunctionKeys().of(outer)


class Jitted(Solver):
    """An object with a method that JAX traces once."""

    def __init__(self, slope: Any) -> None:
        super().__init__(slope)
        self.update = jax.jit(self.update)  # type: ignore[method-assign]

    def update(self, g: Any) -> Any:
        return g * self.slope

    def backward(self, _: Any, g: Any) -> Any:
        return (self.update(g),)


def test_what_jax_traced_once_is_not_taken_for_what_it_would_trace_now() -> None:
    solver, other = Jitted(2.0), Jitted(3.0)

    def slope(solver: Any) -> Any:
        back = brainir.to_callable(brainir.lower(lambda x: _bound(solver)(x), X))
        return float(jax.grad(lambda x: back(x).sum())(X)[0])

    assert slope(solver) == 2.0
    solver.slope = 3.0
    assert slope(solver) == 2.0  # as by JAX, which has traced the method
    assert slope(other) == 3.0


def test_a_method_that_jax_traced_once_is_remembered_with_its_object_and_does_not_keep_it() -> None:
    solver = Jitted(2.0)
    keys = [key(solver), key(solver), key(Jitted(2.0))]
    assert keys[0] == keys[1] != keys[2]
    gone = weakref.ref(solver)
    del solver
    gc.collect()
    assert gone() is None
    assert keys[0] != keys[1]


@pytest.mark.parametrize(
    "value",
    [
        iter([1.0]),
        (x for x in ()),
        np.random.default_rng(0),
        types.ModuleType("own"),
        type("Stateful", (), {"__getstate__": lambda self: 0})(),
        type("Listed", (list,), {})(),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_holds_something_unseen_has_no_key(value: Any) -> None:
    with pytest.raises(UnknownBehaviourError):
        key(value)
    with pytest.raises(UnknownBehaviourError):
        key(Solver(value))


def test_a_rule_that_reads_a_long_chain_or_many_objects_is_lowered_without_a_key() -> None:
    chain: Any = None
    for _ in range(5_000):
        chain = Solver(chain)
    for held in (chain, [Solver(1.0) for _ in range(5_000)]):
        with pytest.raises(UnknownBehaviourError):
            key(Solver(held))
        assert slope_of(with_backward(lambda _, g, held=held: (g * (2.0 if held else 1.0),))) == 2.0


def test_values_of_a_trace_have_no_key() -> None:
    @jax.make_jaxpr
    def traced(x: Any) -> Any:
        with pytest.raises(UnknownBehaviourError):
            key(Solver(x))
        return x

    traced(X)


def test_memory_keeps_no_object_alive_that_a_rule_reads() -> None:
    solver = Solver(2.0)
    gone = weakref.ref(solver)
    brainir.lower(_bound(solver), X)
    del solver
    jax.clear_caches()
    gc.collect()
    assert gone() is None

"""What a file cannot hold goes by name: host functions as externals, primitives of others as custom calls."""

import functools
import subprocess
import sys
import textwrap
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.experimental import io_callback

import brainir
from brainir.backend import bindings
from brainir.ir.errors import EmissionError, LoweringError
from brainir.ir.program import Program
from tests.compare import assert_same_bits

X = jnp.array([0.5, -1.0, 2.0])
SEEN: list[Any] = []


def stored(fn: Callable[..., Any], *args: Any, **options: Any) -> Program:
    program = brainir.lower(fn, *args, **options)
    loaded = brainir.loads(brainir.dumps(program))
    assert loaded == program
    return loaded


def executed(program: Program) -> dict[str, Any]:
    """Return the names of the generated module."""
    space: dict[str, Any] = {}
    exec(compile(brainir.to_source(program), "generated", "exec"), space)
    return space


def ops(program: Program) -> list[tuple[str, str]]:
    nodes = [node for function in program.functions for node in function.nodes]
    return [(node.op, node.name) for node in nodes if hasattr(node, "name")]


# Functions on the host


def host_sine(x: Any, scale: Any = 1.0) -> Any:
    return np.sin(x) * np.float32(scale)


def record(*args: Any, **kwargs: Any) -> None:
    SEEN.append(jax.tree.map(np.asarray, (args, kwargs)))


def counted(x: Any) -> Any:
    SEEN.append(np.asarray(x).copy())
    return np.float32(len(SEEN))


def calling(x: Any) -> Any:
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
    y = jax.pure_callback(host_sine, shape, x, scale=2.0, vmap_method="expand_dims")
    jax.debug.callback(record, {"x": x, "pair": (y, [x, None])}, ordered=True, last=x[0])
    return io_callback(counted, jax.ShapeDtypeStruct((), jnp.float32), y, ordered=True) + y


def run_and_see(fn: Callable[..., Any], *args: Any) -> Any:
    SEEN.clear()
    out = jax.block_until_ready(jax.jit(fn)(*args))
    jax.effects_barrier()
    return out, list(SEEN)


EXTERNALS = {"host_sine": host_sine, "record": record, "counted": counted}


def test_host_functions_are_stored_by_name_with_types_and_effects() -> None:
    program = stored(calling, X)
    assert ops(program) == [
        ("pure_callback", "host_sine"),
        ("debug_callback", "record"),
        ("io_callback", "counted"),
    ]
    nodes = {node.name: node for node in program.entry_function.nodes if hasattr(node, "name")}
    assert nodes["counted"].ordered
    assert nodes["counted"].traits.effectful
    assert nodes["record"].ordered
    assert nodes["record"].traits.effectful
    assert not nodes["host_sine"].traits.effectful
    assert nodes["host_sine"].types == ("f32[3]",)
    assert nodes["host_sine"].vmap_method == "expand_dims"


def test_bound_externals_give_the_same_results_and_effects_in_order() -> None:
    program = stored(calling, X)
    ours = brainir.to_callable(program, externals=EXTERNALS)
    assert_same_bits(run_and_see(ours, X), run_and_see(calling, X))
    assert len(run_and_see(ours, X)[1]) == 2


def test_functions_with_externals_trace_to_the_same_program() -> None:
    program = stored(calling, X)
    again = brainir.lower(brainir.to_callable(program, externals=EXTERNALS), X)
    assert brainir.fingerprint(again) == brainir.fingerprint(program)


def test_calls_of_the_host_print_the_structure_of_their_arguments() -> None:
    def looking(x: Any) -> Any:
        jax.debug.callback(record, {"x": x, "pair": (x, [x, None])}, last=x[0])
        return x

    assert "debug_callback[name=record, arguments=({pair: (*, [*, None]), x: *},), keywords=((last,*))] x x x" in str(
        stored(looking, X)
    )


def test_a_function_that_is_called_in_several_ways_stays_one() -> None:
    def calling_twice(x: Any) -> Any:
        jax.debug.callback(record, x)
        jax.debug.callback(record, x, last=x[0])
        jax.debug.callback(record, x, ordered=True)
        return x

    program = stored(calling_twice, X)
    again = brainir.lower(brainir.to_callable(program, externals={"record": record}), X)
    assert [name for _, name in ops(again)] == ["record"] * 3
    assert brainir.fingerprint(again) == brainir.fingerprint(program)


def test_generated_source_takes_externals_from_a_table() -> None:
    module = executed(stored(calling, X))
    assert module["EXTERNALS"] == dict.fromkeys(sorted(EXTERNALS))
    with pytest.raises(KeyError, match=r"counted.*host_sine.*record"):
        module["calling"](X)
    module["EXTERNALS"].update(EXTERNALS)
    assert_same_bits(run_and_see(module["calling"], X), run_and_see(calling, X))


def test_pure_callbacks_are_mapped_as_before() -> None:
    def fn(x: Any) -> Any:
        return jax.pure_callback(host_sine, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="expand_dims")

    ours = brainir.to_callable(stored(fn, X), externals=EXTERNALS)
    batch = jnp.stack([X, 2 * X])
    assert_same_bits(jax.jit(jax.vmap(ours))(batch), jax.jit(jax.vmap(fn))(batch))


def test_effects_inside_loops_and_branches_run_as_often_and_in_order() -> None:
    def fn(x: Any) -> Any:
        def body(c: Any, a: Any) -> Any:
            lax.cond(a > 0, lambda: jax.debug.callback(record, a, ordered=True), lambda: None)
            return c + a, io_callback(counted, jax.ShapeDtypeStruct((), jnp.float32), a, ordered=True)

        return lax.scan(body, x[0], x)

    program = stored(fn, X)
    ours = brainir.to_callable(program, externals=EXTERNALS)
    assert_same_bits(run_and_see(ours, X), run_and_see(fn, X))
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)


def test_prints_are_externals_that_know_their_format() -> None:
    def fn(x: Any) -> Any:
        jax.debug.print("x is {} and {y}", x, y=x[0])
        jax.debug.print("again {}", x)
        return x * 2

    program = stored(fn, X)
    assert ops(program) == [("debug_callback", "debug_print"), ("debug_callback", "debug_print_1")]
    first = next(node for node in program.entry_function.nodes if node.op == "debug_callback")
    assert first.text == "x is {} and {y}"
    ours = brainir.to_callable(program, externals={"debug_print": record, "debug_print_1": record})
    _, seen = run_and_see(ours, X)
    assert sorted(len(kwargs) for _, kwargs in seen) == [0, 1]
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)


def test_two_functions_of_one_name_stay_apart() -> None:
    def made(factor: float) -> Callable[..., Any]:
        def scaled(x: Any) -> Any:
            return np.float32(factor) * x

        return scaled

    first, second = made(2.0), made(3.0)

    def fn(x: Any) -> Any:
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return [jax.pure_callback(part, shape, x) for part in (first, second, first)]

    program = stored(fn, X)
    assert [name for _, name in ops(program)] == ["scaled", "scaled_1", "scaled"]
    ours = brainir.to_callable(program, externals={"scaled": first, "scaled_1": second})
    assert_same_bits(ours(X), fn(X))


def test_pure_functions_that_a_rule_makes_anew_are_one() -> None:
    @jax.custom_jvp
    def checked(x: Any) -> Any:
        messages = ["too large"]

        def raises(y: Any) -> Any:
            raise ValueError(messages[0])

        return lax.cond(x > 9, lambda: jax.pure_callback(raises, jax.ShapeDtypeStruct((), x.dtype), x), lambda: x)

    # The rule calls its function, so the callback is made again for every order of derivative.
    checked.defjvp(lambda primals, tangents: (checked(*primals), 3 * tangents[0]))

    def fn(x: Any) -> Any:
        return jnp.sin(checked(checked(x[0]) * x[1]))

    program = stored(fn, X)
    assert {name for op, name in ops(program) if op == "pure_callback"} == {"raises"}
    ours = brainir.to_callable(program, externals={"raises": host_sine})
    assert_same_bits(jax.jit(jax.grad(ours))(X), jax.jit(jax.grad(fn))(X))
    assert brainir.fingerprint(brainir.lower(ours, X)) == brainir.fingerprint(program)


def test_functions_with_effects_are_one_only_if_they_are_the_same() -> None:
    def recorder() -> Callable[..., Any]:
        seen: list[Any] = []
        return lambda x: seen.append(x)

    first, second = recorder(), recorder()

    def fn(x: Any) -> Any:
        for part in (first, second, first):
            jax.debug.callback(part, x)
        return x

    assert [name for _, name in ops(stored(fn, X))] == ["lambda", "lambda_1", "lambda"]


def test_emission_lists_every_name_without_function() -> None:
    program = stored(calling, X)
    with pytest.raises(EmissionError, match=r"'counted', 'host_sine', 'record'.*\n.*no externals 'other'"):
        brainir.to_callable(program, externals={"other": record})


def test_an_external_that_is_no_function_is_refused_before_it_is_called() -> None:
    with pytest.raises(
        EmissionError, match=r"cannot be emitted:\n  the externals 'counted', 'record' are no functions$"
    ):
        brainir.to_callable(stored(calling, X), externals={**EXTERNALS, "counted": 3, "record": None})


def test_callbacks_with_quantities_or_static_arguments_are_refused_together() -> None:
    def fn(x: Any) -> Any:
        jax.debug.callback(record, x, "text")
        jax.debug.print("{} {}", x, "text")
        return x

    with pytest.raises(LoweringError, match=r"(?s)1\. debug_callback.*no array.*2\. debug_print.*no array"):
        brainir.lower(fn, X)


# Primitives of others

double_p = jax.extend.core.Primitive("brainir_tests_double")
double_p.def_abstract_eval(lambda x, *, factor, kind: x)


def double(x: Any, factor: float = 2.0, kind: str = "plain") -> Any:
    return double_p.bind(x, factor=factor, kind=kind)


same_p = jax.extend.core.Primitive("brainir_tests_same")
same_p.def_abstract_eval(lambda x: x)
same_p.def_impl(jax.jit(lambda x: same_p.bind(x)))


def test_a_primitive_whose_implementation_only_runs_it_goes_by_name() -> None:
    program = stored(lambda x: same_p.bind(x) * 2, X)
    assert [node.op for node in program.entry_function.nodes] == ["custom_call", "mul"]


@functools.partial(jax.custom_jvp, nondiff_argnums=(1, 2))
def doubled(x: Any, factor: float, kind: str) -> Any:
    return x * factor


doubled.defjvp(lambda factor, kind, primals, tangents: (primals[0] * factor, 10.0 * tangents[0]))


@pytest.fixture(autouse=True)
def nothing_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bindings, "_REGISTERED", {})


def test_kept_primitives_are_stored_with_their_attributes_and_bound_by_name() -> None:
    def fn(x: Any) -> Any:
        return jnp.sin(double(x)) + jnp.cos(x)

    program = stored(fn, X, keep=["brainir_tests_double", "cos"])
    found = [node for node in program.entry_function.nodes if node.op == "custom_call"]
    assert [node.name for node in found] == ["brainir_tests_double", "cos"]
    assert found[0].params == (("factor", 2.0), ("kind", "plain"))
    with pytest.raises(EmissionError, match="'brainir_tests_double', 'cos'"):
        brainir.to_callable(program)
    brainir.register_primitive("brainir_tests_double", lambda x, *, factor, kind: doubled(x, factor, kind))
    brainir.register_primitive("cos", lax.cos_p)
    ours = brainir.to_callable(program)
    assert_same_bits(jax.jit(ours)(X), jax.jit(lambda x: jnp.sin(x * 2.0) + jnp.cos(x))(X))
    np.testing.assert_allclose(jax.grad(lambda x: ours(x).sum())(X), 10 * jnp.cos(2 * X) - jnp.sin(X), rtol=1e-5)
    module = executed(program)
    module["PRIMITIVES"].update(brainir_tests_double=lambda x, factor, kind: doubled(x, factor, kind), cos=lax.cos)
    assert_same_bits(jax.jit(module["fn"])(X), jax.jit(ours)(X))


def test_kept_primitives_trace_to_the_same_program() -> None:
    def fn(x: Any) -> Any:
        return lax.scan(lambda c, a: (lax.sin(c) * a, lax.top_k(x, 2)), x[0], x)

    program = stored(fn, X, keep=["sin", "top_k"])
    brainir.register_primitive("sin", lax.sin_p)
    brainir.register_primitive("top_k", lambda x, *, k, **_: lax.top_k(x, k))
    again = brainir.lower(brainir.to_callable(program), X, keep=["sin", "top_k"])
    assert brainir.fingerprint(again) == brainir.fingerprint(program)


def test_one_kept_primitive_need_not_be_in_a_list() -> None:
    assert stored(jnp.sin, X, keep="sin") == stored(jnp.sin, X, keep=["sin"])
    assert [node.op for node in stored(jnp.sin, X, keep="sin").entry_function.nodes] == ["custom_call"]


def test_what_a_primitive_computes_must_be_callable() -> None:
    with pytest.raises(EmissionError, match="'sin' needs a primitive or a function that says what it computes, not 4"):
        brainir.register_primitive("sin", 4)


def test_files_with_named_operations_load_and_are_analysed_without_jax(tmp_path: Path) -> None:
    path = tmp_path / "program.json"
    brainir.save(stored(lambda x: jnp.sin(double(x)), X, keep=["brainir_tests_double"]), path)
    code = """
        import sys, brainir
        program = brainir.load(sys.argv[1])
        print(program, brainir.module_info(program), "jax" in sys.modules)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(path)], capture_output=True, text=True, check=True
    )
    assert "custom_call" in done.stdout
    assert done.stdout.strip().endswith("False")


def test_names_that_python_does_not_write_as_keywords_are_given_in_a_dict() -> None:
    names = ("scale", "class", "a b", '"; evil()  #', "\u00b5")
    seen: list[dict[str, Any]] = []

    def bound(x: Any, **params: Any) -> Any:
        seen.append(params)
        return 2 * x

    program = brainir.lower(double, X, keep=["brainir_tests_double"])
    entry = program.entry_function
    odd = entry.nodes[0].replace(params=tuple((name, number) for number, name in enumerate(names)))
    program = program.replace(functions=(entry.replace(nodes=(odd,)),))
    brainir.register_primitive("brainir_tests_double", bound)
    assert_same_bits(brainir.to_callable(program)(X), 2 * X)
    module = executed(program)
    module["PRIMITIVES"]["brainir_tests_double"] = bound
    assert_same_bits(module[program.entry](X), 2 * X)
    assert seen == [dict(zip(names, range(5), strict=True))] * 2


Pair = namedtuple("Pair", ["value", "offset"])


@jax.tree_util.register_pytree_node_class
class Reading(list[Any]):
    """A pytree of its own kind, which a file cannot hold."""

    def tree_flatten(self) -> Any:
        return tuple(self), None

    @classmethod
    def tree_unflatten(cls, _: Any, children: Any) -> Any:
        return cls(children)


@pytest.mark.parametrize(
    "made", [lambda *x: Reading(x), Pair, lambda *x: {"in a dict": Pair(*x)}, lambda x, y: OrderedDict(b=x, a=y)]
)
def test_an_argument_with_a_class_of_its_own_is_given_as_the_list_of_its_leaves(made: Callable[..., Any]) -> None:
    def doubled(reading: Any, more: Any) -> Any:
        value, offset = jax.tree.leaves(reading)
        return 2 * np.asarray(value) + np.asarray(offset) * more["more"]

    def fn(x: Any) -> Any:
        return jax.pure_callback(doubled, x, made(x, x[::-1]), {"more": x})

    program = stored(fn, X)
    back = brainir.to_callable(program, externals={"doubled": doubled})
    assert_same_bits(jax.jit(back)(X), jax.jit(fn)(X))
    assert brainir.fingerprint(brainir.lower(back, X)) == brainir.fingerprint(program)

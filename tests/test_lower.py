"""``brainir.lower``: what comes in and goes out, constants, element types, nested calls, and the errors."""

import collections
import dataclasses
import functools
import gc
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.export
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import checkify

import brainir
from brainir.ir.errors import EmissionError, LoweringError
from brainir.ir.program import Program
from tests.compare import JAX, assert_same_bits

X = jnp.linspace(-1.0, 1.5, 4)


def round_trip(program: Program) -> Callable[..., Any]:
    """Return the function that comes back from the JSON of a program."""
    loaded = brainir.loads(brainir.dumps(program))
    assert loaded == program
    return brainir.to_callable(loaded)


def check(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Program:
    """Check that a function comes back as it was, containers and bits, and traces to the same program."""
    program = brainir.lower(fn, *args, **kwargs)
    ours = round_trip(program)
    got, wanted = jax.jit(ours)(*args, **kwargs), jax.jit(fn)(*args, **kwargs)
    assert_same_bits(got, wanted)
    assert weak_types(got) == weak_types(wanted)
    assert brainir.fingerprint(brainir.lower(ours, *args, **kwargs)) == brainir.fingerprint(program)
    return program


def weak_types(tree: Any) -> list[bool]:
    return [getattr(leaf, "weak_type", False) for leaf in jax.tree.leaves(tree)]


# Containers


class Pair(NamedTuple):
    first: Any
    second: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cell:
    h: Any
    c: Any
    gain: float = dataclasses.field(default=2.0, metadata={"static": True})
    name: str = dataclasses.field(default="cell", metadata={"static": True})


TREES = {
    "dict": {"b": X, "a": X + 1},
    "dict with integer keys": {10: X, 9: {2: X + 1}},
    "dict with paths as keys": {("layers", 1, "w"): X, ("b",): {(): X + 1}},
    "list": [X, [X + 1]],
    "tuple": (X, (X + 1,), ()),
    "namedtuple": Pair(X, Pair([X + 1], None)),
    "dataclass with static fields": Cell(X, {"k": X + 1}, gain=0.3, name="lstm"),
    "ordered dict": collections.OrderedDict([("z", X), ("a", X + 1)]),
    "None": None,
    "containers without leaves": {"a": [], "b": (None, {})},
}


@pytest.mark.parametrize("name", TREES)
def test_containers_come_in_and_go_out_as_they_are(name: str) -> None:
    def turn(tree: Any, x: Any) -> Any:
        return jax.tree.map(lambda leaf: leaf * 2 - x, tree), [tree]

    program = check(turn, TREES[name], X)
    assert type(round_trip(program)(TREES[name], X)[0]) is type(TREES[name])


def test_static_fields_are_those_of_the_result() -> None:
    program = check(lambda cell: Cell(cell.c * cell.gain, cell.h, name="out"), Cell(X, X, gain=0.3))
    result = round_trip(program)(Cell(X, X, gain=0.3))
    assert (result.gain, result.name) == (2.0, "out")


def test_keys_of_an_ordered_dict_keep_their_order() -> None:
    result = round_trip(check(lambda tree: tree, TREES["ordered dict"]))(TREES["ordered dict"])
    assert list(result) == ["z", "a"]


# Arguments


def combine(x: Any, scale: Any = 3.0, *rest: Any, bias: Any = 0.5, gain: Any) -> Any:
    return x * scale + bias - gain + sum(rest)


def test_arguments_by_position_and_by_keyword_have_their_names() -> None:
    program = check(combine, X, 2.0, X, X + 1, gain=X, bias=1.0)
    listed = [(argument.name, argument.keyword) for argument in program.interface.arguments]
    assert listed == [
        ("x", False), ("scale", False), ("rest_0", False), ("rest_1", False), ("bias", True), ("gain", True),
    ]  # fmt: skip


def test_defaults_that_no_example_argument_replaces_are_part_of_the_program() -> None:
    program = check(combine, X, gain=X)
    assert [argument.name for argument in program.interface.arguments] == ["x", "gain"]


def test_an_argument_given_by_keyword_can_be_passed_by_position() -> None:
    program = brainir.lower(combine, X, scale=2.0, gain=X)
    assert_same_bits(round_trip(program)(X, 2.0, gain=X), combine(X, 2.0, gain=X))


def test_arguments_of_a_method_have_their_names_without_that_of_the_object() -> None:
    class Cell:
        def scaled(self, x: Any, *factors: Any) -> Any:
            return x * sum(factors)

        def total(*values: Any) -> Any:
            return sum(values[1:])

        @classmethod
        def squared(cls, x: Any) -> Any:
            return x * x

    inputs = [check(fn, X, X).entry_function.inputs for fn in (Cell().scaled, Cell().total)]
    assert inputs == [("x", "factors_0"), ("values_0", "values_1")]
    assert check(Cell.squared, X).entry_function.inputs == ("x",)


def test_keywords_of_any_name_are_arguments() -> None:
    program = check(lambda **parts: parts["b"] - parts["a"], b=X, a=X + 1)
    assert [argument.name for argument in program.interface.arguments] == ["a", "b"]


def test_partial_arguments_are_part_of_the_program() -> None:
    program = check(functools.partial(combine, gain=X, bias=2.0), X)
    assert (program.entry, [argument.name for argument in program.interface.arguments]) == ("combine", ["x"])
    assert len(program.entry_function.constants) == 1


def test_arguments_by_keyword_are_keywords_of_the_generated_source_too() -> None:
    namespace: dict[str, Any] = {}
    exec(brainir.to_source(brainir.lower(combine, X, 2.0, gain=X, bias=1.0)), namespace)
    assert_same_bits(namespace["combine"](X, 2.0, bias=1.0, gain=X), combine(X, 2.0, bias=1.0, gain=X))
    with pytest.raises(TypeError, match="takes 2 positional arguments"):
        namespace["combine"](X, 2.0, 1.0, X)


def test_arguments_can_have_the_names_that_constants_and_results_get() -> None:
    table = jnp.arange(3.0)

    def fn(c0: Any, v0: Any, x0: Any, c1: Any) -> Any:
        return table * c0 + v0, (x0 + c1) * jnp.ones(3).at[1].set(2.0) * table[::-1]

    args = tuple(jnp.full(3, value) for value in (1.5, 2.0, -1.0, 0.25))
    program = brainir.lower(fn, *args)
    assert program.entry_function.inputs == ("c0", "v0", "x0", "c1")
    assert_same_bits(brainir.to_callable(program)(*args), fn(*args))


def test_a_lambda_has_a_name() -> None:
    assert check(lambda x: x + 1, X).entry == "fn"


def test_an_object_that_can_be_called_has_the_name_of_its_class() -> None:
    class Scaled:
        def __call__(self, x: Any) -> Any:
            return x * 2

    assert check(Scaled(), X).entry == "Scaled"


def test_a_jitted_function_is_a_call_in_the_program() -> None:
    @jax.jit
    def doubled(x: Any) -> Any:
        return x * 2

    program = check(doubled, X)
    assert [node.op for node in program.entry_function.nodes] == ["call"]


def test_a_function_without_arguments_gives_its_constants() -> None:
    check(lambda: (jnp.arange(3.0) * 2, 4))


def test_shapes_are_enough_as_example_arguments() -> None:
    def fn(tree: Any, key: Any) -> Any:
        return tree["w"] @ tree["x"] + jax.random.normal(key, (3,))

    args = ({"w": jnp.ones((3, 4)), "x": X}, jax.random.key(0))
    shapes = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), args)
    program = brainir.lower(fn, *shapes)
    assert program == brainir.lower(fn, *args)
    assert_same_bits(jax.jit(round_trip(program))(*args), jax.jit(fn)(*args))


# Element types


@pytest.mark.parametrize("number", [3, 0.3, True, 1 + 2j])
def test_python_numbers_stay_weakly_typed(number: Any) -> None:
    program = check(lambda x, n: (x * n, n, n + 1), jnp.ones(2, jnp.bfloat16), number)
    assert program.entry_function.type_of(program.entry_function.inputs[1]).weak_type is (number is not True)


def test_numpy_scalars_are_strongly_typed() -> None:
    program = check(lambda x, n: x * n, jnp.ones(2, jnp.bfloat16), np.float32(0.3))
    assert str(program.entry_function.type_of(program.entry_function.outputs[0])) == "f32[2]"


@pytest.mark.parametrize(
    "dtype", ["bool", "int8", "int32", "uint16", "bfloat16", "float16", "float32", "complex64", "float8_e4m3fn"]
)
def test_element_types_stay_as_they_are(dtype: str) -> None:
    x = jnp.array([0, 1, 1], dtype)
    check(lambda x: (x[::-1], x == x, jnp.stack([x, x])), x)


def test_functions_that_are_told_a_device_put_their_result_there() -> None:
    device = jax.devices("cpu")[0]
    program = check(lambda x: (jnp.asarray(x, device=device), jnp.linspace(0.0, 1.0, 3, device=device) * x[:3]), X)
    puts = [node for function in program.functions for node in function.nodes if node.op == "device_put"]
    assert [target.platform for node in puts for target in node.targets] == ["cpu", "cpu"]


@pytest.mark.skipif(JAX < (0, 10), reason="lax.mul has no out_dtype")
def test_a_product_in_64_bits_is_one_in_32_where_they_are_off() -> None:
    program = check(lambda x: jax.lax.mul(x, x, out_dtype=np.float64), jnp.array([1, 2], jnp.bfloat16))
    (node,) = program.entry_function.nodes
    assert node.out_dtype == "float32"


@pytest.mark.skipif(JAX < (0, 10), reason="lax.mul has no out_dtype")
def test_products_in_another_element_type_have_their_gradient() -> None:
    x, y = jnp.array([1.0, -2.0], jnp.bfloat16), jnp.array([0.3, 4.0], jnp.bfloat16)
    check(jax.grad(lambda x, y: jnp.sum(jnp.sin(jax.lax.mul(x, y, out_dtype=np.float32))), (0, 1)), x, y)


def test_the_algorithm_that_jax_chooses_by_default_is_the_default_precision() -> None:
    preset = jax.lax.DotAlgorithmPreset.DEFAULT
    program = check(lambda x: jax.lax.dot(x, x, precision=preset), X)
    (node,) = program.entry_function.nodes
    assert node.precision == ("DEFAULT", "DEFAULT")


def test_results_can_be_integers_arguments_literals_and_twice_the_same() -> None:
    def fn(x: Any, n: Any) -> Any:
        y = x + 1
        return n + 2, x, y, y, 3, -0.0, True, jnp.int8(4), n

    check(fn, X, 5)


def test_a_result_that_nothing_can_be_stored_in_is_a_constant() -> None:
    program = brainir.lower(lambda x: (x, np.zeros((), jax.dtypes.float0)), X)
    x, nothing = brainir.to_callable(program)(X)
    assert nothing.dtype == jax.dtypes.float0
    assert_same_bits(x, X)


def test_values_without_a_tangent_come_in_and_go_out() -> None:
    check(lambda x, nothing: (x * 2, nothing), X, np.zeros(2, jax.dtypes.float0))


def test_keys_are_taken_with_an_index_out_of_bounds() -> None:
    modes = ["clip", "fill"] if JAX >= (0, 9) else ["clip"]  # JAX 0.8 fills in numbers only
    keys = jax.random.split(jax.random.key(1), 3)
    check(lambda keys, at: [jnp.take(keys, at, mode=mode) for mode in modes], keys, jnp.array([0, 2, 7]))


def test_keys_of_the_old_kind_can_be_cloned() -> None:
    check(lambda key: jax.random.uniform(jax.random.clone(key), (2,)), jax.random.PRNGKey(0))


def test_typed_keys_come_in_and_go_out() -> None:
    def fn(keys: Any) -> Any:
        new = jax.random.split(keys["a"])
        return {"a": new[0]}, jax.random.uniform(new[1], (2,)), keys["b"][1:]

    program = check(fn, {"a": jax.random.key(1), "b": jax.random.split(jax.random.key(2, impl="rbg"), 3)})
    assert program.entry_function.types == ("key<fry>[]", "key<rbg>[3]")


def drawn(key: Any) -> Any:
    first, second = jax.random.split(key)
    return jax.random.normal(first, (5,)), jax.random.gamma(second, 2.0, (3,))


@pytest.mark.parametrize("partitionable", [True, False])
def test_random_numbers_are_those_of_the_setting_that_the_program_was_lowered_under(partitionable: bool) -> None:
    key = jax.random.key(0)
    with jax.threefry_partitionable(partitionable):
        wanted, program = jax.jit(drawn)(key), brainir.lower(drawn, key)
    ours = round_trip(program)
    source: dict[str, Any] = {}
    exec(brainir.to_source(program), source)
    with jax.threefry_partitionable(not partitionable):
        assert_same_bits(jax.jit(ours)(key), wanted)
        assert_same_bits(jax.jit(jax.vmap(ours))(key[None]), jax.tree.map(lambda leaf: leaf[None], wanted))
        assert brainir.fingerprint(brainir.lower(ours, key)) == brainir.fingerprint(program)
        assert brainir.fingerprint(brainir.lower(drawn, key)) != brainir.fingerprint(program)
        with pytest.raises(RuntimeError, match=f"set jax_threefry_partitionable to {partitionable}, as it was"):
            source["drawn"](key)
    with jax.threefry_partitionable(partitionable):
        assert_same_bits(jax.jit(source["drawn"])(key), wanted)


def test_random_numbers_of_both_settings_are_no_module() -> None:
    def both(key: Any) -> Any:
        with jax.threefry_partitionable(False):
            first = jax.random.bits(key, (5,))
        return first, jax.random.bits(key, (5,))

    program = check(both, jax.random.key(0))
    with pytest.raises(EmissionError, match="both values of jax_threefry_partitionable"):
        brainir.to_source(program)


def test_programs_of_64_bit_types_come_back() -> None:
    with jax.enable_x64(True):
        x = jnp.linspace(0.0, 1.0, 4)
        program = check(lambda x, n: (x * 0.1 + n, n + 2**40, x.astype(jnp.float32) * 0.1), x, 7)
        assert program.entry_function.types == ("f64[4]", "~i64[]")


def test_a_program_of_64_bit_types_is_refused_where_they_are_switched_off() -> None:
    with jax.enable_x64(True):
        program = brainir.lower(lambda x: x * 2, jnp.linspace(0.0, 1.0, 4))
    with pytest.raises(EmissionError, match=r"f64\[4\].*jax.config.update\('jax_enable_x64', True\)"):
        brainir.to_callable(program)


def test_a_name_scope_that_is_no_line_of_text_is_written_as_one() -> None:
    def scoped(x: Any) -> Any:
        with jax.named_scope('a "b"\n\u2028ü'):
            return x * 2

    program = check(scoped, X)
    assert program.entry_function.nodes[0].scope == r'a "b"\n\u2028ü'


def test_a_program_is_the_same_where_64_bit_types_are_switched_on_later() -> None:
    def fn(x: Any) -> Any:
        return jax.lax.fori_loop(0, 3, lambda i, y: y * i, x), 2.5, jnp.arange(3) + 1

    ours = round_trip(brainir.lower(fn, X))
    wanted = jax.jit(fn)(X)
    with jax.enable_x64(True):
        assert_same_bits(jax.jit(ours)(X), wanted)
        wide = round_trip(brainir.lower(lambda x: x * 2, np.linspace(0.0, 1.0, 4)))
    with pytest.raises(EmissionError, match="JAX has 64-bit types off"):
        wide(X)


def test_an_array_of_numpy_with_64_bits_is_taken_as_jax_takes_it_at_the_time() -> None:
    ours, wide = brainir.to_callable(brainir.lower(lambda x: x * 2, X)), np.linspace(0.0, 1.0, len(X))
    assert_same_bits(ours(wide), jax.jit(lambda x: x * 2)(wide))
    with jax.enable_x64(True), pytest.raises(EmissionError, match=r"argument x is f64\[\d+\], but the program"):
        ours(wide)
    assert ours(wide).dtype == jnp.float32


# Constants


CONSTANTS = {
    "float32": np.array([0.1, -0.0, np.inf, 1e-45], np.float32),
    "int32": np.array([1, -2, 2**31 - 1, 0], np.int32),
    "bfloat16": np.array([0.1, 3.0, np.nan, -np.inf], jnp.bfloat16),
    "bool": np.array([True, False, True, True]),
    "payload of NaN": np.array([0x7FC00001, 0xFFC00000, 0x7F800001, 0x7FFFFFFF], np.uint32).view(np.float32),
    "complex": np.array([1 + 2j, complex(-0.0, np.nan)], np.complex64),
    "empty": np.zeros((0, 4), np.float32),
    "zero axes": np.array(0.1, np.float32),
    "large": np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32),
}


@pytest.mark.parametrize("name", CONSTANTS)
def test_constants_keep_every_bit(name: str) -> None:
    array = jnp.asarray(CONSTANTS[name])
    got, _ = round_trip(check(lambda x: (array, x), X))(X)
    assert jnp.asarray(got).dtype == array.dtype
    assert np.asarray(got).tobytes() == CONSTANTS[name].tobytes()


@pytest.mark.parametrize("numbers", [np.nan, np.array([np.nan, np.inf], np.float32)], ids=["number", "array"])
def test_numbers_that_debug_nans_looks_for_can_be_constants(numbers: Any) -> None:
    with jax.debug_nans(True), jax.debug_infs(True):
        ours = round_trip(brainir.lower(lambda x: jnp.where(x[:, None] > 0, x[:, None], numbers), X))
        assert_same_bits(jax.jit(lambda x: ours(x)[-1, 0])(X), X[-1])
        with pytest.raises(FloatingPointError):
            ours(X)


def test_nothing_is_compiled_to_make_constants(caplog: pytest.LogCaptureFixture) -> None:
    program = brainir.lower(lambda x: x + np.linspace(0.0, 1.0, 43, dtype=np.float32), jnp.float32(1.0))
    with jax.log_compiles():
        brainir.to_callable(program)
    assert not [record.message for record in caplog.records if "ompil" in record.message]


def test_keys_can_be_constants() -> None:
    key = jax.random.key(7)
    check(lambda x: (x + jax.random.normal(key, (4,)), key), X)


def test_arrays_and_keys_that_jax_keeps_as_literals_are_constants() -> None:
    table, key = jnp.arange(4.0), jax.random.key(7)

    def fn(x: Any) -> Any:
        return jax.lax.map(lambda y: y + table, x[:, None]) * table, jax.random.normal(key, (4,))

    plain = brainir.lower(fn, X)
    jax.config.update("jax_use_simplified_jaxpr_constants", True)
    try:
        program = check(fn, X)
    finally:
        jax.config.update("jax_use_simplified_jaxpr_constants", False)
    assert_same_bits(jax.jit(round_trip(program))(X), jax.jit(round_trip(plain))(X))


def test_a_constant_that_is_changed_later_stays_in_the_program() -> None:
    table = np.arange(4, dtype=np.float32)
    program = brainir.lower(lambda x: x + table, X)
    expected = X + table
    table[:] = 0
    assert_same_bits(round_trip(program)(X), expected)


# Nested calls


def test_equal_nested_functions_are_one_function_of_the_table() -> None:
    @jax.jit
    def shared(x: Any) -> Any:
        return jnp.sin(x) * 2

    def equal(x: Any) -> Any:
        return jnp.sin(x) * 2

    def fn(x: Any) -> Any:
        looped, _ = jax.lax.scan(lambda h, _: (shared(h), None), x, length=2)
        return shared(x) + shared(x + 1) + jax.jit(equal)(x) + looped

    program = check(fn, X)
    ops = [[node.op for node in function.nodes] for function in program.functions]
    assert ops.count(["sin", "mul"]) == 1


def test_nested_functions_that_differ_in_one_bit_are_two() -> None:
    def scaled(by: float) -> Callable[..., Any]:
        return jax.jit(lambda x: x * by)

    program = check(lambda x: scaled(0.0)(x) + scaled(-0.0)(x), X)
    assert len(program.functions) == 3


def test_nodes_that_differ_in_one_part_only_are_computed_apart() -> None:
    def fn(x: Any, y: Any, n: Any) -> list[Any]:
        up, down = jax.jit(lambda a: a + 1), jax.jit(lambda a: a - 1)
        return [
            *(jax.lax.integer_pow(x, 2), jax.lax.integer_pow(x, 3)),
            *(jax.lax.cumsum(x, reverse=True), jax.lax.cumsum(x)),
            *(x * x, x * y, y * x, x * 2.0, x * 3.0, 2.0 * x, x * jnp.float32(2.0), n * 2, x - y, y - x),
            *(up(x), down(x), up(y), jax.named_call(up, name="twice")(up(x))),
            *(jax.lax.broadcast(n, (2,)), jax.lax.broadcast(n, (2, 1)), jnp.argmax(x), jnp.argmin(x)),
        ]

    check(fn, X, X[::-1] * 3.0, jnp.arange(3))


@jax.custom_vjp
def product(x: Any, y: Any) -> Any:
    return x * y


product.defvjp(
    lambda x, y: (x.value * y.value, (x.value, y.value)),
    lambda xy, ct: (ct * xy[1], ct * xy[0]),
    symbolic_zeros=True,
)


@pytest.mark.parametrize("form", ["callable", "source"])
@pytest.mark.parametrize(
    "fn",
    [
        lambda x: jax.lax.reduce(x, jnp.float32(1), lambda a, b: a * b + a, (0,)),
        lambda x: jax.lax.reduce_window(x, jnp.float32(1), lambda a, b: a * b + a, (2,), (1,), "VALID"),
        lambda x: product(x, x + 1),
    ],
    ids=["reduction", "windows", "symbolic zeros"],
)
def test_a_regenerated_function_keeps_nothing_of_what_is_traced(fn: Callable[..., Any], form: str) -> None:
    program = brainir.lower(fn, X)
    module: dict[str, Any] = {}
    exec(brainir.to_source(program), module)
    ours = brainir.to_callable(program) if form == "callable" else module[program.entry]
    with jax.checking_leaks():
        assert_same_bits(jax.jit(lambda x: ours(x))(X), jax.jit(fn)(X))


def test_lowering_leaves_no_garbage_beside_that_of_tracing() -> None:
    # The garbage collector rests meanwhile: what only it could free would stay until it looks again.
    @jax.custom_jvp
    def spike(v: Any) -> Any:
        return (v > 0).astype(v.dtype)

    spike.defjvp(lambda primals, tangents: (spike(*primals), tangents[0] / (1 + jnp.abs(primals[0]))))

    def fn(x: Any) -> Any:
        return jax.lax.scan(lambda carry, _: (spike(jax.jit(jnp.sin)(carry)), None), x, length=3)

    def garbage(trace: Callable[..., Any]) -> int:
        trace(fn, X)
        gc.collect()
        gc.disable()
        try:
            trace(fn, X)
            return gc.collect()
        finally:
            gc.enable()

    assert garbage(brainir.lower) <= garbage(lambda fn, x: jax.make_jaxpr(lambda y: fn(y))(x))


# Errors of lowering


opaque_p = jax.extend.core.Primitive("opaque")
opaque_p.def_abstract_eval(lambda x: x)


def opaque_parts(x: Any) -> Any:
    y = opaque_p.bind(x)
    jax.debug.callback(print, "text", y)
    return jax.checkpoint(jnp.sin, policy=lambda *_, **__: True)(y)


def test_everything_that_cannot_be_lowered_is_listed_with_its_line() -> None:
    with pytest.raises(LoweringError) as caught:
        brainir.lower(opaque_parts, X)
    first = opaque_parts.__code__.co_firstlineno
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    for line, (primitive, offset) in zip(lines[1:], (("opaque", 1), ("debug_callback", 2), ("remat2", 3)), strict=True):
        assert primitive in line
        assert line.endswith(f"test_lower.py:{first + offset} (opaque_parts)")


def test_a_value_of_an_element_type_of_another_package_is_refused_with_its_line() -> None:
    key = jax.random.key(0).dtype

    class PairType(type(key).__mro__[1]):  # type: ignore[misc]  # JAX has the class, and no public name for it
        type = jax.dtypes.extended
        name = "pair"
        _rules = key._rules

    make_p, take_p = jax.extend.core.Primitive("make_pair"), jax.extend.core.Primitive("take_pair")
    make_p.def_abstract_eval(lambda: jax.core.ShapedArray((2,), PairType()))
    take_p.def_abstract_eval(lambda _: jax.core.ShapedArray((2,), jnp.float32.dtype))
    with pytest.raises(LoweringError, match=r"make_pair: a value of the element type .*, at test_lower\.py"):
        brainir.lower(lambda: take_p.bind(make_p.bind()))


def test_keys_of_a_generator_of_another_package_are_refused() -> None:
    impl: Any = jax.extend.random.define_prng_impl(
        key_shape=(2,),
        seed=lambda seed: jnp.full(2, seed, jnp.uint32),
        split=lambda key, shape: jnp.broadcast_to(key, (*shape, 2)),
        random_bits=lambda key, width, shape: jnp.broadcast_to(key[0], shape),
        fold_in=lambda key, data: key + data,
        name="brainir_tests",
        tag="tests",
    )
    key = jax.random.key(3, impl=impl)
    with pytest.raises(LoweringError, match=r"a value of the element type key<tests>, which is none of JAX's"):
        brainir.lower(lambda key: jax.random.bits(key, (2,)), key)
    with pytest.raises(LoweringError, match=r"a value of the element type key<tests>"):
        brainir.lower(lambda seed: jax.random.key_data(jax.random.key(seed, impl=impl)), 3)


def test_a_class_that_is_registered_with_other_parts_than_its_fields_comes_back_as_it_is() -> None:
    class Packed(NamedTuple):
        """Registered with its array alone, as the state of an optimizer of JAX's examples is."""

        array: Any
        shape: Any

    @dataclasses.dataclass
    class Named:
        array: Any
        name: str

    jax.tree_util.register_pytree_node(
        Packed, lambda packed: ((packed.array,), packed.shape), lambda shape, parts: Packed(*parts, shape)
    )
    jax.tree_util.register_pytree_node(
        Named, lambda named: ((named.array,), named.name), lambda name, parts: Named(*parts, name)
    )
    for value in (Packed(X, X.shape), Named(X, "a")):
        program = check(lambda value: jax.tree.map(lambda array: array * 2, value), value)
        assert round_trip(program)(value)[1] == value[1] if isinstance(value, tuple) else value.name


def test_a_primitive_of_a_nested_function_without_lines_has_the_line_of_the_call() -> None:
    @jax.jit
    def outer(x: Any) -> Any:
        return jax.lax.map(lambda row: opaque_p.bind(row), x)

    with pytest.raises(LoweringError) as caught:
        brainir.lower(lambda x: outer(jnp.stack([x, x])), X)
    line = outer.__wrapped__.__code__.co_firstlineno + 2
    assert f"test_lower.py:{line} (" in str(caught.value)


def test_a_primitive_inside_a_nested_function_is_listed_once() -> None:
    inner = jax.jit(lambda x: opaque_p.bind(x))
    with pytest.raises(LoweringError, match="brainir has no rule for this primitive") as caught:
        brainir.lower(lambda x: jax.lax.map(inner, jnp.stack([x, x])), X)
    assert str(caught.value).count("opaque:") == 1


def test_a_value_of_a_function_that_is_being_traced_is_no_constant() -> None:
    def around(x: Any) -> Any:
        return brainir.to_callable(brainir.lower(lambda y: y * x, X))(x)

    for traced in (jax.jit(around), jax.vmap(around), jax.jacfwd(around)):
        with pytest.raises(LoweringError, match="fn: it closes over a value of a function around it, which only"):
            traced(X)


def test_an_array_that_was_deleted_is_no_constant() -> None:
    held = jnp.ones(3)
    held.delete()
    with pytest.raises(LoweringError, match=r"it closes over an array f32\[3\] that was deleted"):
        brainir.lower(lambda x: (x, held), X)


def test_a_function_is_lowered_while_another_one_is_traced() -> None:
    def around(x: Any) -> Any:
        return round_trip(brainir.lower(jnp.sin, x))(x) * 2

    assert_same_bits(jax.jit(around)(X), jax.jit(lambda x: jnp.sin(x) * 2)(X))
    assert_same_bits(jax.jacfwd(around)(X), jax.jacfwd(lambda x: jnp.sin(x) * 2)(X))


@jax.tree_util.register_pytree_node_class
class Odd:
    """A container with something besides its part that no file can hold."""

    def __init__(self, value: Any, kept: Any = None) -> None:
        self.value, self.kept = value, kept

    def tree_flatten(self) -> Any:
        return (self.value,), self.kept

    @classmethod
    def tree_unflatten(cls, kept: Any, children: Any) -> Any:
        return cls(*children, kept)


@pytest.mark.parametrize(
    ("fn", "args", "where"),
    [
        (
            lambda x: (x, [Odd(x, jnp.sin)]),
            (X,),
            r"result\[1\]\[0\]: .*:Odd holds the function sin, which a file cannot hold, and no argument is like it",
        ),
        (lambda odd: Odd(odd.value, {1}), (Odd(X, "a"),), "result: .*:Odd holds a value of type set"),
        (lambda x: Layer(x, x, jnp.tanh, 3), (X,), "result: .*:Layer holds the function tanh in 'act'"),
        (lambda tree: tree["a"], ({"a": X, 1: X},), "tree: JAX sorts the keys of a dict, and cannot compare these"),
        (lambda tree: tree[0.5], ({0.5: X},), "tree: dict keys must be str, int, or tuples"),
    ],
)
def test_containers_that_a_file_cannot_hold_are_named_with_their_place(fn: Any, args: Any, where: str) -> None:
    with pytest.raises(LoweringError, match=where):
        brainir.lower(fn, *args)


def nested(levels: int, leaf: Any) -> Any:
    for _ in range(levels - 1):
        leaf = {"a": leaf}
    return leaf


def test_pytrees_deeper_than_a_file_holds_are_refused_by_name() -> None:
    deepest = brainir.lower(lambda x: x, nested(90, X))
    assert brainir.loads(brainir.dumps(deepest)) == deepest
    for levels in (91, 400):
        with pytest.raises(LoweringError, match=r"^x: it nests more than 90 levels deep; flatten it$"):
            brainir.lower(lambda x: 0.0, nested(levels, X))
        with pytest.raises(LoweringError, match=r"^result: it nests more than 90 levels deep"):
            brainir.lower(functools.partial(nested, levels), X)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(init=False)
class Layer:
    """A dataclass with an ``__init__`` of its own and static fields of all kinds, as modules of Equinox are."""

    w: Any
    bias: Any
    act: Any = dataclasses.field(metadata={"static": True})
    sizes: Any = dataclasses.field(metadata={"static": True})

    def __init__(self, *values: Any, **named: Any) -> None:
        for name, value in (*zip(("w", "bias", "act", "sizes"), values, strict=False), *named.items()):
            object.__setattr__(self, name, value)


def custom_step(layer: Any, states: Any, x: Any) -> Any:
    new = Layer(layer.w * 0.5, None, layer.act, layer.sizes)
    grown = [Odd({"v": state.value["v"] + layer.act(layer.w * x)}, state.kept) for state in states]
    return {"layer": new, "states": grown[::-1]}, Odd(grown[0].value["v"], states[0].kept)


CUSTOM = (Layer(X, None, jnp.tanh, (3, 2)), [Odd({"v": X}, jnp.sin), Odd({"v": X + 1}, jnp.cos)], X)


def test_containers_of_other_classes_come_in_and_go_out_with_what_a_file_cannot_hold() -> None:
    def turn(layer: Any, states: Any, x: Any) -> Any:
        return custom_step(layer, states, x)[0]

    result = round_trip(check(turn, *CUSTOM))(*CUSTOM)
    assert type(result["layer"]) is Layer
    assert (result["layer"].act, result["layer"].sizes) == (jnp.tanh, (3, 2))
    assert [state.kept for state in result["states"]] == [jnp.cos, jnp.sin]


def test_a_tuple_of_its_parts_stands_for_a_container_of_another_class() -> None:
    layer, states, x = CUSTOM
    program = brainir.lower(lambda layer, states, x: custom_step(layer, states, x)[0], *CUSTOM)
    parts = ((layer.w, None), [({"v": state.value["v"]},) for state in states], x)
    result = round_trip(program)(*parts)
    assert_same_bits(
        result, {"layer": (X * 0.5, None), "states": [({"v": X + 1 + jnp.tanh(X * X)},), ({"v": X + jnp.tanh(X * X)},)]}
    )
    with pytest.raises(brainir.BrainIRError, match=r"states\[0\] must be a .*:Odd with \[0\], or a tuple of these"):
        round_trip(program)(layer, [{"v": X}, states[1]], x)


def test_containers_of_other_classes_hold_the_states_of_a_step() -> None:
    program = brainir.lower_step(
        lambda layer, state, x: (Odd(jnp.tanh(state.value * layer.w + x), state.kept), state.value),
        CUSTOM[0], Odd(X, jnp.sin), X,
    )  # fmt: skip
    assert [state.path for state in program.interface.states] == [("w",), (0,)]
    hidden, _ = round_trip(program)(CUSTOM[0], Odd(X, jnp.sin), X)
    assert hidden.kept is jnp.sin
    assert_same_bits(hidden.value, jnp.tanh(X * X + X))
    with pytest.raises(brainir.BrainIRError, match=r"new hidden: .* holds the function cos"):
        brainir.lower_step(lambda layer, state, x: (Odd(x, jnp.cos), x), CUSTOM[0], Odd(X, jnp.sin), X)


NO_ARRAYS = ["relu", object(), jnp.tanh, np.array(["relu"]), np.array([object()]), np.zeros(2, [("x", "f4")])]


@pytest.mark.parametrize("value", NO_ARRAYS, ids=range(len(NO_ARRAYS)))
def test_an_argument_that_is_no_array_is_to_be_fixed_with_partial(value: Any) -> None:
    with pytest.raises(LoweringError, match=r"at \[1\], which is not an array; .*functools\.partial"):
        brainir.lower(lambda x, how: x, X, value)
    with pytest.raises(LoweringError, match=r"(?s)holds array.{,75} at \[1\].*register_dataclass"):
        brainir.lower(lambda x, how: x, X, np.array(["relu"] * 100))
    with pytest.raises(LoweringError, match=r"at \['how'\]\.bias, which is not an array; "):
        brainir.lower(lambda x, *, how: x, X, how=Layer(X, value, None, None))


@pytest.mark.parametrize("value", NO_ARRAYS, ids=range(len(NO_ARRAYS)))
def test_a_result_that_is_no_array_is_refused(value: Any) -> None:
    with pytest.raises(LoweringError, match=r"the result holds .*, which is not an array"):
        brainir.lower(lambda x: {"y": x, "how": value}, X)


def test_example_arguments_must_fit_the_signature() -> None:
    with pytest.raises(LoweringError, match=r"combine cannot be called .*'gain'"):
        brainir.lower(combine, X)


# Errors of the regenerated function


def two(x: Any, tree: Any) -> Any:
    return x + tree["a"] + tree["b"][0]


ARGS = (X, {"a": X, "b": [X]})


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ((X[:3], ARGS[1]), r"argument x is f32\[3\], .*f32\[4\]"),
        ((jnp.arange(4), ARGS[1]), r"argument x is i32\[4\], .*f32\[4\]"),
        ((jax.random.key(0), ARGS[1]), r"argument x is key<fry>\[\]"),
        (("text", ARGS[1]), "argument x must be an array .* not of type str"),
        ((1.0, ARGS[1]), "argument x must be an array .* not of type float"),
        ((X, {"a": X}), r"argument tree must be a dict with keys \['a', 'b'\], not a dict with keys \['a'\]"),
        ((X, [X, X]), "argument tree must be a dict"),
        ((X, {"a": X, "b": (X,)}), r"argument tree\['b'\] must be a list of 1 items, not a tuple of 1 items"),
        ((X, {"a": X, "b": [X, X]}), r"argument tree\['b'\] must be a list of 1 items, not a list of 2 items"),
        ((X, {"a": X, "b": [X[:2]]}), r"argument tree\['b'\]\[0\] is f32\[2\]"),
        ((X, {"a": X, "b": None}), r"argument tree\['b'\] must be a list"),
        ((X,), "missing a required argument: 'tree'"),
        ((*ARGS, X), "too many positional arguments"),
    ],
)
def test_arguments_that_do_not_fit_are_named(args: Any, message: str) -> None:
    ours = round_trip(brainir.lower(two, *ARGS))
    with pytest.raises(EmissionError, match=message):
        ours(*args)
    with pytest.raises(EmissionError, match=message):
        jax.jit(lambda: ours(*args))()


def test_keywords_that_do_not_exist_are_refused() -> None:
    with pytest.raises(EmissionError, match=r"two\(x, tree\): got an unexpected keyword argument 'z'"):
        round_trip(brainir.lower(two, *ARGS))(*ARGS, z=X)


def test_none_is_asked_for_where_the_program_took_none() -> None:
    ours = round_trip(brainir.lower(lambda x, nothing: x, X, None))
    with pytest.raises(EmissionError, match="argument nothing must be None"):
        ours(X, X)


def test_what_jax_says_of_a_value_that_is_not_known_names_the_users_function() -> None:
    def decides(params: dict[str, jax.Array], x: jax.Array) -> jax.Array:
        return x if (params["w"] * x).sum() > 0 else -x

    params = {"w": X}
    for fn, args in ((decides, (params, X)), (functools.partial(decides, params), (X,))):
        with pytest.raises(jax.errors.TracerBoolConversionError, match=r"function decides at .*test_lower\.py"):
            brainir.lower(fn, *args)


def test_root_with_a_weakly_typed_tangent_comes_back_as_the_same_program() -> None:
    def newton(fn: Callable[[Any], Any], start: Any) -> Any:
        return jax.lax.fori_loop(0, 5, lambda _, x: x - fn(x) / (2 * x), start)

    def root(a: Any) -> Any:
        return jax.lax.custom_root(lambda x: x**2 - a, jnp.float32(1), newton, lambda fn, y: y / fn(1.0))

    program = brainir.lower(root, jnp.float32(2))
    ours = brainir.to_callable(program)
    assert brainir.fingerprint(brainir.lower(ours, jnp.float32(2))) == brainir.fingerprint(program)
    for derivative in (lambda fn: fn, jax.grad, lambda fn: jax.grad(jax.grad(fn))):
        assert_same_bits(jax.jit(derivative(ours))(jnp.float32(2)), jax.jit(derivative(root))(jnp.float32(2)))


@pytest.mark.parametrize("keep", [3, None, [3], [["sin"]]])
def test_what_names_no_primitives_is_refused(keep: Any) -> None:
    with pytest.raises(LoweringError, match="keep must hold names of primitives"):
        brainir.lower(jnp.sin, X, keep=keep)


@pytest.mark.skipif(JAX < (0, 9), reason="a scan has at least one step in a round")
def test_a_scan_of_which_all_steps_are_compiled_as_one_comes_back() -> None:
    def fn(x: Any) -> Any:
        return jax.lax.scan(lambda c, row: (jnp.sin(c) * row, c), x[0], x, unroll=0)

    x = jnp.linspace(0.1, 1.0, 6).reshape(3, 2)
    for way in (fn, jax.grad(lambda x: fn(x)[0].sum())):
        check(way, x)


def test_an_error_check_is_refused_and_the_way_out_works() -> None:
    def fn(x: Any) -> Any:
        checkify.check(jnp.all(x > 0), "not positive")
        return jnp.log(x)

    x = jnp.ones(2)
    with pytest.raises(
        LoweringError, match=r"check: it is an error check.*checkify\(function\) without its first result"
    ):
        brainir.lower(fn, x)
    with pytest.raises(LoweringError, match=r"result\[0\]\[0\]: dict keys must be .*leave the dict out"):
        brainir.lower(checkify.checkify(fn), x)
    ours = brainir.to_callable(brainir.lower(lambda x: checkify.checkify(fn)(x)[1], x))
    assert_same_bits(ours(x), jnp.log(x))


def test_sizes_that_are_symbols_are_refused() -> None:
    (size,) = jax.export.symbolic_shape("n")
    with pytest.raises(LoweringError, match=r"has the sizes \(n, 2\), which are symbols; lower with numbers"):
        brainir.lower(jnp.sin, jax.ShapeDtypeStruct((size, 2), jnp.float32))


@pytest.mark.skipif(JAX == (0, 9), reason="JAX 0.9 takes what it traces with for a static argument")
def test_static_arguments_of_a_jitted_function_are_told_how_they_are_given() -> None:
    @functools.partial(jax.jit, static_argnames="times")
    def fn(x: Any, times: int) -> Any:
        return x * times

    with pytest.raises(ValueError, match="static arguments") as caught:
        brainir.lower(fn, X, times=2)
    assert "fix them with functools.partial" in str(caught.value.__notes__)
    check(functools.partial(fn, times=2), X)


@pytest.mark.parametrize("shape", [(2, 3), (1, 2), (2, 1)])
@pytest.mark.parametrize("impl", ["threefry2x32", "rbg"])
def test_keys_of_several_seeds_come_back(impl: str, shape: tuple[int, ...]) -> None:
    def fn(seeds: Any) -> Any:
        keys = jax.vmap(jax.vmap(lambda seed: jax.random.key(seed, impl=impl)))(seeds)
        return keys, jax.vmap(jax.random.uniform)(keys[0])

    seeds = jnp.arange(np.prod(shape)).reshape(shape)
    program = check(fn, seeds)
    executed: dict[str, Any] = {"__name__": "generated"}
    exec(brainir.to_source(program), executed)
    assert_same_bits(jax.jit(executed[program.entry])(seeds), jax.jit(fn)(seeds))


def test_arrays_that_nothing_reads_are_not_stored() -> None:
    shift = jnp.arange(2.0)

    @jax.jit
    def body(carry: Any, x: Any) -> Any:
        new = jnp.sin(carry * x + shift.sum())
        return new, new

    def linearized(carry: Any, xs: Any) -> Any:
        kept = jax.checkpoint(body, policy=jax.checkpoint_policies.everything_saveable)
        out, moved = jax.linearize(functools.partial(jax.lax.scan, kept), carry, xs)
        return out, moved(carry, xs)

    program = check(linearized, X, jnp.ones((5, *X.shape)))
    for function in program.functions:
        read = {operand for node in function.nodes for operand in node.inputs} | {*function.outputs}
        assert {constant.name for constant in function.constants} <= read

"""Generated source: what it computes and imports, how it reads, and that a file cannot put code into it."""

import ast
import builtins
import collections
import dataclasses
import functools
import inspect
import runpy
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from jax import lax

import brainir
from brainir.backend.evaluate import Evaluator
from brainir.ir.constant import Constant
from brainir.ir.errors import BrainIRError, EmissionError, VerificationError
from brainir.ir.interface import Argument, Interface, State, Unit
from brainir.ir.ops import Binary, Call, Compare, CustomJvp, DotGeneral, Scan, Unary, UnaryAccuracy
from brainir.ir.program import Function, Program
from brainir.ir.trees import DataclassTree, DictTree, LeafTree, NamedTupleTree, SequenceTree
from brainir.ir.types import TensorType
from tests import alone
from tests.compare import assert_same_function
from tests.strategies import programs

X = jnp.linspace(-1.0, 1.5, 4)
W = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)), jnp.float32)


class Pair(NamedTuple):
    first: Any
    second: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Cell:
    h: Any
    c: Any
    name: str = dataclasses.field(default="cell", metadata={"static": True})


@jax.tree_util.register_pytree_node_class
class Bag:
    """A container of arrays and of a function, which no file holds."""

    def __init__(self, function, *parts):
        self.function, self.parts = function, parts

    def tree_flatten(self):
        return self.parts, self.function

    @classmethod
    def tree_unflatten(cls, function, parts):
        return cls(function, *parts)


def elementwise(x, y):
    return -x + y * 2.0 - x / (jnp.abs(y) + 0.1), jnp.where((x > 0) & ~(y >= x), x, y**3), jnp.tanh(x) @ W


def relu(x):
    return jax.nn.relu(x) * jax.nn.silu(x)


def numbers(x, scale):
    return x * scale + 1, scale / 3.0


def integers(i, b):
    wide = i // 2 + (i % 3 << 1) - (i ^ 5)
    return (
        wide,
        b | (i < 2),
        -i,
        i * jnp.int8(3),
        jnp.sum(jnp.where(b, i, 0)),
        i.astype(jnp.uint8) + jnp.uint8(200),
    )


def narrow(x):
    y = x.astype(jnp.bfloat16)
    z = x.astype(jnp.float16) * jnp.float16(0.1) - 0.25
    return y * jnp.bfloat16(0.1) + y / 3.0, z, x.astype(jnp.float8_e4m3fn), jnp.bfloat16(0.3)


def special(x):
    return (
        jnp.where(x > jnp.inf, jnp.nan, -0.0) * x,
        jnp.maximum(x, -jnp.inf),
        x + np.frombuffer(b"\x01\x00\xc0\x7f", np.float32)[0],
        x * (1 + 2j),
        lax.complex(x, -x) * np.complex64(complex(-0.0, np.inf)),
        1e-45 * x,
    )


def scanned(xs, carry):
    def step(state, x):
        c, n = state
        return (jnp.tanh(c + xs.sum() * x + carry[0]), n + 1), (c * 2, n)

    (c, n), (ys, ns) = lax.scan(step, (xs[0], 0), xs, reverse=True)
    return c, n, ys, ns, lax.scan(lambda c, _: (c * 0.5, None), c, None, length=3)[0]


def branches(x, flag):
    picked = lax.switch(jnp.sum(x > 0), [lambda v: v, lambda v: v * 2, jnp.cos], x)
    return picked, lax.cond(flag, lambda: (x, 1), lambda: (-x, 2))


def loops(x):
    limit = jnp.max(x)
    halved = lax.while_loop(lambda v: jnp.sum(jnp.abs(v)) > limit, lambda v: v * 0.5, x)
    return halved, lax.fori_loop(0, 3, lambda i, v: (v[0] + i, v[1] * x), (0, x))


@functools.partial(jax.custom_jvp, nondiff_argnums=())
def surrogate(x, alpha, count):
    return (x > 0).astype(x.dtype), count + 1


@surrogate.defjvp
def surrogate_jvp(primals, tangents):
    x, alpha, count = primals
    dx, dalpha, _ = tangents
    out = surrogate(x, alpha, count)
    moved = dx * jax.nn.sigmoid(alpha * x) + 0.0 * dalpha
    return out, (moved, np.zeros(np.shape(count), jax.dtypes.float0))


def custom_jvp(x, alpha):
    spikes, count = surrogate(x, alpha, 3)
    return spikes * alpha, count


@jax.custom_vjp
def clipped(x, scale, n):
    return jnp.sin(x) * scale * n


def clipped_fwd(x, scale, n):
    return clipped(x, scale, n), (jnp.cos(x), scale, n)


def clipped_bwd(residuals, cotangent):
    cosine, scale, _ = residuals
    return jnp.clip(cotangent * cosine * scale, -1.0, 1.0), jnp.sum(cotangent), None


clipped.defvjp(clipped_fwd, clipped_bwd)


def custom_vjp(x, scale):
    return clipped(x, scale, 3) * 2.0


@jax.custom_vjp
def several(x, y):
    return x * y, x + y


several.defvjp(lambda x, y: (several(x, y), (x, y)), lambda xy, ct: (ct[0] * xy[1] * 7.0, ct[1]))


def custom_vjp_of_several_results(x, y):
    first, second = several(x, y)
    return first, second * 2.0


@jax.jit
def shared(x):
    return x * 2.0 + 1.0


@functools.partial(jax.jit, inline=False, keep_unused=True)
def kept(x, unused):
    return x + 1.0


def nested_jit(x):
    return shared(x) + shared(-x), kept(x, x), lax.map(shared, x), jax.jit(lambda v: lax.map(shared, v))(x)


def constants(x):
    table = np.arange(24, dtype=np.float32).reshape(4, 6) / 7
    few = np.array([1, -2, 3, 4], np.int16)
    return (
        x @ table,
        few * 2,
        x + np.array([0.1, np.nan, -0.0, np.inf], np.float32),
        np.zeros((0, 2), np.float32),
    )


def keys(key, x):
    first, second = jax.random.split(key)
    return (
        jax.random.normal(first, (3,)) * x[0],
        second,
        jax.random.fold_in(key, 3),
        jax.random.bernoulli(second),
    )


def trees(pair, cell, mapping, nothing, empty):
    new = Cell(h=cell.h + pair.first, c=cell.c * pair.second[0], name="other")
    return {
        "pair": Pair(pair.second[1], [pair.first]),
        "cell": new,
        "two": (mapping[2]["a"], None),
        "ordered": collections.OrderedDict([("z", pair.first), ("a", cell.c)]),
    }


def fresh_classes(x):
    return Pair(x, Cell(h=x, c=-x)), Cell(h=x, c=Pair(x, 2.0))


def containers(bag, parts, bag_):
    (inner,) = bag.parts[1]
    (x,) = inner.parts
    return bag_, [Bag(jnp.cos, bag.function(x) + parts), Bag(jnp.sin, x, [Bag(jnp.cos, bag_.parts[0])])]


def moves(x, indices):
    y = jnp.concatenate([x, x[::-1]])[1:-1]
    return (
        jnp.pad(y, 2),
        x[indices],
        x.at[indices].add(1.0),
        jnp.stack([x, x]),
        lax.dynamic_slice(x, (indices[0],), (2,)),
    )


def reductions(x):
    y = x.reshape(2, 2)
    return (
        y.sum(0),
        y.max(),
        jnp.argmin(y, 1),
        jnp.cumsum(y, 1),
        jnp.prod(y),
        jnp.any(y > 0),
        jnp.round(y, 1).T,
    )


PAIR = Pair(X, (X[:1], X + 1))
CELL = Cell(h=X, c=X * 3)

CASES: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "elementwise": (elementwise, (X, X[::-1])),
    "relu": (relu, (X,)),
    "numbers": (numbers, (X, 0.3)),
    "integers": (integers, (jnp.arange(4), jnp.array([True, False, True, True]))),
    "narrow": (narrow, (X,)),
    "special": (special, (X,)),
    "scanned": (scanned, (X, X)),
    "branches": (branches, (X, True)),
    "loops": (loops, (X,)),
    "custom_jvp": (custom_jvp, (X, 2.0)),
    "custom_vjp": (custom_vjp, (X, 0.5)),
    "custom_vjp_of_several_results": (custom_vjp_of_several_results, (X, X + 1)),
    "nested_jit": (nested_jit, (X,)),
    "constants": (constants, (X,)),
    "keys": (keys, (jax.random.key(3), X)),
    "trees": (trees, (PAIR, CELL, {2: {"a": X}, 1: X}, None, ())),
    "fresh_classes": (fresh_classes, (X,)),
    "containers": (containers, (Bag(jnp.sin, X, [Bag(jnp.cos, X + 1)]), X, Bag(jnp.tanh, X, None))),
    "moves": (moves, (X, jnp.array([2, 0]))),
    "reductions": (reductions, (X,)),
}


@functools.cache
def lowered(name: str) -> Program:
    fn, args = CASES[name]
    return brainir.lower(fn, *args)


def execute(source: str) -> dict[str, Any]:
    namespace: dict[str, Any] = {}
    exec(compile(source, "generated.py", "exec"), namespace)
    return namespace


def generated(program: Program) -> Callable[..., Any]:
    return execute(brainir.to_source(program))[program.entry]


def bits(leaf: Any) -> tuple[str, tuple[int, ...], bytes]:
    if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return str(array.dtype), array.shape, array.tobytes()


def all_bits(tree: Any) -> list[tuple[str, tuple[int, ...], bytes]]:
    return [bits(leaf) for leaf in jax.tree.leaves(tree)]


@pytest.mark.parametrize("name", CASES)
def test_source_gives_the_bits_of_the_callable_with_and_without_jit(name: str) -> None:
    program, (_, args) = lowered(name), CASES[name]
    ours, reference = generated(program), brainir.to_callable(program)
    assert all_bits(ours(*args)) == all_bits(reference(*args))
    # The structures are of other classes where the program's were local ones.
    leaves, wanted = (lambda *args, fn=fn: jax.tree.leaves(fn(*args)) for fn in (ours, reference))
    assert_same_function(leaves, wanted, *args)


@pytest.mark.parametrize("name", [name for name in CASES if name != "fresh_classes"])
def test_source_traces_to_the_program_or_to_what_the_callable_traces_to(name: str) -> None:
    program, (_, args) = lowered(name), CASES[name]
    again = brainir.fingerprint(brainir.lower(generated(program), *args))
    # The callable clamps the index of a cond again; the source of a two-way cond does not.
    assert again in (
        brainir.fingerprint(program),
        brainir.fingerprint(brainir.lower(brainir.to_callable(program), *args)),
    )


def real_sum(tree: Any) -> Any:
    floats = [leaf for leaf in map(jnp.asarray, jax.tree.leaves(tree)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return sum(jnp.sum(jnp.cos(leaf.astype(jnp.float32))) for leaf in floats)


SMOOTH = [
    *("elementwise", "relu", "numbers", "scanned", "branches", "custom_jvp", "custom_vjp", "nested_jit", "moves"),
    "custom_vjp_of_several_results",
]


@pytest.mark.parametrize("name", SMOOTH)
def test_source_has_the_derivatives_of_the_original(name: str) -> None:
    program, (fn, args) = lowered(name), CASES[name]
    ours = generated(program)
    moving = [index for index, arg in enumerate(args) if jnp.issubdtype(jnp.asarray(arg).dtype, jnp.floating)]

    def loss(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *values: real_sum(function(*values))

    assert_same_function(jax.grad(loss(ours), moving), jax.grad(loss(fn), moving), *args)

    def second(function: Callable[..., Any]) -> Callable[..., Any]:
        return jax.grad(lambda *values: real_sum(jax.grad(loss(function), moving)(*values)), moving)

    assert_same_function(second(ours), second(fn), *args)


def test_source_takes_numpy_arrays_where_python_operators_would_compute_in_numpy() -> None:
    ours, reference = generated(lowered("custom_jvp")), brainir.to_callable(lowered("custom_jvp"))
    x = np.asarray(X)
    assert all_bits(ours(x, np.float32(2.0))) == all_bits(reference(x, np.float32(2.0)))
    tangents = (np.ones(4, np.float32), np.float32(1.0))
    moved = [jax.jvp(lambda x, a, f=f: f(x, a)[0], (x, np.float32(2.0)), tangents) for f in (ours, reference)]
    assert all_bits(moved[0]) == all_bits(moved[1])


def test_rules_compute_in_jax_where_their_operands_are_plain_numbers() -> None:
    @jax.custom_jvp
    def scaled(x, a, b):
        return x * a

    @scaled.defjvp
    def scaled_jvp(primals, tangents):
        x, a, b = primals
        return scaled(x, a, b), tangents[0] * (a * b)

    @jax.custom_vjp
    def twice(x, a, b):
        return x + a

    twice.defvjp(lambda x, a, b: (twice(x, a, b), a * b), lambda ab, ct: (ct * ab, None, None))

    a, b = 0.3, 0.7
    # Python would compute the product with more digits.
    assert np.float32(a) * np.float32(b) != np.float32(a * b)
    for custom in (scaled, twice):
        ours = generated(brainir.lower(lambda x, custom=custom: custom(x, a, b), X))
        slope = jax.grad(lambda x, ours=ours: ours(x).sum())(np.asarray(X))
        assert slope.tolist() == [float(np.float32(a) * np.float32(b))] * 4


def test_operands_of_different_weak_types_are_not_promoted_and_stay_on_their_side() -> None:
    def binary(op: str, first: str, second: str, result: str) -> Binary:
        return Binary(op=op, inputs=(first, second), outputs=(result,), types=("f32[4]",))

    nodes = (
        binary("div", "x", "500.0:~f32", "a"),
        binary("mul", "a", "y", "b"),
        binary("sub", "0.5:f32", "y", "c"),
        Compare(op="lt", inputs=("0.5:f32", "x"), outputs=("d",), types=("bool[4]",)),
    )
    entry = Function(name="f", inputs=("x", "y"), types=("f32[4]", "~f32[4]"), nodes=nodes, outputs=("b", "c", "d"))
    tree = SequenceTree(kind="tuple", children=(LeafTree(),) * 3)
    arguments = (Argument(name="x", tree=LeafTree()), Argument(name="y", tree=LeafTree()))
    interface = Interface(kind="function", arguments=arguments, result=tree)
    program = Program(entry="f", interface=interface, functions=(entry,))
    given = (
        jax.ShapeDtypeStruct((4,), jnp.float32),
        jax.ShapeDtypeStruct((4,), jnp.float32, weak_type=True),
    )
    assert brainir.fingerprint(brainir.lower(generated(program), *given)) == brainir.fingerprint(program)


def test_source_agrees_where_brainir_and_brainunit_cannot_be_imported(tmp_path: Path) -> None:
    cases = []
    for name, (fn, args) in CASES.items():
        if name not in ("trees", "fresh_classes", "containers"):
            program, derivatives = lowered(name), "forward" if name == "loops" else "both"
            cases.append(alone.Case(name, partial(brainir.save_source, program), program.entry, fn, args, derivatives))
    alone.write(tmp_path, cases)
    alone.run(tmp_path)
    assert [*alone.differences(tmp_path, cases)] == []


# What comes in and goes out


def test_namedtuples_and_dataclasses_of_the_result_are_of_the_class_of_an_argument() -> None:
    _, args = CASES["trees"]
    result = generated(lowered("trees"))(*args)
    assert type(result["pair"]) is Pair
    assert type(result["cell"]) is Cell
    assert result["cell"].name == "other"
    assert type(result["ordered"]) is collections.OrderedDict
    assert list(result["ordered"]) == ["z", "a"]


def test_namedtuples_and_dataclasses_that_no_argument_has_are_defined_in_the_module() -> None:
    namespace = execute(brainir.to_source(lowered("fresh_classes")))
    pair, cell = namespace["fresh_classes"](X)
    assert type(pair) is namespace["Pair"]
    assert type(cell) is namespace["Cell"]
    assert (pair._fields, cell.name) == (("first", "second"), "cell")
    assert len(jax.tree.leaves((pair, cell))) == 6


def test_containers_of_other_classes_are_like_those_of_the_arguments() -> None:
    _, args = CASES["containers"]
    same, (first, second) = generated(lowered("containers"))(*args)
    assert (same.function, first.function, second.function) == (jnp.tanh, jnp.cos, jnp.sin)
    assert second.parts[1][0].function is jnp.cos


@pytest.mark.parametrize(
    ("name", "args", "message"),
    [
        ("containers", ([X, [X]], X, (X, None)), "expected a .*:Bag of 2 parts, got"),
        ("containers", ((X, [(X,)]), X, (X,)), "expected a .*:Bag of 2 parts, got"),
        ("relu", (X[:3],), r"expected float32\[4\], got float32\[3\]"),
        ("relu", (jnp.arange(4),), r"expected float32\[4\], got int32\[4\]"),
        ("trees", (PAIR, CELL, {2: {"a": X}, 1: X, 3: X}, None, ()), "expected a dict of 2 items"),
        ("trees", (PAIR, CELL, {2: {"a": X}, 1: X}, X, ()), "expected None"),
        ("trees", (Pair(X, [X[:1], X]), CELL, {2: {"a": X}, 1: X}, None, ()), "expected a tuple of 2"),
        ("keys", (jnp.zeros(2, jnp.uint32), X), r"expected key<fry>\[\], got uint32\[2\]"),
    ],
)
def test_arguments_of_another_structure_shape_or_dtype_are_refused(name: str, args: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        generated(lowered(name))(*args)


def test_fewer_devices_than_a_mesh_has_places_are_refused_with_what_to_do() -> None:
    mesh = jax.sharding.AbstractMesh((4096,), ("x",), axis_types=(jax.sharding.AxisType.Auto,))
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("x"))
    program = brainir.lower(lambda x: lax.with_sharding_constraint(x, place), jnp.ones(4096))
    message = r"a mesh of 4096 devices \(x=4096\), and there are [0-9]+; run it on more"
    for function, error in ((brainir.to_callable(program), EmissionError), (generated(program), RuntimeError)):
        with pytest.raises(error, match=message):
            function(jnp.ones(4096))


def test_python_numbers_become_what_the_program_was_made_for() -> None:
    program = brainir.lower(lambda x, n: (x * 2, n + 1), jnp.float32(1.0), jnp.int8(3))
    ours, reference = generated(program)(3, 4), brainir.to_callable(program)(3, 4)
    assert all_bits(ours) == all_bits(reference)
    assert [leaf.weak_type for leaf in ours] == [leaf.weak_type for leaf in reference] == [False, False]
    weak = brainir.lower(lambda x: x * 2, 1.0)
    assert generated(weak)(3.0).weak_type
    assert brainir.to_callable(weak)(3.0).weak_type


def test_step_takes_and_returns_params_and_hidden_as_they_are() -> None:
    def step(params, hidden, x):
        h = jnp.tanh(params["w"] * hidden.first + x)
        return Pair(h, [hidden.second[0] + 1]), {"out": h.sum()}

    args = ({"w": X}, Pair(X, [X]), X)
    ours = generated(brainir.lower_step(step, *args))
    new, out = ours(*args)
    assert type(new) is Pair
    assert all_bits((new, out)) == all_bits(brainir.to_callable(brainir.lower_step(step, *args))(*args))
    carry, outs = lax.scan(lambda hidden, x: ours(args[0], hidden, x), args[1], jnp.stack([X, X]))
    assert type(carry) is Pair
    assert outs["out"].shape == (2,)


@pytest.mark.parametrize("first", ["params", "hidden"])
def test_step_can_have_an_argument_with_the_name_of_a_leading_one(first: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def step(p, h, {first}):\n    return {{'v': h['v'] * p['w']}}, {first} + 1.0", namespace)
    args = ({"w": X}, {"v": X}, X)
    program = brainir.lower_step(namespace["step"], *args)
    want = all_bits(namespace["step"](*args))
    assert all_bits(generated(program)(*args)) == want
    assert all_bits(brainir.to_callable(program)(*args[:2], **{first: X})) == want


def test_arguments_are_passed_by_position_or_keyword_as_the_callable_takes_them() -> None:
    def fn(x, *rest, b, a):
        return x - rest[0], a / b

    program = brainir.lower(fn, X, X + 1, b=2.0, a=1.0)
    first, *others, last = program.interface.arguments
    # A pass can put an argument behind those that are passed by keyword.
    moved = program.interface.replace(arguments=(last, *others, first))
    entry = program.entry_function
    inputs, types = list(entry.inputs), list(entry.types)
    inputs[0], inputs[-1], types[0], types[-1] = inputs[-1], inputs[0], types[-1], types[0]
    changed = entry.replace(inputs=tuple(inputs), types=tuple(types))
    for each in (program, program.replace(interface=moved, functions=(changed, *program.functions[1:]))):
        ours, reference = generated(each), brainir.to_callable(each)
        assert [str(part) for part in inspect.signature(ours).parameters.values()] == [
            str(part) for part in inspect.signature(reference).parameters.values()
        ]
        args = [X, X + 1] if each is program else [X + 1, X]
        assert all_bits(ours(*args, b=2.0, a=1.0)) == all_bits(jax.jit(fn)(X, X + 1, b=2.0, a=1.0))


def test_arguments_keep_their_names_and_hide_neither_modules_nor_builtins() -> None:
    def tuple_(np, jnp, lax, map, hasattr, input, isinstance, states):
        return jax.numpy.where(np > 0, jnp * lax, map) + hasattr + input * 2, isinstance, [states]

    tuple_.__name__ = "tuple"
    names = ("np", "jnp", "lax", "map", "hasattr", "input", "isinstance", "states")
    args = {name: X + index for index, name in enumerate(names)}
    ours = generated(brainir.lower(tuple_, **args))
    assert ours.__name__ == "tuple"
    assert all_bits(ours(**args)) == all_bits(tuple_(**args))


@pytest.mark.parametrize("name", ["jax", "np", "_leaf", "len", "isinstance", "TypeError", "C0", "relu"])
def test_entry_keeps_a_name_that_the_module_uses_itself(name: str) -> None:
    def fn(x, y):
        return jax.nn.relu(x) * y["k"] + np.arange(30, dtype=np.float32)[26:], None

    fn.__name__ = name
    args = (X, {"k": 2.0})
    program = brainir.lower(fn, *args)
    assert all_bits(generated(program)(*args)) == all_bits(fn(*args))
    assert brainir.fingerprint(brainir.lower(generated(program), *args)) == brainir.fingerprint(program)


# Units


def quantity_program() -> Program:
    volt = Unit(text="mV", dimension=(2.0, 1.0, -3.0, -1.0, 0.0, 0.0, 0.0), scale=-3.0)
    entry = Function(
        name="double",
        inputs=("v", "x"),
        types=("f32[2]", "f32[2]"),
        nodes=(Binary(op="mul", inputs=("v", "x"), outputs=("y",), types=("f32[2]",)),),
        outputs=("y",),
    )
    leaf = LeafTree(unit="mV")
    arguments = (Argument(name="v", tree=leaf), Argument(name="x", tree=LeafTree()))
    interface = Interface(kind="function", arguments=arguments, result=leaf, units=(volt,))
    return Program(entry="double", interface=interface, functions=(entry,))


def test_program_with_units_takes_and_returns_plain_numbers_where_no_quantity_is_given() -> None:
    result = generated(quantity_program())(np.array([1.0, 2.0], np.float32), jnp.ones(2))
    assert isinstance(result, jax.Array)
    assert result.tolist() == [1.0, 2.0]


def test_argument_that_may_be_plain_is_taken_as_plain_numbers_and_tells_nothing_of_the_others() -> None:
    program = quantity_program()
    first, second = program.interface.arguments
    plain = program.interface.replace(arguments=(first.replace(plain=True), second))
    result = generated(program.replace(interface=plain))(jnp.ones(2), jnp.ones(2))
    assert jax.tree.leaves(result)[0].tolist() == [1.0, 1.0]


def test_units_leave_no_trace_in_a_module_without_them() -> None:
    assert "UNITS" in brainir.to_source(quantity_program())
    source = brainir.to_source(lowered("elementwise"))
    assert not any(word in source for word in ("UNITS", "mantissa", "quantit", "saiunit", "import sys"))


# How it reads


READABLE = '''"""step: a JAX function, written by brainir from its IR."""

import jax
import jax.numpy as jnp
from jax import lax


def _leaf(value, kind, weak_type=False):
    """Return an argument as an array, checked against the type that the program was made for."""
    is_number = isinstance(value, (bool, int, float, complex)) and not weak_type
    array = jnp.asarray(value, dtype=kind[: kind.index("[")] if is_number else None)
    found = f"{array.dtype}{[*array.shape]}"
    if found != kind:
        raise TypeError(f"expected {kind}, got {found}")
    return array


def _expect(value, kind, size):
    """Refuse a container of another kind or size than the program was made for."""
    if not isinstance(value, kind) or len(value) != size:
        raise TypeError(f"expected a {kind.__name__} of {size} items, got {value!r:.200}")


@jax.custom_jvp
def spike(x):
    return lax.convert_element_type(x > 0.0, new_dtype=jnp.float32)


@spike.defjvp
def spike_jvp(primals, tangents):
    (x,) = map(jnp.asarray, primals)
    (x_dot,) = map(jnp.asarray, tangents)
    return spike(x), x_dot * 0.5


def step(params, hidden, x):
    """Take one step of step: return the new hidden states and the output.

    Takes:
        param w: float32[4, 3]
        hidden v: float32[3]
        x: float32[4]

    Output:
        bool[3]
    """
    _expect(params, dict, 1)
    _expect(hidden, dict, 1)
    w = _leaf(params["w"], "float32[4, 3]")
    v = _leaf(hidden["v"], "float32[3]")
    x = _leaf(x, "float32[4]")
    v2 = v * 0.9 + x @ w
    v_new = v2 - spike(v2 - 1.0)
    return {"v": v_new}, v2 > 0.0
'''


def test_source_reads_like_a_module_that_a_person_wrote() -> None:
    @jax.custom_jvp
    def spike(v):
        return (v > 0).astype(v.dtype)

    @spike.defjvp
    def spike_jvp(primals, tangents):
        return spike(*primals), tangents[0] * 0.5

    def step(params, hidden, x):
        v = hidden["v"] * 0.9 + x @ params["w"]
        return {"v": v - spike(v - 1.0)}, v > 0.0

    source = brainir.to_source(brainir.lower_step(step, {"w": W}, {"v": W[0]}, X))
    assert "\n".join(line.partition("  #")[0] for line in source.split("\n")) == READABLE


def test_bodies_and_branches_have_the_names_that_the_model_gives_them_and_their_constants() -> None:
    def network(w, h, xs, flag):
        def rest(h):
            return h * 0.5

        def fire(h):
            return jnp.tanh(h)

        def step(h, x):
            return jnp.tanh(h @ w + x), h

        h, _ = lax.scan(step, lax.cond(flag, fire, rest, h), xs)
        return lax.fori_loop(0, 2, lambda i, h: h * w[0, 0], h)

    args = (W[:3], W[0], W, True)
    program = brainir.lower(network, *args)
    source = brainir.to_source(program)
    heads = [line for line in source.splitlines() if line.startswith("def ") and not line.startswith("def _")]
    assert heads == [
        "def rest(h):",
        "def fire(h):",
        "def step(w, x1, x2):",
        "def body_1(w, x1, x2):",
        "def network(w, h, xs, flag):",
    ]
    assert all_bits(execute(source)["network"](*args)) == all_bits(brainir.to_callable(program)(*args))


def test_names_in_a_file_that_python_or_the_module_has_are_not_taken_from_the_model() -> None:
    program = lowered("branches")

    def renamed(function: Function, word: str) -> Function:
        nodes = tuple(node.replace(source=f"model.py:1 ({word})") for node in function.nodes)
        return function.replace(nodes=nodes)

    for word in ("lambda", "print", "jnp", "branches", "x", "_leaf", "a.b", "it's"):
        changed = program.replace(functions=tuple(renamed(function, word) for function in program.functions))
        result = generated(changed)(X, True)
        assert all_bits(result) == all_bits(brainir.to_callable(program)(X, True))


def test_line_of_the_model_stands_where_it_changes() -> None:
    def three_lines(x):
        y = x + 1.0
        z = y * 2.0 + y
        return z - y

    lines = brainir.to_source(brainir.lower(three_lines, X)).splitlines()
    notes = [line.partition("  # ")[2] for line in lines if "  # " in line]
    start = three_lines.__code__.co_firstlineno
    assert [note.split(" ")[0].rpartition(":")[2] for note in notes] == [str(start + n) for n in (1, 2, 3)]
    assert all(note.endswith("(three_lines)") for note in notes)


@pytest.mark.parametrize("name", CASES)
def test_lines_are_at_most_100_columns_long(name: str) -> None:
    assert max(map(len, brainir.to_source(lowered(name)).splitlines())) <= 100


@pytest.mark.parametrize("name", CASES)
def test_only_used_modules_of_jax_numpy_and_the_standard_library_are_imported(name: str) -> None:
    tree = ast.parse(brainir.to_source(lowered(name)))
    imported = {}
    for node in tree.body:
        if isinstance(node, ast.Import):
            imported.update((alias.asname or alias.name, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            imported.update((alias.asname or alias.name, str(node.module)) for alias in node.names)
    roots = {root.partition(".")[0] for root in imported.values()}
    assert roots <= {"jax", "numpy", *sys.stdlib_module_names}
    assert imported.keys() <= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def test_source_of_a_stored_program_is_the_same_text() -> None:
    program = lowered("custom_vjp")
    assert brainir.to_source(brainir.loads(brainir.dumps(program))) == brainir.to_source(program)


# What a file can hold, to the bit


LITERALS = [
    *("0.1:f32", "-0.0:f32", "inf:f32", "-inf:f32", "nan:f32", "0x7fc00001:f32", "0xffc00000:f32", "1e-45:f32"),
    *("3.4028235e+38:f32", "0.1:~f32", "-0.0:~f32", "nan:~f32", "-inf:~f32", "3:~i32", "-7:i32", "200:u8"),
    *("-128:i8", "4294967295:u32", "7:~u32", "true:bool", "0.100098:bf16", "0.3:f16", "nan:bf16", "0.125:~bf16"),
    *("2.5:~f16", "0.5:f8_e4m3fn", "-0:f8_e5m2", "3:i4", "0x3f80000080000000:c64", "0x000000003f800000:~c64"),
]


def one_argument(entry: Function, results: int) -> Program:
    """Return a program of one array argument and a tuple of results."""
    result = SequenceTree(kind="tuple", children=(LeafTree(),) * results)
    arguments = (Argument(name="x", tree=LeafTree()),)
    interface = Interface(kind="function", arguments=arguments, result=result)
    return Program(entry=entry.name, interface=interface, functions=(entry,))


@pytest.mark.parametrize("literal", LITERALS)
def test_literal_keeps_bits_element_type_and_weak_type(literal: str) -> None:
    code = literal.partition(":")[2]
    kind = f"{code}[2]"
    op = "or" if code == "bool" else "max"
    nodes = [Binary(op=op, inputs=("x", literal), outputs=("y",), types=(kind,))]
    if code != "bool":
        nodes.append(Binary(op="sub", inputs=(literal, "x"), outputs=("z",), types=(kind,)))
    outputs = ("y", nodes[-1].outputs[0], literal)
    program = one_argument(
        Function(name="literal", inputs=("x",), types=(kind,), nodes=tuple(nodes), outputs=outputs), 3
    )
    ours = generated(program)
    dtype = TensorType.parse(kind).storage[0]
    x = jax.ShapeDtypeStruct((2,), dtype, weak_type=code.startswith("~"))
    assert brainir.fingerprint(brainir.lower(ours, x)) == brainir.fingerprint(program)
    values = jnp.ones(2, dtype)
    assert all_bits(ours(values)) == all_bits(brainir.to_callable(program)(values))


@pytest.mark.parametrize("code", ["f32", "bf16", "f8_e4m3fn", "i4", "u2", "bool", "c64", "i16", "key<fry>"])
@pytest.mark.parametrize("shape", [(), (2, 0), (2, 2), (5, 9)])
def test_constant_keeps_every_bit(code: str, shape: tuple[int, ...]) -> None:
    kind = TensorType.parse(f"{code}[{','.join(map(str, shape))}]")
    dtype, stored = kind.storage
    limit = {"bool": 2, "u2": 4, "i4": 16}.get(code, 256)
    count = int(np.prod(stored)) * dtype.itemsize
    data = np.random.default_rng(1).integers(0, limit, count).astype(np.uint8).tobytes()
    constant = Constant(name="c", type=str(kind), data=data)
    program = one_argument(
        Function(name="f", inputs=("x",), types=("f32[]",), constants=(constant,), outputs=("c", "x")), 2
    )
    assert bits(generated(program)(1.0)[0])[2] == data


def test_weakly_typed_constant_stays_weakly_typed() -> None:
    constant = Constant(name="c", type="~f32[3]", data=np.arange(3, dtype=np.float32).tobytes())
    add = Binary(op="add", inputs=("c", "c"), outputs=("y",), types=("~f32[3]",))
    entry = Function(name="f", inputs=("x",), types=("f32[]",), constants=(constant,), nodes=(add,), outputs=("y", "x"))
    assert generated(one_argument(entry, 2))(1.0)[0].weak_type


def test_constant_whose_data_was_left_out_is_an_error() -> None:
    program = lowered("constants")
    entry = program.entry_function
    bare = tuple(Constant(name=c.name, type=c.type, sha256=c.digest()) for c in entry.constants)
    without = program.replace(functions=(entry.replace(constants=bare), *program.functions[1:]))
    with pytest.raises(EmissionError, match="left out"):
        brainir.to_source(without)


def test_module_is_refused_under_the_other_setting_of_64_bit_types() -> None:
    narrow_module = generated(brainir.lower(lambda x: x * 2.0 + 0.1, 1.0))
    with jax.enable_x64(True):
        with pytest.raises(RuntimeError, match="jax_enable_x64 to False"):
            narrow_module(1.0)
        x = np.float64(1.5)
        program = brainir.lower(lambda x: (x * 2.0 + 0.1, x.astype(jnp.float32) * 0.1, 2**40 * x), x)
        wide_module = generated(program)
        assert all_bits(wide_module(x)) == all_bits(brainir.to_callable(program)(x))
        assert brainir.fingerprint(brainir.lower(wide_module, x)) == brainir.fingerprint(program)
    with pytest.raises(RuntimeError, match="jax_enable_x64 to True"):
        wide_module(1.0)


def uses_64_bits(program: Program) -> bool:
    found = set()
    for function in program.functions:
        operands = [*function.outputs, *(name for node in function.nodes for name in node.inputs)]
        found.update(function.type_of(name).dtype for name in (*function.value_types, *operands))
    return not found.isdisjoint(("float64", "int64", "uint64", "complex128"))


@settings(max_examples=40, suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow])
@given(programs())
def test_source_of_any_program_gives_what_the_evaluator_gives(program: Program) -> None:
    assume(not uses_64_bits(program))
    kinds = [TensorType.parse(kind) for kind in program.entry_function.types]
    rng = np.random.default_rng(0)
    leaves = [jnp.asarray(rng.normal(size=kind.shape).astype(kind.storage[0])) for kind in kinds]
    remaining = iter(leaves)
    states = {state.path: next(remaining) for state in program.interface.states}
    ours = generated(program)
    result = ours(states, *remaining)[1] if program.interface.kind == "module" else ours(*remaining)
    assert all_bits(result) == all_bits(Evaluator(program).function(program.entry)(*leaves))


def test_functions_in_several_roles_are_wrapped_where_they_are_called() -> None:
    def unary(op: str, before: str, after: str) -> Unary:
        return Unary(op=op, inputs=(before,), outputs=(after,), types=("f32[2]",))

    def custom(before: str, after: str, fn: str, rule: str) -> CustomJvp:
        return CustomJvp(function=fn, jvp=rule, inputs=(before,), outputs=(after,), types=("f32[2]",))

    def called(before: str, after: str, **options: Any) -> Call:
        return Call(function="f", inputs=(before,), outputs=(after,), types=("f32[2]",), **options)

    f = Function(name="f", inputs=("x",), types=("f32[2]",), nodes=(unary("sign", "x", "y"),), outputs=("y",))
    g = f.replace(name="g", nodes=(unary("floor", "x", "y"),))
    double = Binary(op="mul", inputs=("t", "2.0:f32"), outputs=("dy",), types=("f32[2]",))
    rule = Function(
        name="rule",
        inputs=("x", "t"),
        types=("f32[2]", "f32[2]"),
        nodes=(unary("sign", "x", "y"), double),
        outputs=("y", "dy"),
    )
    loop = Scan(body="f", length=2, num_consts=0, num_carry=1, inputs=("d",), outputs=("e",), types=("f32[2]",))
    nodes = (
        custom("x", "a", "f", "rule"),
        custom("a", "b", "g", "rule"),
        called("b", "c"),
        called("c", "d", keep_unused=True),
        loop,
        Call(function="rule", inputs=("x", "x"), outputs=("p", "q"), types=("f32[2]", "f32[2]")),
    )
    entry = Function(name="entry", inputs=("x",), types=("f32[2]",), nodes=nodes, outputs=("e", "b", "q"))
    program = one_argument(entry, 3).replace(functions=(entry, f, g, rule))
    ours, reference = generated(program), brainir.to_callable(program)
    assert all_bits(ours(X[:2])) == all_bits(reference(X[:2]))
    slopes = [jax.grad(lambda x, fn=fn: fn(x)[1].sum())(X[:2]) for fn in (ours, reference)]
    assert slopes[0].tolist() == slopes[1].tolist() == [4.0, 4.0]
    assert brainir.fingerprint(brainir.lower(ours, X[:2])) == brainir.fingerprint(program)


# A file is data


HOSTILE = [
    "'''",
    '"""',
    '"""\nimport os',
    "')\nimport os  #",
    "\\",
    "\\N{BULLET}",
    "{x}",
    "\r\n\x0c\x1b[2J",
    "\u202e",
    "\u2028",
    "\ud800",
    "# coding: utf-7",
    "long " * 30 + '"""',
]


def outline(source: str) -> list[str]:
    """Return what a module consists of: the kinds of its statements, and what it calls."""
    tree = ast.parse(source)
    calls = [ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [type(node).__name__ for node in tree.body if not isinstance(node, ast.Assign)] + calls


def with_text(text: str) -> Program:
    """Return a program that holds a text wherever the schemas leave it free."""
    negate = Unary(op="neg", inputs=("x",), outputs=("y",), types=("f32[]",), source="model.py:1")
    entry = Function(name="entry", inputs=("s", "x"), types=("f32[]", "f32[]"), nodes=(negate,), outputs=("y",))
    state = State(path=(text, "s"), role="other", type=text, tree=LeafTree(unit=text), returned=False)
    interface = Interface(
        kind="module",
        states=(state,),
        arguments=(Argument(name="x", tree=DictTree(kind="dict", keys=(text,), children=(LeafTree(),))),),
        result=DictTree(kind="ordered_dict", keys=(text,), children=(LeafTree(unit=text),)),
        units=(Unit(text=text, dimension=(1.0,) * 7, scale=-3.0, factor=0.1),),
        unused=((text,),),
    )
    return Program(entry="entry", interface=interface, functions=(entry,), metadata=((text, text),))


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_a_file_stays_text(text: str) -> None:
    source = brainir.to_source(with_text(text))
    assert outline(source) == outline(brainir.to_source(with_text("plain")))
    assert all(line.isprintable() for line in source.split("\n"))
    _, result = execute(source)["entry"]({(text, "s"): jnp.float32(1)}, {text: jnp.float32(2.0)})
    assert result == {text: -2.0}


@pytest.mark.parametrize("text", HOSTILE)
def test_source_lines_and_scopes_of_a_file_stay_comments(text: str) -> None:
    program = with_text("plain")
    (node,) = program.entry_function.nodes
    entry = program.entry_function.replace(nodes=(node.replace(source=text, scope=text),))
    changed = program.replace(functions=(entry,))
    if any(letter in text for letter in "\n\r\x0c\x1b\u2028"):
        with pytest.raises(VerificationError, match="control character"):
            brainir.to_source(changed)
    else:
        assert outline(brainir.to_source(changed)) == outline(brainir.to_source(program))


@pytest.mark.parametrize("name", ["x\nimport os", "x; y", "class", "", "1x", "x" * 300, "x)", "ﬁ"])
def test_names_of_functions_and_arguments_are_identifiers_or_refused(name: str) -> None:
    program = with_text("plain")
    renamed = program.entry_function.replace(name=name)
    argument = program.interface.arguments[0].replace(name=name)
    with pytest.raises(VerificationError):
        brainir.to_source(program.replace(entry=name, functions=(renamed,)))
    with pytest.raises(VerificationError):
        brainir.to_source(program.replace(interface=program.interface.replace(arguments=(argument,))))


@pytest.mark.parametrize("name", ["y\nimport os", "y; y", "", "1y", "y)", "ﬁ"])
def test_names_of_values_are_identifiers_or_refused(name: str) -> None:
    program = with_text("plain")
    (node,) = program.entry_function.nodes
    entry = program.entry_function.replace(outputs=(name,), nodes=(node.replace(outputs=(name,)),))
    with pytest.raises(VerificationError):
        brainir.to_source(program.replace(functions=(entry,)))


@pytest.mark.parametrize("text", ["HIGHEST)\nimport os\n(", "HIGHEST if exit() else 1", "lambda", "", "()"])
def test_attributes_that_are_printed_as_names_are_identifiers_or_refused(text: str) -> None:
    numbers = (((0,), (0,)), ((), ()))
    exp = UnaryAccuracy(op="exp", accuracy=text, inputs=("x",), outputs=("y",), types=("f32[2]",))
    dot = DotGeneral(dimension_numbers=numbers, precision=text, inputs=("x", "x"), outputs=("y",), types=("f32[]",))
    for node in (exp, dot):
        entry = Function(name="f", inputs=("x",), types=("f32[2]",), nodes=(node,), outputs=("y",))
        with pytest.raises(BrainIRError):
            brainir.to_source(one_argument(entry, 1))


@pytest.mark.parametrize("kind", [NamedTupleTree, DataclassTree])
@pytest.mark.parametrize("name", ["m:A.<locals>.B", "m:1", "m:class", "m:jax", "m:<lambda>", "m:entry"])
def test_classes_of_a_file_get_names_that_are_free_identifiers(kind: Any, name: str) -> None:
    program = with_text("plain")
    tree = kind(type=name, fields=("a",), children=(LeafTree(),))
    ours = generated(program.replace(interface=program.interface.replace(result=tree)))
    _, result = ours({("plain", "s"): 1.0}, {"plain": 2.0})
    assert result.a == -2.0


def test_field_that_a_class_of_the_module_cannot_have_is_an_error() -> None:
    program = with_text("plain")
    tree = NamedTupleTree(type="m:A", fields=("_a",), children=(LeafTree(),))
    with pytest.raises(EmissionError, match="rename the field"):
        brainir.to_source(program.replace(interface=program.interface.replace(result=tree)))


def test_values_with_the_names_of_everything_in_a_module_are_kept_apart() -> None:
    names = [
        *dir(builtins),
        "jax",
        "lax",
        "np",
        "jnp",
        "_leaf",
        "entry",
        "C0",
        "bfloat16",
        "_",
        "match",
        "in",
    ]
    nodes = [
        Unary(op="neg", inputs=(before,), outputs=(name,), types=("bf16[2]",))
        for before, name in zip(["x", *names], names, strict=False)
    ]
    # The module gets a name for this type after a value has taken it.
    last = Binary(op="add", inputs=(names[-1], "0.100098:bf16"), outputs=("y",), types=("bf16[2]",))
    entry = Function(name="entry", inputs=("x",), types=("bf16[2]",), nodes=(*nodes, last), outputs=("y",))
    program = one_argument(entry, 1)
    x = jnp.zeros(2, jnp.bfloat16)
    assert all_bits(generated(program)(x)) == all_bits(brainir.to_callable(program)(x))


def test_large_constants_go_to_a_file_beside_the_module(tmp_path: Path) -> None:
    large = jnp.asarray(np.random.default_rng(0).normal(size=(40, 40)), jnp.bfloat16)
    program = brainir.lower(lambda x: (large @ x).astype(jnp.float32) + W[0, 0], large[0])
    brainir.save_source(program, tmp_path / "model.py")
    assert (tmp_path / "model.py").stat().st_size < 2000 < (tmp_path / "model.npz").stat().st_size
    written = runpy.run_path(str(tmp_path / "model.py"))[program.entry]
    assert all_bits(written(large[0])) == all_bits(brainir.to_callable(program)(large[0]))
    with pytest.raises(brainir.BrainIRError, match=r"must end in \.py"):
        brainir.save_source(program, tmp_path / "model.txt")

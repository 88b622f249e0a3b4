"""Generated source: what it computes, what it imports, how it reads, and that a file cannot put code into it."""

import ast
import builtins
import collections
import dataclasses
import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
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
from brainir.ir.errors import BrainIRError, EmissionError, VerificationError
from brainir.ir.interface import (
    Argument,
    DataclassTree,
    DictTree,
    Interface,
    LeafTree,
    NamedTupleTree,
    SequenceTree,
    State,
    Unit,
)
from brainir.ir.ops import Binary, DotGeneral, Unary, UnaryAccuracy
from brainir.ir.program import Constant, Function, Program
from brainir.ir.types import TensorType
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


def elementwise(x, y):
    return -x + y * 2.0 - x / (jnp.abs(y) + 0.1), jnp.where((x > 0) & ~(y >= x), x, y**3), jnp.tanh(x) @ W


def relu(x):
    return jax.nn.relu(x) * jax.nn.silu(x)


def numbers(x, scale):
    return x * scale + 1, scale / 3.0


def integers(i, b):
    wide = i // 2 + (i % 3 << 1) - (i ^ 5)
    return wide, b | (i < 2), -i, i * jnp.int8(3), jnp.sum(jnp.where(b, i, 0)), i.astype(jnp.uint8) + jnp.uint8(200)


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
    cosine, scale, n = residuals
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
    return x @ table, few * 2, x + np.array([0.1, np.nan, -0.0, np.inf], np.float32), np.zeros((0, 2), np.float32)


def keys(key, x):
    first, second = jax.random.split(key)
    return jax.random.normal(first, (3,)) * x[0], second, jax.random.fold_in(key, 3), jax.random.bernoulli(second)


def trees(pair, cell, mapping, nothing, empty):
    new = Cell(h=cell.h + pair.first, c=cell.c * pair.second[0], name="other")
    return {
        "pair": Pair(pair.second[1], [pair.first]),
        "cell": new,
        2: (mapping[2]["a"], None),
        "ordered": collections.OrderedDict([("z", pair.first), ("a", cell.c)]),
    }


def fresh_classes(x):
    return Pair(x, Cell(h=x, c=-x)), Cell(h=x, c=Pair(x, 2.0))


def moves(x, indices):
    y = jnp.concatenate([x, x[::-1]])[1:-1]
    return jnp.pad(y, 2), x[indices], x.at[indices].add(1.0), jnp.stack([x, x]), lax.dynamic_slice(x, (indices[0],), (2,))


def reductions(x):
    y = x.reshape(2, 2)
    return y.sum(0), y.max(), jnp.argmin(y, 1), jnp.cumsum(y, 1), jnp.prod(y), jnp.any(y > 0), jnp.sort(jnp.round(y, 1).T)


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
    "moves": (moves, (X, jnp.array([2, 0]))),
    "reductions": (reductions, (X,)),
}


@functools.cache
def lowered(name: str) -> Program:
    fn, args = CASES[name]
    try:
        return brainir.lower(fn, *args)
    except brainir.ir.errors.LoweringError as error:
        pytest.skip(f"cannot be lowered yet: {error}")


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
    assert all_bits(jax.jit(ours)(*args)) == all_bits(jax.jit(reference)(*args))


@pytest.mark.parametrize("name", CASES)
def test_source_lowers_to_the_fingerprint_of_the_program(name: str) -> None:
    if name == "fresh_classes":
        pytest.skip("the classes of the result are those of the module, so the interface names others")
    program, (_, args) = lowered(name), CASES[name]
    assert brainir.fingerprint(brainir.lower(generated(program), *args)) == brainir.fingerprint(program)


def real_sum(tree: Any) -> Any:
    floats = [leaf for leaf in map(jnp.asarray, jax.tree.leaves(tree)) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return sum(jnp.sum(jnp.cos(leaf.astype(jnp.float32))) for leaf in floats)


@pytest.mark.parametrize(
    "name",
    ["elementwise", "relu", "numbers", "scanned", "branches", "custom_jvp", "custom_vjp", "nested_jit", "moves"]
    + ["custom_vjp_of_several_results"],
)
def test_source_has_the_derivatives_of_the_original(name: str) -> None:
    program, (fn, args) = lowered(name), CASES[name]
    ours = generated(program)
    moving = [index for index, arg in enumerate(args) if jnp.issubdtype(jnp.asarray(arg).dtype, jnp.floating)]

    def loss(function: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *values: real_sum(function(*values))

    gradients = [jax.grad(loss(function), moving)(*args) for function in (ours, fn)]
    assert all_bits(gradients[0]) == all_bits(gradients[1])
    second = [
        jax.grad(lambda *values, function=function: real_sum(jax.grad(loss(function), moving)(*values)), moving)(*args)
        for function in (ours, fn)
    ]
    assert all_bits(second[0]) == all_bits(second[1])


def test_source_takes_numpy_arrays_where_python_operators_would_compute_in_numpy() -> None:
    ours, reference = generated(lowered("custom_jvp")), brainir.to_callable(lowered("custom_jvp"))
    x = np.asarray(X)
    assert all_bits(ours(x, np.float32(2.0))) == all_bits(reference(x, np.float32(2.0)))
    tangents = (np.ones(4, np.float32), np.float32(1.0))
    moved = [jax.jvp(lambda x, a, f=f: f(x, a)[0], (x, np.float32(2.0)), tangents) for f in (ours, reference)]
    assert all_bits(moved[0]) == all_bits(moved[1])


BLOCKED = """
import json, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("brainir", "brainstate", "brainunit", "saiunit"):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())
import jax, jax.numpy as jnp, numpy as np

def decode(item):
    dtype, shape, data = item
    array = jnp.asarray(np.frombuffer(bytes.fromhex(data), jnp.dtype(dtype.removesuffix("key"))).reshape(shape))
    return jax.random.wrap_key_data(array) if dtype.endswith("key") else array

def encode(leaf):
    if hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    array = np.asarray(leaf)
    return [str(array.dtype), list(array.shape), array.tobytes().hex()]

results = {}
for name, case in json.load(open(sys.argv[1])).items():
    namespace = {}
    exec(compile(case["source"], name, "exec"), namespace)
    result = namespace[case["entry"]](*map(decode, case["arguments"]))
    results[name] = [encode(leaf) for leaf in jax.tree.leaves(result)]
json.dump(results, sys.stdout)
"""


def encode(leaf: Any) -> list[Any]:
    dtype, shape, data = bits(leaf)
    is_key = hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
    return [dtype + ("key" if is_key else ""), shape, data.hex()]


def test_source_runs_in_a_process_that_cannot_import_brainir_or_brainunit(tmp_path: Path) -> None:
    flat = [name for name in CASES if name != "trees"]
    expected = {}
    cases = {}
    for name in flat:
        try:
            program = lowered(name)
        except pytest.skip.Exception:
            continue
        args = [jnp.asarray(arg) for arg in CASES[name][1]]
        cases[name] = {
            "source": brainir.to_source(program),
            "entry": program.entry,
            "arguments": [encode(arg) for arg in args],
        }
        result = brainir.to_callable(program)(*args)
        expected[name] = [[dtype, list(shape), data.hex()] for dtype, shape, data in all_bits(result)]
    written = tmp_path / "cases.json"
    written.write_text(json.dumps(cases))
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCKED.replace("open(sys.argv[1])", "__import__('pathlib').Path(sys.argv[1]).open()")
         .replace("json.load(__import__('pathlib').Path(sys.argv[1]).open())", "json.loads(__import__('pathlib').Path(sys.argv[1]).read_text())"),
         str(written)],
        capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ, "PYTHONPATH": ""},
    )
    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout) == expected

"""What is folded without JAX has the bits that JAX computes, and what is not exact everywhere is left."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import brainir
from brainir.analysis.exact_arithmetic import computed
from brainir.analysis.passes import DeadCode
from brainir.ir.ops import DotGeneral
from brainir.ir.program import Program
from brainir.ir.types import DTYPES, TensorType
from tests.compare import assert_same_bits

RNG = np.random.default_rng(11)


def sample(dtype: str, shape: tuple[int, ...]) -> Any:
    if dtype == "bool":
        return RNG.random(shape) > 0.5
    if dtype.startswith(("int", "uint")):
        limits = np.iinfo(dtype)
        ends = np.array([limits.min, limits.max, 0, 1], dtype)
        body = RNG.integers(max(limits.min, -9), 9, shape, dtype=dtype)
        return np.where(RNG.random(shape) < 0.2, RNG.choice(ends, shape), body).astype(dtype)
    values = RNG.normal(size=shape) * 10.0 ** RNG.integers(-3, 4, shape)
    special = RNG.choice([0.0, -0.0, np.inf, 1e30, 0.5, 1.5, -2.5], shape)
    with np.errstate(over="ignore"):
        return np.where(RNG.random(shape) < 0.15, special, values).astype(DTYPES[dtype])


FLOATS = ("float32", "bfloat16")
INTEGERS = ("int32", "uint8")
UNARY = {
    "floats": (lax.abs, lax.ceil, lax.floor, lax.is_finite, lax.neg, lax.sign, lax.square,
               lambda x: lax.round(x, lax.RoundingMethod.TO_NEAREST_EVEN), lambda x: lax.integer_pow(x, 2)),
    "integers": (lax.neg, lax.sign, lax.square, lax.bitwise_not, lambda x: jnp.max(x, 0), lambda x: jnp.min(x, 1),
                 lambda x: lax.reduce_xor(x, (0,)), lambda x: jnp.sum(x, 1, dtype=x.dtype), jnp.abs),
}  # fmt: skip
BINARY = {
    "floats": (lax.add, lax.sub, lax.mul, lax.div, lax.max, lax.min, lax.eq, lax.ne, lax.lt, lax.le, lax.gt, lax.ge),
    "integers": (lax.add, lax.sub, lax.mul, lax.max, lax.min, lax.div, lax.rem, lax.bitwise_and, lax.bitwise_or,
                 lax.bitwise_xor, lax.lt, lax.ge),
}  # fmt: skip


def folded(fn: Any, *args: Any) -> tuple[Program, Any]:
    """Lower a function of constants, fold it, and return what is left and what it gives."""
    constants = tuple(map(jnp.asarray, args))
    program = brainir.lower(lambda: fn(*constants))
    after = brainir.run_passes(program, ["inline", "constant_folding", "copy_propagation", "dead_code"])
    return after, brainir.to_callable(after)()


@pytest.mark.parametrize("dtype", [*FLOATS, *INTEGERS])
def test_folded_arithmetic_has_the_bits_of_jax(dtype: str) -> None:
    kind = "floats" if dtype in FLOATS else "integers"
    x, y = sample(dtype, (5, 6)), sample(dtype, (5, 6))
    done = 0
    for functions, args in ((UNARY[kind], (x,)), (BINARY[kind], (x, y))):
        for fn in functions:
            for each in (args, tuple(np.abs(arg.astype(np.float64)).clip(1, 100).astype(arg.dtype) for arg in args)):
                program, result = folded(fn, *each)
                assert_same_bits(result, fn(*map(jnp.asarray, each)), f"{fn} {dtype}")
                done += program.node_count() == 0
    assert done > len(UNARY[kind]) + len(BINARY[kind]), "most of it is folded"


def test_quotients_by_one_number_have_the_bits_of_jax() -> None:
    x = jnp.arange(-40.0, 40.0)
    done = 0
    for divisor in np.float32([0.1, 0.5, 3.0, 7.0, 8.0, 49.0]):
        for numerators in (x, x[::8], x[43]):
            program, result = folded(lax.div, numerators, divisor)
            assert_same_bits(result, lax.div(numerators, divisor))
            done += program.node_count() == 0
    assert done >= 6, "by powers of two, and some others"


@pytest.mark.parametrize("source", [*FLOATS, *INTEGERS, "bool"])
def test_folded_conversions_have_the_bits_of_jax(source: str) -> None:
    done = 0
    for target in (*FLOATS, *INTEGERS, "bool"):
        for x in (sample(source, (17,)), np.arange(4).astype(DTYPES[source])):
            program, result = folded(lambda v, target=target: lax.convert_element_type(v, target), x)
            assert_same_bits(result, lax.convert_element_type(jnp.asarray(x), target), f"{source} {target}")
            done += program.node_count() == 0
    assert done >= 5


def test_folded_moves_and_choices_have_the_bits_of_jax() -> None:
    def fn(m: Any, i: Any) -> Any:
        return (
            m.T, m[::-1, 1:], jnp.concatenate([m, m]), jnp.pad(m, ((1, 0), (0, 2)), constant_values=7.0),
            m.reshape(4, 3),
            jnp.where(m > 0, m, -m), lax.select_n(i % 3, i, i + 1, i * 2), lax.clamp(-1, i, 1),
            jnp.arange(4) + i,
            jnp.zeros((2, 3)) + 1.5,
        )  # fmt: skip

    args = sample("float32", (3, 4)), sample("int32", (4,))
    program, result = folded(fn, *args)
    assert_same_bits(result, jax.tree.map(jnp.asarray, fn(*map(jnp.asarray, args))))
    assert program.node_count() == 0


@pytest.mark.parametrize(
    "fn",
    [
        lambda: jnp.exp(jnp.float32(1.0)),
        lambda: jnp.sqrt(jnp.float32(2.0)),
        lambda: jnp.sum(jnp.array([1e8, 1.0, -1e8])),
        lambda: jnp.float32(jnp.inf) - jnp.array(jnp.inf),
        lambda: jnp.array(1e-30) * jnp.array(1e-12),
        lambda: lax.div(jnp.array(3), jnp.array(0)),
        lambda: lax.div(jnp.arange(4.0), jnp.float32(7.0)),
        lambda: lax.convert_element_type(jnp.array(1e20, jnp.float32) + 0, jnp.int32),
        lambda: lax.max(jnp.array(0.0), jnp.array(-0.0)),
    ],
)
def test_what_backends_may_decide_differently_is_not_folded(fn: Any) -> None:
    program = brainir.run_passes(brainir.lower(fn), ["inline", "constant_folding", "dead_code"])
    assert program.node_count() > 0


def test_contractions_are_not_computed() -> None:
    node = DotGeneral(inputs=("a", "b"), outputs=("c",), types=("f32[]",), dimension_numbers=(((0,), (0,)), ((), ())))
    assert computed(node, [np.ones(3, np.float32)] * 2) is None


def test_a_known_index_decides_a_cond() -> None:
    program = brainir.lower(lambda x: lax.switch(1, [jnp.sin, jnp.cos, jnp.exp], x), jnp.ones(3))
    after = brainir.run_passes(program)
    assert [node.op for node in after.entry_function.nodes] == ["cos"]
    assert len(after.functions) == 1


def test_large_results_are_not_stored() -> None:
    program = brainir.lower(lambda x: x + jnp.ones(1000) * jnp.arange(1000.0), jnp.ones(1000))
    assert brainir.run_passes(program).constant_bytes() == program.constant_bytes()


def test_gradients_with_constants_folded_into_them_are_the_same_bits() -> None:
    def fn(x: Any) -> Any:
        scale = jnp.array([1.0, 2.0]) * jnp.array([3.0, -4.0]) + 1.0
        return jnp.sum(jnp.sin(x * scale) / (jnp.float32(2.0) * 4.0))

    x = jnp.array([0.3, -0.7])
    program = brainir.lower(fn, x)
    after = brainir.run_passes(program, ["inline", "constant_folding"])
    assert DeadCode().run(after).program.node_count() < program.node_count()
    with jax.disable_jit():
        assert_same_bits(jax.grad(brainir.to_callable(after))(x), jax.grad(fn)(x))
        assert_same_bits(
            jax.grad(lambda v: jax.grad(brainir.to_callable(after))(v)[0])(x), jax.grad(lambda v: jax.grad(fn)(v)[0])(x)
        )


def test_literals_keep_their_weak_type() -> None:
    program = brainir.lower(lambda x: x * (jnp.asarray(2.0).astype(float) * 3.0), jnp.ones(2, jnp.bfloat16))
    after = brainir.run_passes(program)
    before, now = (jax.eval_shape(brainir.to_callable(each), jnp.ones(2, jnp.bfloat16)) for each in (program, after))
    assert (before.dtype, before.weak_type) == (now.dtype, now.weak_type)
    assert TensorType.parse(after.entry_function.nodes[-1].types[0]).weak_type == before.weak_type


def test_what_depends_on_the_platform_is_left() -> None:
    after, found = folded(lambda x: jnp.diag(jnp.diag(x)), np.arange(4, dtype=np.float32))
    assert "platform_index" in [node.op for node in after.entry_function.nodes]
    assert_same_bits(found, jnp.arange(4, dtype=jnp.float32))

"""Position dependence, compared with Jacobians that JAX computes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import brainir
from brainir.analysis import inline_calls
from brainir.ir.types import TensorType
from tests.analysis_cases import N, array, jacobian_of, leaves, step, values_of

SHAPES = ((6,), (2, 3), (3, 2), (6, 1))
PERMUTATION = np.array([2, 0, 1, 5, 4, 3])
MASK = np.array([True, False, True, True, False, False])
FIXED = np.random.default_rng(1).normal(size=(6, 6)).astype(np.float32)


def outer(a: Any) -> Any:
    return (a.reshape(6)[:, None] * jnp.ones((6, 2)))[:, 1]


UNARY = {
    "sin": jnp.sin,
    "tanh": jnp.tanh,
    "softplus": jax.nn.softplus,
    "relu": jax.nn.relu,
    "flip": lambda a: jnp.flip(a, 0),
    "roll": lambda a: jnp.roll(a, 1),
    "transpose": lambda a: a.T if a.ndim == 2 and a.shape != (6, 1) else a,
    "take": lambda a: jnp.take(a.reshape(6), PERMUTATION),
    "swap_halves": lambda a: jnp.concatenate(jnp.split(a.reshape(6), [2])[::-1]),
    "shift": lambda a: jnp.pad(a.reshape(6), (1, 0))[:-1],
    "outer": outer,
    "strided": lambda a: jnp.stack([a.reshape(6)[::2], a.reshape(6)[1::2]]),
    "set": lambda a: a.reshape(6).at[np.array([1, 4])].set(a.reshape(6)[:2]),
    "sum": lambda a: a + jnp.sum(a),
    "cumsum": lambda a: jnp.cumsum(a, axis=0),
    "softmax": lambda a: jax.nn.softmax(a.reshape(6)),
    "product": lambda a: a.reshape(6) @ FIXED,
    "scan": lambda a: jax.lax.fori_loop(0, 3, lambda i, c: jnp.sin(jnp.flip(c, 0)), a),
    "scan_rows": lambda a: jax.lax.scan(lambda c, row: (c + row, row * 0.5), 0.0, a.reshape(6))[1],
    "cond": lambda a: jax.lax.cond(MASK[0] > 0, jnp.sin, lambda c: jnp.flip(c, 0), a),
    "while": lambda a: jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, jnp.tanh(c[1])), (0, a))[1],
    "sum_over_one": lambda a: jnp.sum(a.reshape(6, 1), axis=1),
    **{f"reshape{shape}": (lambda a, shape=shape: a.reshape(shape)) for shape in SHAPES},
}
BINARY = {
    "add": lambda a, b: a + b.reshape(a.shape),
    "mul": lambda a, b: a * b.reshape(a.shape),
    "where": lambda a, b: jnp.where(MASK.reshape(a.shape), a, b.reshape(a.shape)),
    "compare": lambda a, b: jnp.where(a > 0.0, b.reshape(a.shape), 0.5),
    "halves": lambda a, b: jnp.concatenate([a.reshape(6)[:3], b.reshape(6)[3:]]),
    "rows": lambda a, b: jnp.einsum("i,i->i", a.reshape(6), b.reshape(6)),
    "logaddexp": lambda a, b: jnp.logaddexp(a, b.reshape(a.shape)),
}

instructions = st.one_of(
    st.tuples(st.sampled_from(sorted(UNARY)), st.integers(0, 20), st.just(0)),
    st.tuples(st.sampled_from(sorted(BINARY)), st.integers(0, 20), st.integers(0, 20)),
)


def interpret(program: list[tuple[str, int, int]], values: list[Any]) -> list[Any]:
    pool = list(values)
    for name, first, second in program:
        a, b = pool[-1 - first % len(pool)], pool[-1 - second % len(pool)]
        pool.append(UNARY[name](a) if name in UNARY else BINARY[name](a, b))
    return pool


@settings(max_examples=60)
@given(st.lists(instructions, min_size=1, max_size=7))
def test_jacobian_has_entries_only_where_the_index_map_says(drawn: list[tuple[str, int, int]]) -> None:
    hidden = {"a": array(6, seed=1), "b": array(2, 3, seed=2)}
    x = array(6, seed=3)

    def run(params: dict[str, Any], hidden: dict[str, Any], x: Any) -> Any:
        pool = interpret(drawn, [x, hidden["b"], hidden["a"]])
        return {"a": pool[-1].reshape(6), "b": pool[-2].reshape(2, 3)}

    program = step(run, {}, hidden, x)
    found = brainir.position_dependence(program)
    entry = program.entry_function
    names = [
        name
        for name, kind in entry.value_types.items()
        if TensorType.parse(kind).is_inexact and name not in {constant.name for constant in entry.constants}
    ]
    for number, path in enumerate(found.states):
        jacobians = jacobian_of(program, names, number, *leaves({}, hidden, x))
        for name, jacobian in zip(names, jacobians, strict=True):
            rows = jacobian.reshape(TensorType.parse(entry.value_types[name]).size, 6)
            verdict = found.of(name, path)
            if verdict == "mixing":
                continue
            where = np.full(len(rows), -1) if verdict == "none" else found.index_map(name, path).reshape(-1)
            element, position = np.nonzero(rows)
            np.testing.assert_array_equal(where[element], position)


EXACT = {
    "transposed twice": lambda h: (h.reshape(2, 2).T * 2.0).T.reshape(N),
    "joined again": lambda h: jnp.concatenate([jnp.tanh(h[:1]), h[1:] * 3.0]),
    "reversed twice": lambda h: jnp.sin(h[::-1])[::-1],
    "taken and put back": lambda h: jnp.take(jnp.take(h, np.array([1, 2, 3, 0])), np.array([3, 0, 1, 2])),
    "through a column": lambda h: (h[:, None] + jnp.zeros((N, 3)))[:, 2],
    "written into zeros": lambda h: jnp.zeros(N).at[np.arange(N)].set(h),
    "sum over an axis of one": lambda h: jnp.sum(h[None], axis=0),
    "custom derivative": jax.nn.softplus,
    "nested jit": lambda h: jax.jit(lambda a: jax.jit(jnp.exp)(a) + 1.0)(h),
    "tiled and cut": lambda h: jnp.tile(h, 2)[N:],
    "product without a sum": lambda h: jnp.einsum("i,i->i", h, h),
}


@pytest.mark.parametrize("name", EXACT)
def test_elements_that_return_to_their_place_stay_elementwise(name: str) -> None:
    program = step(lambda params, hidden: {"h": EXACT[name](hidden["h"])}, {}, {"h": array(N)})
    (group,) = brainir.find_hidden_groups(program)
    dependence = brainir.position_dependence(program)
    output = group.hidden_outvars[0].name
    assert dependence.of(output, ("h",)) == "elementwise"
    np.testing.assert_array_equal(dependence.index_map(output, ("h",)), np.arange(N))


MIXING = {
    "sum": lambda h: h + jnp.sum(h),
    "cumulative sum": jnp.cumsum,
    "roll onto itself": lambda h: h + jnp.roll(h, 1),
    "layer norm": lambda h: (h - h.mean()) / jnp.sqrt(h.var() + 1e-3),
    "divisive normalisation": lambda h: h / (1.0 + jnp.sum(h**2)),
    "max": lambda h: h - jnp.max(h),
    "product with constants": lambda h: h @ np.eye(N, dtype=np.float32),
    "dynamic index": lambda h: h * jax.lax.dynamic_index_in_dim(h, jnp.argmax(h), keepdims=False),
    "while loop": lambda h: jax.lax.while_loop(lambda a: jnp.all(a < 1.0), lambda a: a + 1.0, h),
}


@pytest.mark.parametrize("name", MIXING)
def test_what_mixes_positions_is_mixing(name: str) -> None:
    program = step(lambda params, hidden: {"h": MIXING[name](hidden["h"])}, {}, {"h": array(N)})
    output = brainir.module_info(program).hidden_outvars[0].name
    assert brainir.position_dependence(program).of(output, ("h",)) == "mixing"


def test_moved_elements_are_elementwise_with_their_index_map() -> None:
    program = step(lambda params, hidden: {"h": jnp.roll(hidden["h"], 1)}, {}, {"h": array(N)})
    output = brainir.module_info(program).hidden_outvars[0].name
    np.testing.assert_array_equal(brainir.position_dependence(program).index_map(output, ("h",)), [3, 0, 1, 2])


def test_indices_out_of_bounds_read_no_position() -> None:
    taken = step(lambda params, hidden: {"h": jnp.take(hidden["h"], np.array([3, 9, 0, -1]))}, {}, {"h": array(N)})
    output = brainir.module_info(taken).hidden_outvars[0].name
    np.testing.assert_array_equal(brainir.position_dependence(taken).index_map(output, ("h",)), [3, -1, 0, 3])


def test_a_product_with_a_parameter_is_mixing_even_without_a_sum() -> None:
    program = step(
        lambda params, hidden: {"h": (hidden["h"][:, None] @ params["w"])[:, 0]},
        {"w": array(1, 1)},
        {"h": array(N)},
    )
    output = brainir.module_info(program).hidden_outvars[0].name
    assert brainir.position_dependence(program).of(output, ("h",)) == "mixing"


def test_rules_that_depend_on_more_than_the_value_count() -> None:
    @jax.custom_jvp
    def constant(a: Any) -> Any:
        return jnp.ones_like(a)

    @constant.defjvp
    def _(primals: Any, tangents: Any) -> Any:
        return constant(primals[0]), jnp.roll(tangents[0], 1)

    program = step(lambda params, hidden: {"h": constant(hidden["h"])}, {}, {"h": array(N)})
    output = brainir.module_info(program).hidden_outvars[0].name
    np.testing.assert_array_equal(brainir.position_dependence(program).index_map(output, ("h",)), [3, 0, 1, 2])


def test_backward_rules_that_mix_count() -> None:
    @jax.custom_vjp
    def identity(a: Any) -> Any:
        return a

    identity.defvjp(lambda a: (a, None), lambda residual, cotangent: (jnp.cumsum(cotangent),))
    program = step(lambda params, hidden: {"h": identity(hidden["h"])}, {}, {"h": array(N)})
    output = brainir.module_info(program).hidden_outvars[0].name
    assert brainir.position_dependence(program).of(output, ("h",)) == "mixing"


def test_values_of_nested_calls_are_inlined_with_the_same_result() -> None:
    @jax.jit
    def inner(a: Any, b: Any) -> Any:
        return b, jnp.sin(a) + b, a

    @jax.jit
    def outer_call(a: Any) -> Any:
        first, second, third = inner(a, a * 2.0)
        return inner(second, jax.nn.relu(first))[1] + third

    program = step(lambda params, hidden: {"h": outer_call(hidden["h"])}, {}, {"h": array(N)})
    flat = inline_calls(program.entry_function, program)
    assert not [node for node in flat.nodes if node.op == "call"]
    assert flat.value_types.items() >= program.entry_function.value_types.items()
    bare = inline_calls(program.entry_function, program, keep_rules=False)
    assert not {"call", "custom_jvp"} & {node.op for node in bare.nodes}
    new, _ = brainir.to_callable(program)({}, {"h": array(N)})
    (value,) = values_of(program, flat.outputs[:1], array(N))
    np.testing.assert_array_equal(value, new["h"])


def test_wrong_names_are_errors() -> None:
    dependence = brainir.position_dependence(step(lambda params, hidden: {"h": hidden["h"] + 1.0}, {}, {"h": array(N)}))
    with pytest.raises(brainir.BrainIRError, match="not a hidden state"):
        dependence.of("h", ("g",))
    with pytest.raises(brainir.BrainIRError, match="no value"):
        dependence.of("g", ("h",))

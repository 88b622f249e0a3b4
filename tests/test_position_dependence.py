"""Position dependence, compared with Jacobians that JAX computes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis import inline_calls
from tests.analysis_cases import N, array, leaves, step, values_of
from tests.jacobians import check_structures

SWAPPED = np.array([1, 0, 3, 2])

EXACT = {
    "transposed twice": lambda h: (h.reshape(2, 2).T * 2.0).T.reshape(N),
    "joined again": lambda h: jnp.concatenate([jnp.tanh(h[:1]), h[1:] * 3.0]),
    "reversed twice": lambda h: jnp.sin(h[::-1])[::-1],
    "taken and put back": lambda h: jnp.take(jnp.take(h, np.array([1, 2, 3, 0])), np.array([3, 0, 1, 2])),
    "through a column": lambda h: (h[:, None] + jnp.zeros((N, 3)))[:, 2],
    "written into zeros": lambda h: jnp.zeros(N).at[np.arange(N)].set(h),
    "counted indices": lambda h: h[(jnp.arange(N) + 2) % N][(jnp.arange(N) - 2) % N],
    "counted backwards": lambda h: h[jnp.flip(jnp.arange(N))][jnp.abs(jnp.arange(N) - (N - 1))],
    "moved in a loop": lambda h: jax.lax.fori_loop(0, 2, lambda i, a: jnp.take(a, SWAPPED), h),
    "moved in a branch": lambda h: jax.lax.cond(True, lambda a: jnp.take(jnp.take(a, SWAPPED), SWAPPED), jnp.sin, h),
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


def test_the_path_of_a_state_may_be_written_as_it_prints() -> None:
    program = step(lambda params, hidden: {"cell": {"h": jnp.flip(hidden["cell"]["h"])}}, {}, {"cell": {"h": array(N)}})
    dependence = brainir.position_dependence(program)
    output = brainir.module_info(program).hidden_outvars[0].name
    assert dependence.of(output, "cell.h") == dependence.of(output, ("cell", "h")) == "elementwise"
    np.testing.assert_array_equal(dependence.index_map(output, "cell.h"), np.arange(N)[::-1])


WRITTEN = {
    "set": lambda h, i, x: h.at[i].set(x),
    "added, again and again": lambda h, i, x: h.at[np.array([1, 1, 2])].add(x),
    "added where data says": lambda h, i, x: h.at[jnp.stack([i, i + 1])].add(x),
    "a part of it": lambda h, i, x: jax.lax.dynamic_update_slice(h, jnp.stack([x, x]), (i,)),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written_into_stays_in_place_wherever_that_is(name: str) -> None:
    def run(params: Any, hidden: Any, i: Any, x: Any) -> Any:
        return {"h": WRITTEN[name](0.5 * hidden["h"], i, x), "k": hidden["k"] + jnp.sum(hidden["h"])}

    program = step(run, {}, {"h": array(N), "k": jnp.float32(1.0)}, jnp.int32(1), jnp.float32(3.0))
    dependence = brainir.position_dependence(program)
    output = brainir.module_info(program).hidden_outvars[0].name
    np.testing.assert_array_equal(dependence.index_map(output, ("h",)), np.arange(N))
    inputs = [leaves({}, {"h": array(N, seed=i), "k": jnp.float32(1.0)}, i, jnp.float32(i)) for i in range(3)]
    check_structures(program, inputs)


def test_what_is_written_mixes_where_its_place_is_data() -> None:
    program = step(lambda params, h, i: {"h": jnp.zeros(N).at[i].set(h["h"][0])}, {}, {"h": array(N)}, jnp.int32(1))
    output = brainir.module_info(program).hidden_outvars[0].name
    assert brainir.position_dependence(program).of(output, ("h",)) == "mixing"


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


def test_the_table_of_a_program_says_what_each_value_is_asked_one_by_one() -> None:
    def fn(params: Any, hidden: Any, x: Any) -> Any:
        v = jnp.tanh(hidden["v"] + x)
        return {"v": v, "u": hidden["u"] * v + jnp.sum(hidden["u"])}

    dependence = brainir.position_dependence(step(fn, {"w": array(N)}, {"v": array(N), "u": array(N)}, array(N)))
    words = {".": "none", "e": "elementwise", "m": "mixing"}
    rows = dict(dependence.rows)
    assert {letter for letters in rows.values() for letter in letters} == {*words}
    for value in dependence.program.entry_function.value_types:
        letters = rows.get(value, "..")
        assert [words[letter] for letter in letters] == [dependence.of(value, path) for path in dependence.states]
        assert value not in rows or any(line.split() == [value, letters] for line in repr(dependence).splitlines())

"""Parameter-to-state relations: which are found, what they reach, and what their parts compute."""

import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis import HiddenParamOpRelation, relation_diagnostics
from brainir.ir.program import Program
from tests.analysis_cases import N_IN, N, array, leaves, step, values_of, with_parameter_states

X = array(N_IN, seed=6)
H = {"h": array(N)}
LINEAR = {"weight": array(N_IN, N, seed=5), "bias": array(N, seed=7)}


def names(program: Program) -> list[tuple[str, str]]:
    relations = brainir.find_hidden_param_op_relations(program)
    return [(".".join(map(str, relation.path)), relation.kind) for relation in relations]


def codes(program: Program) -> list[tuple[str, str]]:
    return [(".".join(map(str, each.path)), each.name) for each in relation_diagnostics(program)]


def check_parts(program: Program, *inputs: Any) -> tuple[HiddenParamOpRelation, ...]:
    """Run the operation and the tail of each relation, and compare with the values of the step."""
    relations = brainir.find_hidden_param_op_relations(program)
    new = _outputs(program)
    for relation in relations:
        for part, invars, results in (
            (relation.operation, relation.operation_invars, [relation.y.name]),
            (
                relation.y_to_hidden,
                relation.y_to_hidden_invars,
                [new[path] for path in relation.connected_hidden_paths],
            ),
        ):
            brainir.verify(part)
            operands = values_of(program, [value.name for value in invars], *inputs)
            wanted = values_of(program, results, *inputs)
            for got, value in zip(brainir.to_callable(part)(*operands), wanted, strict=True):
                np.testing.assert_allclose(got, value, rtol=1e-6)
    return relations


def _outputs(program: Program) -> dict[Any, str]:
    return {path: value.name for path, value in brainir.module_info(program).hidden_path_to_outvar.items()}


def dense(p: Any, x: Any) -> Any:
    return x @ p["weight"] + p["bias"]


def test_the_tail_of_a_parameter_goes_on_behind_a_use_without_results() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        jax.debug.callback(lambda bias: None, p["bias"])
        return {"h": jnp.tanh(0.9 * h["h"] + p["bias"] * x)}

    p, x = {"bias": LINEAR["bias"]}, array(N, seed=8)
    program = step(run, p, H, x)
    (relation,) = check_parts(program, *leaves(p, H, x))
    held = values_of(program, [value.name for value in relation.y_to_hidden_invars[1:]], *leaves(p, H, x))
    tail = brainir.to_callable(relation.y_to_hidden)
    got = jax.jacobian(lambda bias: tail(bias, *held)[0])(p["bias"])
    np.testing.assert_allclose(got, jax.jacobian(lambda bias: run({"bias": bias}, H, x)["h"])(p["bias"]), rtol=1e-6)


def test_an_affine_map_of_one_state_is_one_relation_with_two_leaves() -> None:
    p = {"lin": LINEAR}
    program = with_parameter_states(step(lambda p, h, x: {"h": 0.9 * h["h"] + jnp.tanh(dense(p["lin"], x))}, p, H, X))
    (relation,) = check_parts(program, *leaves(p, H, X))
    assert [(leaf.keys, leaf.part) for leaf in relation.leaves] == [
        (("bias",), "bias"),
        (("weight",), "weight"),
    ]
    assert relation.kind == "dense"
    assert relation.x is not None
    assert relation.x.shape == (N_IN,)
    assert relation.y.shape == (N,)
    assert relation.how == ((("h",), "direct"),)
    assert relation.tail == "aligned"
    assert relation.elementwise_tail
    np.testing.assert_array_equal(relation.index_maps(("h",)), [np.arange(N)])


def test_an_affine_map_with_conversions_and_a_batch_is_one_relation() -> None:
    p = {"lin": LINEAR}
    x, hidden = array(5, N_IN), {"h": array(5, N)}

    def run(p: Any, h: Any, x: Any) -> Any:
        product = (x @ p["lin"]["weight"]).astype(jnp.bfloat16).astype(jnp.float32) * 1e-3
        return {"h": h["h"] + product + p["lin"]["bias"][None].astype(jnp.float32) * 2.0}

    program = with_parameter_states(step(run, p, hidden, x))
    # The sum with the old state comes first, so the bias is not next to the product.
    assert names(program) == [("lin", "dense"), ("lin", "bias")]
    program = with_parameter_states(
        step(
            lambda p, h, x: {"h": h["h"] + ((x @ p["lin"]["weight"]).astype(jnp.float32) * 1e-3 + p["lin"]["bias"])},
            p,
            hidden,
            x,
        )
    )
    assert names(program) == [("lin", "dense")]
    check_parts(program, *leaves(p, hidden, x))


def test_a_product_that_is_subtracted_from_its_bias_or_negated_is_one_relation() -> None:
    p = {"lin": LINEAR}
    for sign in (lambda y, b: b - y, lambda y, b: -y + b):
        program = with_parameter_states(
            step(
                lambda p, h, x, sign=sign: {"h": h["h"] + sign(x @ p["lin"]["weight"], p["lin"]["bias"])},
                p,
                H,
                X,
            )
        )
        assert names(program) == [("lin", "dense")]
        check_parts(program, *leaves(p, H, X))


def test_a_bias_of_its_own_state_is_its_own_relation() -> None:
    program = step(lambda p, h, x: {"h": h["h"] + dense(p, x)}, LINEAR, H, X)
    bias, weight = check_parts(program, *leaves(LINEAR, H, X))
    assert (bias.kind, bias.x, weight.kind) == ("bias", None, "dense")


def test_the_product_is_not_merged_with_the_bias_if_something_else_uses_it() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        product = x @ p["lin"]["weight"]
        return {"h": h["h"] * product + jnp.tanh(product + p["lin"]["bias"])}

    program = with_parameter_states(step(run, {"lin": LINEAR}, H, X))
    assert names(program) == [("lin", "dense"), ("lin", "bias")]
    check_parts(program, *leaves({"lin": LINEAR}, H, X))


def test_a_gain_of_the_same_state_is_no_bias() -> None:
    p = {"lin": {"gain": array(N, seed=8), "weight": array(N_IN, N)}}
    program = with_parameter_states(
        step(lambda p, h, x: {"h": h["h"] + (x @ p["lin"]["weight"]) * p["lin"]["gain"]}, p, H, X)
    )
    assert names(program) == [("lin", "dense"), ("lin", "elementwise")]
    check_parts(program, *leaves(p, H, X))


def test_a_shared_weight_gives_a_relation_for_each_use() -> None:
    p = {"lin": LINEAR}

    def run(p: Any, h: Any, x: Any) -> Any:
        return {"h": h["h"] + dense(p["lin"], x) * jnp.tanh(dense(p["lin"], x * x))}

    program = with_parameter_states(step(run, p, H, X))
    assert names(program) == [("lin", "dense")] * 2
    relations = check_parts(program, *leaves(p, H, X))
    assert all(len(relation.leaves) == 2 for relation in relations)


def test_every_parameter_of_one_operand_is_found() -> None:
    p = {"first": array(N_IN, N), "second": array(N_IN, N, seed=1), "mask": array(N_IN, N, seed=2)}

    def run(p: Any, h: Any, x: Any) -> Any:
        return {"h": h["h"] + x @ (jnp.abs(p["first"]) * (p["mask"] > 0) + 0.5 * p["second"])}

    program = step(run, p, H, X)
    assert [name for name, _ in names(program)] == ["first", "mask", "second"]
    first, _, second = check_parts(program, *leaves(p, H, X))
    assert first.y == second.y
    assert [link.split(" = ")[1].split(" ")[0] for link in first.leaves[0].chain] == ["abs", "mul", "add"]


@pytest.mark.parametrize(
    ("kind", "shapes", "product"),
    [
        ("dense", ((N, N), (N,)), lambda w, x: w @ x),
        ("einsum", ((2, 2, N), (2, 2)), lambda w, x: jnp.einsum("ij,ijo->o", x, w)),
        ("grouped", ((2, N_IN, 2), (2, N_IN)), lambda w, x: jnp.einsum("gi,gio->go", x, w).reshape(N)),
        ("elementwise", ((N,), (N,)), lambda w, x: jnp.einsum("i,i->i", w, x)),
        ("elementwise", ((), (N,)), lambda w, x: jnp.exp(w) * x),
    ],
)
def test_kinds_of_products(kind: str, shapes: tuple[Any, Any], product: Any) -> None:
    p, x = {"w": array(*shapes[0])}, array(*shapes[1], seed=1)
    program = step(lambda p, h, x: {"h": 0.9 * h["h"] + product(p["w"], x)}, p, H, x)
    (relation,) = check_parts(program, *leaves(p, H, x))
    assert relation.kind == kind
    assert relation.tail == ("indexed" if shapes[0] == () else "aligned")


def test_rows_picked_by_data_are_an_embedding() -> None:
    p, x = {"table": array(7, N)}, jnp.int32(3)
    program = step(lambda p, h, x: {"h": h["h"] + p["table"][x]}, p, H, x)
    (relation,) = check_parts(program, *leaves(p, H, x))
    assert relation.kind == "embedding"
    assert relation.x is not None


def test_products_in_a_row_with_leaves_of_one_state_are_one_relation() -> None:
    p = {"lora": {"a": array(N_IN, 2), "b": array(2, N)}}

    def run(p: Any, h: Any, x: Any) -> Any:
        return {"h": h["h"] + 0.5 * ((x @ p["lora"]["a"]) * 2.0) @ p["lora"]["b"]}

    program = with_parameter_states(step(run, p, H, X))
    (relation,) = check_parts(program, *leaves(p, H, X))
    assert (relation.kind, relation.x and relation.x.shape, relation.y.shape) == ("lora", (N_IN,), (N,))


def test_products_in_a_row_of_two_states_are_two_operations() -> None:
    p = {"first": array(N_IN, 5), "second": array(5, N)}
    program = step(lambda p, h, x: {"h": h["h"] + x @ p["first"] @ p["second"]}, p, H, X)
    (relation,) = brainir.find_hidden_param_op_relations(program)
    assert (relation.path, relation.kind) == (("second",), "dense")
    assert [(each.name, each.path) for each in relation_diagnostics(program)] == [
        ("only_through_another_weight", ("first",))
    ]


def test_a_weight_that_follows_itself_is_another_operation() -> None:
    p = {"w": array(N, N)}
    program = step(lambda p, h, x: {"h": 0.9 * h["h"] + (x @ p["w"]) @ p["w"]}, p, H, array(N, seed=8))
    (relation,) = brainir.find_hidden_param_op_relations(program)
    assert (relation.path, relation.kind, len(relation.leaves)) == (("w",), "dense", 1)
    assert {each.name for each in relation_diagnostics(program)} == {"only_through_another_weight"}


def test_a_product_of_parameters_belongs_to_the_chain() -> None:
    p = {"a": array(N_IN, 2), "b": array(2, N)}
    program = step(lambda p, h, x: {"h": h["h"] + x @ (p["a"] @ p["b"])}, p, H, X)
    assert names(program) == [("a", "dense"), ("b", "dense")]
    check_parts(program, *leaves(p, H, X))


def test_elementwise_parameters_give_one_relation_for_each_leaf() -> None:
    p = {"nu": array(N), "theta": array(N, seed=1), "gain": array(N, seed=2)}
    hidden = {"im": array(N), "re": array(N, seed=1)}

    def run(p: Any, h: Any, x: Any) -> Any:
        size, phase = jnp.exp(-jnp.exp(p["nu"])), jnp.exp(p["theta"])
        cos, sin = size * jnp.cos(phase), size * jnp.sin(phase)
        return {
            "re": cos * h["re"] - sin * h["im"] + p["gain"] * x[0],
            "im": sin * h["re"] + cos * h["im"],
        }

    program = step(run, p, hidden, X)
    relations = check_parts(program, *leaves(p, hidden, X))
    assert [(relation.path, relation.kind) for relation in relations] == [
        (("gain",), "elementwise"),
        (("nu",), "elementwise"),
        (("theta",), "elementwise"),
    ]
    assert [len(relation.leaves[0].chain) for relation in relations] == [0, 3, 1]
    assert [len(relation.connected_hidden_paths) for relation in relations] == [1, 2, 2]


def test_a_parameter_that_becomes_the_new_value_is_a_relation() -> None:
    program = step(lambda p, h: {"h": p["h0"] * 2.0}, {"h0": array(N)}, H)
    (relation,) = check_parts(program, *leaves({"h0": array(N)}, H))
    assert relation.kind == "elementwise"


GATES = {"r": array(N_IN + N, N), "z": array(N_IN + N, N, seed=1), "c": array(N_IN + N, N, seed=2)}


def gru(p: Any, h: Any, x: Any) -> Any:
    both = jnp.concatenate([x, h["h"]])
    r, z = jax.nn.sigmoid(both @ p["r"]), jax.nn.sigmoid(both @ p["z"])
    candidate = jnp.tanh(jnp.concatenate([x, r * h["h"]]) @ p["c"])
    return {"h": (1 - z) * h["h"] + z * candidate}


def test_a_weight_that_reaches_only_through_another_is_named_and_left_out() -> None:
    program = step(gru, GATES, H, X)
    assert names(program) == [("c", "dense"), ("z", "dense")]
    assert codes(program) == [("r", "only_through_another_weight")]
    check_parts(program, *leaves(GATES, H, X))


def test_a_fused_gate_reaches_both_ways() -> None:
    def fused(p: Any, h: Any, x: Any) -> Any:
        both = jnp.concatenate([x, h["h"]])
        r, z = jnp.split(jax.nn.sigmoid(both @ p["rz"]), 2)
        candidate = jnp.tanh(jnp.concatenate([x, r * h["h"]]) @ p["c"])
        return {"h": (1 - z) * h["h"] + z * candidate}

    p = {"rz": jnp.concatenate([GATES["r"], GATES["z"]], axis=1), "c": GATES["c"]}
    program = step(fused, p, H, X)
    _, gates = check_parts(program, *leaves(p, H, X))
    assert gates.how == ((("h",), "both"),)
    assert gates.tail == "indexed"
    np.testing.assert_array_equal(gates.index_maps(("h",)), [np.arange(N, 2 * N)])
    assert codes(program) == [("rz", "through_another_weight")]


def test_a_matrix_of_four_gates_has_several_index_maps() -> None:
    hidden = {"c": array(N), "h": array(N, seed=1)}

    def lstm(p: Any, h: Any, x: Any) -> Any:
        i, f, o, g = jnp.split(jnp.concatenate([x, h["h"]]) @ p["w"], 4)
        c = jax.nn.sigmoid(f) * h["c"] + jax.nn.sigmoid(i) * jnp.tanh(g)
        return {"c": c, "h": jax.nn.sigmoid(o) * jnp.tanh(c)}

    p = {"w": array(N_IN + N, 4 * N)}
    (relation,) = check_parts(step(lstm, p, hidden, X), *leaves(p, hidden, X))
    assert relation.tail == "several"
    assert not relation.elementwise_tail
    starts = {int(each[0]) // N for each in relation.index_maps(("h",)) or ()}
    assert starts == {0, 1, 2, 3}
    assert len(relation.index_maps(("c",)) or ()) == 3


def test_readouts_are_no_relations() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        new = {"h": 0.9 * h["h"] + x @ p["w"]}
        return new, new["h"] @ p["out"]

    program = brainir.lower_step(run, {"out": array(N, 2), "w": array(N_IN, N)}, H, X)
    assert names(program) == [("w", "dense")]
    assert codes(program) == [("out", "readout")]


def test_two_layers_keep_their_credit_apart() -> None:
    p = {"first": array(N_IN, N), "second": array(N, N)}
    hidden = {"a": array(N), "b": array(N, seed=1)}

    def run(p: Any, h: Any, x: Any) -> Any:
        a = 0.9 * h["a"] + x @ p["first"]
        return {"a": a, "b": 0.9 * h["b"] + a @ p["second"]}

    program = step(run, p, hidden, X)
    first, second = check_parts(program, *leaves(p, hidden, X))
    assert first.how == ((("a",), "direct"), (("b",), "through"))
    assert first.connected_hidden_paths == (("a",),)
    assert [group.index for group in first.hidden_groups] == [0]
    assert second.how == ((("b",), "direct"),)
    assert codes(program) == [("first", "through_another_weight")]


def test_stop_gradient_ends_the_path() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        stopped = jax.lax.stop_gradient(x @ p["w"])
        return {"h": 0.9 * h["h"] + stopped + x @ jax.lax.stop_gradient(p["v"])}

    program = step(run, {"v": array(N_IN, N), "w": array(N_IN, N)}, H, X)
    assert names(program) == []
    assert codes(program) == [("v", "blocked_by_stop_gradient"), ("w", "blocked_by_stop_gradient")]


def test_a_tail_with_a_normalisation_mixes() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        y = x @ p["w"]
        return {"h": h["h"] + y / jnp.sum(jnp.abs(y))}

    (relation,) = check_parts(step(run, {"w": array(N_IN, N)}, H, X), *leaves({"w": array(N_IN, N)}, H, X))
    assert relation.tail == "mixing"
    assert relation.index_maps(("h",)) is None


def test_a_weight_in_a_nested_jit_is_found() -> None:
    p = {"lin": LINEAR}
    program = with_parameter_states(step(lambda p, h, x: {"h": h["h"] + jax.jit(jax.jit(dense))(p["lin"], x)}, p, H, X))
    assert names(program) == [("lin", "dense")]
    check_parts(program, *leaves(p, H, X))


def test_a_weight_inside_a_custom_derivative_is_a_custom_operation() -> None:
    @jax.custom_vjp
    def product(w: Any, x: Any) -> Any:
        return x @ w

    product.defvjp(lambda w, x: (x @ w, (w, x)), lambda saved, ct: (jnp.outer(saved[1], ct), saved[0] @ ct))
    p = {"w": array(N_IN, N)}
    program = step(lambda p, h, x: {"h": h["h"] + product(p["w"], x)}, p, H, X)
    (relation,) = check_parts(program, *leaves(p, H, X))
    assert relation.kind == "custom"


def test_the_operation_differentiates_to_the_gradient_of_the_leaves() -> None:
    p = {"lin": {"weight": array(N_IN, N), "bias": array(N)}}

    def operation(p: Any, x: Any) -> Any:
        return x @ (jnp.abs(p["weight"]) * 0.5) + p["bias"]

    program = with_parameter_states(step(lambda p, h, x: {"h": h["h"] + operation(p["lin"], x)}, p, H, X))
    (relation,) = brainir.find_hidden_param_op_relations(program)
    _, pull = jax.vjp(lambda *leaf: brainir.to_callable(relation.operation)(*leaf, X)[0], *leaves(p))
    _, wanted = jax.vjp(lambda p: operation(p["lin"], X), p)
    for got, value in zip(pull(array(N, seed=3)), leaves(*wanted(array(N, seed=3))), strict=True):
        np.testing.assert_allclose(got, value, rtol=1e-6)


def with_other(program: Program, *paths: str) -> Program:
    """Make some hidden states of a step states that are neither hidden nor parameters."""
    states = tuple(
        state.replace(role="other") if state.path[0] in paths else state for state in program.interface.states
    )
    return program.replace(interface=program.interface.replace(states=states))


def test_recurrence_through_a_state_that_is_not_hidden_is_named() -> None:
    hidden = {"count": jnp.float32(0.0), "h": array(N), "s": array(N, seed=1), "total": jnp.float32(0.0)}

    def run(p: Any, h: Any, x: Any) -> Any:
        new = 0.5 * h["s"] + x @ p["w"] / (1.0 + h["count"])
        return {
            "h": new,
            "s": jnp.tanh(new),
            "count": h["count"] + 1.0,
            "total": h["total"] + jnp.sum(new),
        }, new

    program = with_other(brainir.lower_step(run, {"w": array(N_IN, N)}, hidden, X), "count", "s", "total")
    assert codes(program) == [("s", "recurrence_through_other_state")]


def test_unused_and_unreachable_states_are_named() -> None:
    program = step(lambda p, h: {"h": h["h"] * 0.5}, {"w": array(N)}, H)
    unreachable = tuple(state.replace(reachable=state.role == "param") for state in program.interface.states)
    program = program.replace(interface=program.interface.replace(states=unreachable))
    assert codes(program) == [("w", "unused_parameter"), ("h", "unreachable_state")]


def test_relations_and_diagnostics_print_and_give_the_same_json_each_time() -> None:
    first, second = (step(gru, GATES, H, X) for _ in range(2))
    relation = brainir.find_hidden_param_op_relations(first)[0]
    assert relation.to_json() == brainir.find_hidden_param_op_relations(second)[0].to_json()
    assert json.loads(relation.to_json())["hidden_groups"] == [{"index": 0, "hidden_paths": [["h"]]}]
    assert "relation of c (dense)" in repr(relation)
    assert repr(relation_diagnostics(first)[0]).startswith("BIR102 only_through_another_weight: r: reaches h only")


def test_the_derivative_of_a_state_that_sees_several_elements_of_a_result_is_not_one_number() -> None:
    def fn(params: Any, hidden: Any, x: Any) -> Any:
        y = x @ params["w"]
        return {"v": 0.9 * hidden["v"] + y + y[::-1], "u": 0.9 * hidden["u"] + y}

    program = step(fn, {"w": array(N_IN, N)}, {"v": jnp.zeros(N), "u": jnp.zeros(N)}, array(N_IN))
    (relation,) = brainir.find_hidden_param_op_relations(program)
    structure = relation.tail_structure
    found = {structure.states[entry.row][0]: (entry.uniform, entry.value) for entry in structure.entries}
    assert found == {("v",): (False, None), ("u",): (True, 1.0)}

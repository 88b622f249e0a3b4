"""Weights inside cond, scan and while: what is opened, what is taken as a step of its own, what is refused."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import brainir
from brainir.analysis import open_control_flow, relation_diagnostics
from brainir.analysis.weights.scan import WeightScan
from brainir.ir.program import Program
from tests.analysis_cases import N_IN, N, array, step, values_of
from tests.jacobians import blocks, jacobian_of_transition, tail, tangents_of_tail

X = array(N_IN, seed=6)
H = {"h": array(N)}
P = {"w": array(N_IN, N, seed=5)}


def counts(program: Program) -> tuple[int, int, int, int]:
    return (
        len(brainir.module_info(program).hidden_paths),
        len(brainir.find_hidden_groups(program)),
        len(brainir.find_hidden_param_op_relations(program)),
        len(brainir.add_hidden_perturbation(program).perturb_vars),
    )


def names(program: Program) -> list[str]:
    return [each.name for each in relation_diagnostics(program)]


def branching(p: Any, h: Any, x: Any) -> Any:
    drive = jax.lax.cond(x[0] > 0, lambda: x @ p["w"], lambda: -(x @ p["w"]))
    return {"h": 0.9 * h["h"] + drive}


def looping(length: int) -> Any:
    def run(p: Any, h: Any, x: Any) -> Any:
        return {"h": jax.lax.fori_loop(0, length, lambda i, c: 0.9 * c + jnp.tanh(c + x @ p["w"]), h["h"])}

    return run


def settling(p: Any, h: Any, x: Any) -> Any:
    drive = 0.9 * h["h"] + x @ p["w"]
    return {"h": jax.lax.while_loop(lambda c: jnp.all(c < 1.0), lambda c: c * 2.0 + 1.0, drive)}


def weight_in_while(p: Any, h: Any, x: Any) -> Any:
    return {"h": jax.lax.while_loop(lambda c: jnp.all(c < 1.0), lambda c: c + x @ p["w"], h["h"])}


def test_a_weight_in_each_branch_of_a_cond_gives_two_relations_and_the_caveat() -> None:
    program = step(branching, P, H, X)
    assert counts(program) == (1, 1, 2, 1)
    assert names(program) == ["every_branch_computed"]


def test_a_weight_in_a_short_scan_gives_a_relation_for_each_round() -> None:
    program = step(looping(3), P, H, X)
    assert counts(program) == (1, 1, 3, 1)
    assert names(program) == ["scan_unrolled"]


def preparing(p: Any, h: Any, x: Any) -> Any:
    def advance(_: Any, c: Any) -> Any:
        return 0.9 * c + jnp.tanh(c + x @ jnp.abs(p["w"])) + jnp.exp(p["w"][0] * p["w"][1])

    return {"h": jax.lax.fori_loop(0, 3, advance, h["h"])}


def test_what_is_made_of_parameters_alone_is_one_use_of_them_in_all_rounds_of_a_scan() -> None:
    program = step(preparing, P, H, X)
    ops = [node.op for node in open_control_flow(program).program.entry_function.nodes]
    assert [ops.count(op) for op in ("tanh", "abs", "exp")] == [3, 1, 1]
    assert [each.kind for each in brainir.find_hidden_param_op_relations(program)].count("dense") == 3


def test_a_while_loop_on_a_hidden_state_is_followed() -> None:
    program = step(settling, P, H, X)
    assert counts(program) == (1, 1, 1, 1)
    assert names(program) == []


def test_a_weight_in_a_while_loop_is_refused_with_the_reason() -> None:
    program = step(weight_in_while, P, H, X)
    assert brainir.find_hidden_param_op_relations(program) == ()
    (found,) = relation_diagnostics(program)
    assert found.name == "weight_in_while"
    assert "not known beforehand" in found.message
    assert "scan of fixed length" in found.remedy


def test_control_flow_without_weights_that_is_elementwise_is_left_as_it_is() -> None:
    program = step(lambda p, h, x: {"h": jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, h["h"]) + x @ p["w"]}, P, H, X)
    assert open_control_flow(program).program is program
    mixing = step(
        lambda p, h, x: {"h": jax.lax.cond(x[0] > 0, lambda c: c + jnp.sum(c), jnp.cos, h["h"]) + x @ p["w"]}, P, H, X
    )
    (group,) = brainir.find_hidden_groups(mixing)
    assert {each.kind for each in group.blocked} == {"reduction"}
    assert not group.jacobian_structure.at(0, 0).constant


def test_opening_keeps_values_and_gradients_and_is_done_once() -> None:
    for fn in (branching, looping(3), preparing):
        program = step(fn, P, H, X)
        opened = open_control_flow(program)
        brainir.verify(opened.program)
        assert open_control_flow(opened.program).program is opened.program
        assert brainir.find_hidden_param_op_relations(opened.program) == brainir.find_hidden_param_op_relations(program)

        def loss(run: Any, p: Any, h: Any) -> Any:
            new, out = run(p, h, X)
            return out + jnp.sum(jnp.sin(new["h"]))

        found = [
            jax.value_and_grad(loss, argnums=(1, 2))(brainir.to_callable(each), P, H)
            for each in (program, opened.program)
        ]
        jax.tree.map(lambda one, two: np.testing.assert_allclose(one, two, rtol=1e-5), *found)


def test_a_long_scan_is_one_relation_whose_rounds_give_the_gradient() -> None:
    length = 20
    program = step(looping(length), P, H, X)
    assert counts(program) == (1, 1, 1, 1)
    assert names(program) == ["scan_descended"]
    (relation,) = brainir.find_hidden_param_op_relations(program)
    descent = relation.descent
    assert descent is not None
    assert (descent.length, descent.hidden_paths, relation.kind) == (length, (("h",),), "dense")
    brainir.verify(descent.substep)
    (group,) = brainir.find_hidden_groups(descent.substep)
    assert relation.hidden_groups[0].descent == descent

    # Roll the trace through the rounds: e <- D e + x F. The rounds are elementwise, so this is exact.
    substep = WeightScan(descent.substep)
    h, trace = H["h"], np.zeros((N_IN, N))
    inputs = {("h",): h, ("w",): P["w"]}
    transition, push = jacobian_of_transition(group), tangents_of_tail(relation)
    for number in range(length):
        flat = [inputs.get(state.path, jnp.int32(number)) for state in descent.substep.interface.states]
        flat += [X] * (len(substep.function.inputs) - len(flat))
        inside = values_of(descent.substep, [value.name for value in group.transition_invars], *flat)
        outside = values_of(descent.substep, [value.name for value in relation.y_to_hidden_invars], *flat)
        (x,) = values_of(descent.substep, [relation.x.name], *flat)
        trace = blocks(group, transition(*inside))[:, 0, 0] * trace + np.outer(
            x, tail(relation, push(*outside))[:, 0, 0]
        )
        (inputs["h",],) = values_of(descent.substep, [group.hidden_outvars[0].name], *flat)
    expected = jax.jacrev(lambda p: looping(length)(p, H, X)["h"])(P)["w"]
    # 1 - tanh(a)**2 loses digits where tanh(a) is near 1, more of them as XLA compiles here.
    np.testing.assert_allclose(trace, np.einsum("kik->ik", expected), rtol=1e-4, atol=1e-5)
    new, _ = brainir.to_callable(program)(P, H, X)
    np.testing.assert_allclose(inputs["h",], new["h"], rtol=1e-5)


def test_two_states_of_a_long_scan_are_one_group() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        def body(i: Any, c: Any) -> Any:
            a, b = c
            return 0.9 * a + 0.1 * b + x @ jnp.abs(p["w"]), 0.5 * b + a

        a, b = jax.lax.fori_loop(0, 40, body, (h["a"], h["b"]))
        return {"a": a, "b": b}

    program = step(run, P, {"a": array(N), "b": array(N, seed=1)}, X)
    assert counts(program) == (2, 1, 1, 2)
    (relation,) = brainir.find_hidden_param_op_relations(program)
    assert [each.split("=")[1].split()[0] for each in relation.leaves[0].chain] == ["abs"]


def test_a_long_scan_that_carries_no_state_is_not_followed_and_says_why() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        drive = jax.lax.fori_loop(0, 40, lambda i, c: jnp.tanh(c + x @ p["w"]), jnp.zeros(N))
        return {"h": 0.9 * h["h"] + drive}

    program = step(run, P, H, X)
    assert brainir.find_hidden_param_op_relations(program) == ()
    (found,) = relation_diagnostics(program)
    assert found.name == "weight_in_control_flow"
    assert "too many to unroll, and it does not carry a hidden state" in found.message


def test_a_readout_in_control_flow_is_left_alone() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        new = {"h": 0.9 * h["h"] + x @ p["w"]}
        return new, jax.lax.cond(x[0] > 0, lambda: new["h"] @ p["out"], lambda: 2.0 * (new["h"] @ p["out"]))

    program = brainir.lower_step(run, {**P, "out": array(N, 2)}, H, X)
    assert open_control_flow(program).program is program
    assert len(brainir.find_hidden_param_op_relations(program)) == 1

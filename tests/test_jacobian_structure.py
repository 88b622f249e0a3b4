"""Structure of per-position derivatives: zero, constant over time, equal at all positions; and their values."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis import JacobianEntry, JacobianStructure
from tests.analysis_cases import N_IN, N, array, leaves, step
from tests.jacobians import check_structures

P = {"w": array(N_IN, N, seed=5), "tau": array(N, seed=3), "leak": array(seed=4)}
TAU = np.linspace(0.2, 0.8, N).astype(np.float32)


def cell(entry: JacobianEntry | None) -> str:
    """Write an entry as in the text of a structure."""
    if entry is None:
        return "."
    if entry.value is not None:
        return f"{entry.value:.3g}"
    return ("c" if entry.constant else "~") + ("" if entry.uniform else "*")


def cells(structure: JacobianStructure) -> list[str]:
    rows = range(len(structure.states))
    return [" ".join(cell(structure.at(row, column)) for column in range(structure.size)) for row in rows]


@jax.custom_jvp
def spike(v: Any) -> Any:
    return (v > 0).astype(v.dtype)


@spike.defjvp
def _(primals: Any, tangents: Any) -> Any:
    return spike(primals[0]), tangents[0] / (1.0 + primals[0] ** 2)


@jax.custom_vjp
def halved(v: Any) -> Any:
    return v * 0.5


halved.defvjp(lambda v: (v * 0.5, None), lambda residual, cotangent: (cotangent * 0.25,))

# A step on states a and b with input x, and its structure, row by row.
STEPS: dict[str, tuple[Callable[..., Any], list[str]]] = {
    "literals": (lambda p, a, b, x: (0.9 * a + b, 0.5 * b - a), ["0.9 1", "-1 0.5"]),
    "constants that differ": (lambda p, a, b, x: (TAU * a + b, 0.5 * b), ["c* 1", ". 0.5"]),
    "a parameter for each position": (lambda p, a, b, x: (p["tau"] * a, b + a), ["c* .", "1 1"]),
    "one parameter for all": (lambda p, a, b, x: (jnp.tanh(p["leak"]) * a, b + a), ["c .", "1 1"]),
    "a gain from the input": (lambda p, a, b, x: (x[0] * a + b, a), ["~ 1", "1 ."]),
    "a nonlinearity": (lambda p, a, b, x: (jnp.tanh(a) + b, 0.5 * a), ["~* 1", "0.5 ."]),
    "a known function of known numbers": (
        lambda p, a, b, x: (jnp.exp(-jnp.float32(0.1)) * a, b + a),
        ["0.905 .", "1 1"],
    ),
    "zero times": (lambda p, a, b, x: (a + 0.0 * b, b - a), ["1 .", "-1 1"]),
    "no derivative": (lambda p, a, b, x: (a + jnp.sign(b), b + (a > 0)), ["1 .", ". 1"]),
    "a surrogate": (lambda p, a, b, x: (0.9 * a + b, b * spike(a)), ["0.9 1", "~* ~*"]),
    "a rule of its own": (lambda p, a, b, x: (halved(a) + b, b + a), ["0.25 1", "1 1"]),
    "softplus": (lambda p, a, b, x: (jax.nn.softplus(a) + b, b + a), ["~* 1", "1 1"]),
    "parts": (
        lambda p, a, b, x: (jnp.concatenate([0.5 * a[:1], 0.25 * a[1:]]) + b, b[::-1][::-1] + a),
        ["c* 1", "1 1"],
    ),
    "a part only": (lambda p, a, b, x: (a.at[np.array([0])].set(0.0) + b, b + a), ["c* 1", "1 1"]),
    "what mixes is held": (lambda p, a, b, x: (0.5 * a + b + jnp.sum(a), b + a), ["0.5 1", "1 1"]),
    "divided by what the positions share": (lambda p, a, b, x: (a / (1.0 + jnp.sum(a**2)) + b, b + a), ["~ 1", "1 1"]),
    "chosen by the input": (lambda p, a, b, x: (jnp.where(x[1] > 0, 2.0 * a, a) + b, b + a), ["~ 1", "1 1"]),
    "stopped": (lambda p, a, b, x: (0.5 * a + jax.lax.stop_gradient(a) + b, b + a), ["0.5 1", "1 1"]),
    "the positions one by one": (lambda p, a, b, x: (jax.lax.map(lambda v: 2.0 * v, a) + b, b + a), ["2 1", "1 1"]),
    "a nonlinearity one by one": (lambda p, a, b, x: (jax.lax.map(jnp.tanh, a) + b, b + a), ["~* 1", "1 1"]),
    "rounded on the way": (lambda p, a, b, x: ((0.9 * a).astype(jnp.bfloat16) * 1.0 + b, b + a), ["0.898 1", "1 1"]),
    "of reduced precision": (
        lambda p, a, b, x: (jax.lax.reduce_precision(0.9 * a, 8, 7) + b, b + a),
        ["c 1", "1 1"],
    ),
    "through the other state": (
        lambda p, a, b, x: (0.5 * a + x @ p["w"], 0.1 * (0.5 * a + x @ p["w"]) + b),
        ["0.5 .", "0.05 1"],
    ),
}


def lowered(name: str) -> brainir.Program:
    def run(p: Any, h: Any, x: Any) -> Any:
        return dict(zip("ab", STEPS[name][0](p, h["a"], h["b"], x), strict=True))

    return step(run, P, {"a": array(N), "b": array(N, seed=1)}, array(N_IN))


@pytest.mark.parametrize("name", STEPS)
def test_structure_is_exact_and_agrees_with_the_jacobian(name: str) -> None:
    program = lowered(name)
    (group,) = brainir.find_hidden_groups(program)
    assert cells(group.jacobian_structure) == STEPS[name][1]
    inputs = [
        leaves({}, P, {"a": array(N, seed=t), "b": array(N, seed=t + 1)}, array(N_IN, seed=t)) for t in (10, 20, 30)
    ]
    check_structures(program, inputs)


def test_a_state_that_is_never_written_is_constant() -> None:
    program = step(
        lambda p, h, x: {"a": h["scale"] * h["a"], "scale": h["scale"]},
        {},
        {"a": array(N), "scale": array(N)},
        array(N_IN),
    )
    states = tuple(
        state.replace(role="other") if state.path == ("scale",) else state for state in program.interface.states
    )
    changed = program.replace(
        interface=program.interface.replace(states=states, kind="module", params=None, hidden=None)
    )
    (group,) = brainir.find_hidden_groups(changed)
    assert cells(group.jacobian_structure) == ["c*"]


def test_rows_and_columns_of_a_grouped_state_are_its_last_axis() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        fast, slow = h["s"][:, 0], h["s"][:, 1]
        return {"s": jnp.stack([0.5 * fast + jnp.tanh(slow), 0.25 * slow], axis=-1)}

    program = step(run, {}, {"s": array(N, 2)}, array(N_IN))
    states = tuple(state.replace(num_state=2) for state in program.interface.states)
    changed = program.replace(interface=program.interface.replace(states=states))
    (group,) = brainir.find_hidden_groups(changed)
    assert group.num_state == 2
    assert group.jacobian_structure.states == ((("s",), 0), (("s",), 1))
    assert cells(group.jacobian_structure) == ["0.5 ~*", ". 0.25"]
    check_structures(changed, [leaves({}, {"s": array(N, 2, seed=t)}, array(N_IN)) for t in range(3)])


def test_the_tail_of_a_relation_has_a_row_for_each_connected_state() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        g = 0.9 * h["a"] + x @ p["w"]
        return {"a": g, "b": jnp.tanh(h["b"] + g)}

    program = step(run, {"w": P["w"]}, {"a": array(N), "b": array(N, seed=1)}, array(N_IN))
    (relation,) = brainir.find_hidden_param_op_relations(program)
    assert cells(relation.tail_structure) == ["1", "~*"]


def test_wrong_states_are_errors_and_the_text_shows_the_matrix() -> None:
    (group,) = brainir.find_hidden_groups(lowered("literals"))
    structure = group.jacobian_structure
    assert structure.number(("b",)) == 1
    with pytest.raises(brainir.BrainIRError, match="its states are a, b"):
        structure.number(("c",))
    assert [line.split() for line in str(structure).splitlines()[1:]] == [["a", "0.9", "1"], ["b", "-1", "0.5"]]

"""Position dependence, groups and Jacobian structure through cond, scan and while, against the Jacobians of JAX."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.ir.types import TensorType
from tests.analysis_cases import N_IN, N, array, jacobian_of, leaves, step
from tests.jacobians import check_structures

X = array(N_IN, seed=6)


def scanned(body: Callable[[Any], Any], length: int) -> Callable[[Any, Any], Any]:
    return lambda h, x: jax.lax.fori_loop(0, length, lambda i, c: body(c), h)


def stacked(h: Any, x: Any) -> Any:
    return jax.lax.scan(lambda c, row: (c * 0.5 + row, c), h, jnp.ones((3, N)))[1][2]


# How the new value of h depends on its old one, and on how the step is written.
ELEMENTWISE: dict[str, Callable[[Any, Any], Any]] = {
    "cond by the input": lambda h, x: jax.lax.cond(x[0] > 0, jnp.sin, jnp.cos, h),
    "switch": lambda h, x: jax.lax.switch(jnp.int32(x[0]), [jnp.sin, jnp.cos, lambda h: h * 2.0], h),
    "cond in a cond": lambda h, x: jax.lax.cond(
        x[0] > 0, lambda h: jax.lax.cond(x[1] > 0, jnp.tanh, lambda h: h, h) * 2.0, jnp.cos, h
    ),
    "scan": scanned(lambda c: 0.9 * c + jnp.tanh(c), 5),
    "long scan": scanned(lambda c: 0.9 * c, 1000),
    "reversed an even number of times": scanned(lambda c: c[::-1] * 0.5, 4),
    "rolled all the way round": scanned(lambda c: jnp.roll(c, 1), N),
    "scan with inputs": lambda h, x: jax.lax.scan(lambda c, t: (0.5 * c + t, None), h, jnp.arange(5.0))[0],
    "stacked results": stacked,
    "scan in a scan": scanned(lambda c: jax.lax.fori_loop(0, 3, lambda i, d: d * 0.5 + c, c), 3),
    "scan in reverse": lambda h, x: jax.lax.scan(lambda c, t: (c * t, c), h, jnp.arange(4.0), reverse=True)[1][0],
    "while by a counter": lambda h, x: jax.lax.while_loop(
        lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sin(c[1])), (jnp.int32(0), h)
    )[1],
}


def lowered(fn: Callable[[Any, Any], Any]) -> brainir.Program:
    return step(lambda p, h, x: {"h": fn(h["h"], x)}, {}, {"h": array(N)}, X)


def of_new_value(program: brainir.Program) -> str:
    output = brainir.module_info(program).hidden_outvars[0].name
    return brainir.position_dependence(program).of(output, ("h",))


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_control_flow_that_is_elementwise_is_found_to_be_and_keeps_positions(name: str) -> None:
    program = lowered(ELEMENTWISE[name])
    output = brainir.module_info(program).hidden_outvars[0].name
    dependence = brainir.position_dependence(program)
    assert dependence.of(output, ("h",)) == "elementwise"
    np.testing.assert_array_equal(dependence.index_map(output, ("h",)), np.arange(N))
    (group,) = brainir.find_hidden_groups(program)
    assert not group.blocked
    check_structures(program, [leaves({}, {"h": array(N, seed=t)}, array(N_IN, seed=t)) for t in (1, 2)])


MIXED = {
    "one branch sums": lambda h, x: jax.lax.cond(x[0] > 0, lambda h: h + jnp.sum(h), jnp.cos, h),
    "chosen by the state": lambda h, x: jax.lax.cond(h[0] > 0, jnp.sin, jnp.cos, h),
    "sums at each step": scanned(lambda c: c - jnp.mean(c), 3),
    "rolled for longer than is followed": scanned(lambda c: c + jnp.roll(c, 1), 100),
    "reversed or not": lambda h, x: jax.lax.cond(x[0] > 0, lambda h: h[::-1], jnp.cos, h),
    "while by the state": lambda h, x: jax.lax.while_loop(lambda c: jnp.all(c < 1.0), lambda c: c + 1.0, h),
}


@pytest.mark.parametrize("name", MIXED)
def test_control_flow_that_mixes_is_mixing(name: str) -> None:
    assert of_new_value(lowered(MIXED[name])) == "mixing"


def test_a_reversal_in_a_scan_is_elementwise_but_not_in_place() -> None:
    program = lowered(scanned(lambda c: c[::-1] * 0.5, 3))
    output = brainir.module_info(program).hidden_outvars[0].name
    np.testing.assert_array_equal(brainir.position_dependence(program).index_map(output, ("h",)), np.arange(N)[::-1])
    (group,) = brainir.find_hidden_groups(program)
    assert [each.kind for each in group.blocked] == ["moved"]
    assert group.jacobian_structure.entries == ()


def test_a_scanned_state_is_seen_row_by_row() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        return {"h": jax.lax.scan(lambda c, row: (c + 1.0, row * c), 1.0, h["h"])[1]}

    program = step(run, {}, {"h": array(3, N)}, X)
    (group,) = brainir.find_hidden_groups(program)
    output = group.hidden_outvars[0].name
    assert brainir.position_dependence(program).of(output, ("h",)) == "elementwise"
    assert not group.blocked


def test_states_couple_through_a_loop() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        a, b = jax.lax.fori_loop(0, 4, lambda i, c: (0.5 * c[0] + c[1], 0.25 * c[1]), (h["a"], h["b"]))
        return {"a": a, "b": b}

    program = step(run, {}, {"a": array(N), "b": array(N, seed=1)}, X)
    (group,) = brainir.find_hidden_groups(program)
    structure = group.jacobian_structure
    matrix = np.linalg.matrix_power(np.array([[0.5, 1.0], [0.0, 0.25]]), 4)
    for row in range(2):
        for column in range(2):
            entry = structure.at(row, column)
            assert (0.0 if entry is None else entry.value) == pytest.approx(matrix[row, column])


def test_verdicts_of_all_values_agree_with_the_jacobians() -> None:
    for fn in (*ELEMENTWISE.values(), *MIXED.values()):
        program = lowered(fn)
        entry = program.entry_function
        found = brainir.position_dependence(program)
        names = [name for name, kind in entry.value_types.items() if TensorType.parse(kind).is_inexact]
        for name, jacobian in zip(names, jacobian_of(program, names, 0, *leaves({}, {"h": array(N)}, X)), strict=True):
            rows = jacobian.reshape(-1, N)
            if found.of(name, ("h",)) == "none":
                np.testing.assert_array_equal(rows, 0.0)
            elif found.of(name, ("h",)) == "elementwise":
                element, position = np.nonzero(rows)
                np.testing.assert_array_equal(found.index_map(name, ("h",)).reshape(-1)[element], position)

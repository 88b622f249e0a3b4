"""Hidden groups: which states join, and whether the transition has the position-diagonal of the Jacobian."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis import HiddenGroup
from brainir.ir.errors import AnalysisError
from brainir.ir.program import Program
from tests.analysis_cases import N_IN, N, array, jacobian_of, leaves, step, values_of

W = {"w": array(N_IN, N, seed=5)}
X = array(N_IN, seed=6)


def states(*names: str, shape: tuple[int, ...] = (N,)) -> dict[str, Any]:
    return {name: array(*shape, seed=index) for index, name in enumerate(names)}


def members(program: Program) -> list[list[str]]:
    return [[path[0] for path in group.hidden_paths] for group in brainir.find_hidden_groups(program)]


def diagonal_of_transition(program: Program, group: HiddenGroup, *inputs: Any) -> np.ndarray:
    """Return ``d new[a, k] / d old[b, k]`` as the transition's tangents have it, shape (a, b, k)."""
    values = values_of(program, [value.name for value in group.transition_invars], *inputs)
    brainir.verify(group.transition)
    transition = brainir.to_callable(group.transition)
    count = len(group.hidden_paths)
    columns = []
    for member in range(count):
        tangents = [jnp.full(value.shape, float(index == member)) for index, value in enumerate(values[:count])]
        _, out = jax.jvp(lambda *old: transition(*old, *values[count:]), tuple(values[:count]), tuple(tangents))
        columns.append([np.asarray(each).reshape(-1) for each in out])
    return np.array(columns).swapaxes(0, 1)


def diagonal_of_jacobian(program: Program, group: HiddenGroup, *inputs: Any) -> np.ndarray:
    names = [value.name for value in group.hidden_outvars]
    positions = list(program.entry_function.inputs)
    columns = []
    for value in group.hidden_invars:
        found = jacobian_of(program, names, positions.index(value.name), *inputs)
        columns.append([np.diagonal(each.reshape(value.aval.size, value.aval.size)) for each in found])
    return np.array(columns).swapaxes(0, 1)


def check_transition(program: Program, *inputs: Any) -> None:
    for group in brainir.find_hidden_groups(program):
        np.testing.assert_allclose(
            diagonal_of_transition(program, group, *inputs),
            diagonal_of_jacobian(program, group, *inputs),
            rtol=1e-5,
            atol=1e-6,
        )


DIAGONAL = {
    "leaky": lambda p, h, x: {"a": 0.9 * h["a"] + x @ p["w"], "b": jnp.tanh(h["b"])},
    "new value from another new value": lambda p, h, x: (lambda a: {"a": a, "b": jnp.sin(h["b"] * a)})(
        0.9 * h["a"] + x @ p["w"]
    ),
    "one operation reads two states": lambda p, h, x: {"a": h["a"] * h["b"], "b": h["b"] + x @ p["w"]},
    "swapped": lambda p, h, x: {"a": h["b"], "b": h["a"]},
    "copied": lambda p, h, x: {"a": h["b"] * 0.5 + x @ p["w"], "b": h["b"]},
    "one value for both": lambda p, h, x: (lambda v: {"a": v, "b": v})(h["a"] + jnp.cos(h["b"])),
    "same input for both": lambda p, h, x: {"a": h["a"], "b": h["a"]},
    "nested jit": lambda p, h, x: jax.jit(lambda h: {"a": h["a"] + h["b"], "b": h["a"] * h["b"]})(h),
    "surrogate spike": lambda p, h, x: {"a": h["a"] - jax.nn.relu(h["b"]), "b": h["b"] + jax.nn.relu(h["a"])},
    "reversed twice": lambda p, h, x: {"a": (h["a"][::-1] * h["b"][::-1])[::-1], "b": h["b"]},
    "with an ancillary roll": lambda p, h, x: {"a": 0.5 * h["a"] + jnp.roll(h["b"], 1), "b": h["a"] + h["b"]},
    "with a product of a roll": lambda p, h, x: {"a": h["a"] * jnp.roll(h["b"], 1), "b": h["a"] + h["b"]},
    "roll and back": lambda p, h, x: {
        "a": jnp.roll(jnp.roll(h["a"], 1) * jnp.roll(h["b"], 1), -1),
        "b": h["a"] + h["b"],
    },
    "reset": lambda p, h, x: {"a": jnp.zeros(N) + x @ p["w"], "b": h["b"]},
    "a column of an outer product": lambda p, h, x: {"a": jnp.outer(h["b"], x)[:, 1], "b": h["a"] + h["b"]},
    "behind a barrier": lambda p, h, x: dict(
        zip("ab", jax.lax.optimization_barrier((0.5 * h["a"] + h["b"], h["a"][::-1][::-1])), strict=True)
    ),
}


@pytest.mark.parametrize("name", DIAGONAL)
def test_the_transition_has_the_position_diagonal_of_the_jacobian(name: str) -> None:
    hidden = states("a", "b")
    program = step(DIAGONAL[name], W, hidden, X)
    check_transition(program, *leaves(W, hidden, X))


JOINED = {
    "new value from another new value": [["a", "b"]],
    "one operation reads two states": [["a", "b"]],
    "swapped": [["a", "b"]],
    "copied": [["a", "b"]],
    "one value for both": [["a", "b"]],
    "same input for both": [["a", "b"]],
    "leaky": [["a"], ["b"]],
    "reset": [["a"], ["b"]],
}


@pytest.mark.parametrize("name", JOINED)
def test_states_join_by_elementwise_dependence(name: str) -> None:
    assert members(step(DIAGONAL[name], W, states("a", "b"), X)) == JOINED[name]


def test_states_join_through_other_states_in_state_order() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        return {"a": h["a"] + h["d"], "b": h["b"] * 2.0, "c": h["d"] * 0.5, "d": h["d"] + x @ p["w"]}

    assert members(step(run, W, states("a", "b", "c", "d"), X)) == [["a", "c", "d"], ["b"]]


NOT_JOINED = {
    "moved": lambda b: jnp.roll(b, 1),
    "reduction": lambda b: jnp.full(N, jnp.sum(b)),
    "cumulative": jnp.cumsum,
    "contraction": lambda b: b @ np.ones((N, N), np.float32),
    "control_flow": lambda b: jax.lax.fori_loop(0, 100, lambda i, c: jnp.cumsum(c), b),
    "dynamic_index": lambda b: b[jnp.argsort(b)],
    "stop_gradient": jax.lax.stop_gradient,
}


@pytest.mark.parametrize("kind", NOT_JOINED)
def test_what_does_not_join_is_recorded(kind: str) -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        return {"a": 0.9 * h["a"] + NOT_JOINED[kind](h["b"]), "b": 0.5 * h["b"] + x @ p["w"]}

    groups = brainir.find_hidden_groups(step(run, W, states("a", "b"), X))
    assert [group.hidden_paths for group in groups] == [(("a",),), (("b",),)]
    assert (kind, (("b",),), (("a",),)) in [(each.kind, each.from_paths, each.to_paths) for each in groups[0].blocked]
    assert groups[0].blocked == groups[1].blocked


def test_weights_do_not_join_and_are_recorded() -> None:
    def run(p: Any, h: Any) -> Any:
        return {"a": h["a"] + h["b"] @ p["w"], "b": h["b"] * 0.5}

    groups = brainir.find_hidden_groups(step(run, {"w": array(N, N)}, states("a", "b")))
    assert [each.kind for each in groups[0].blocked] == ["weight"]
    assert len(groups) == 2


@pytest.mark.parametrize(
    "mix",
    [
        lambda v: (v - v.mean()) / jnp.sqrt(v.var() + 1e-3),
        lambda v: v / (1.0 + jnp.sum(v**2)),
        lambda v: v[::-1],
        lambda v: jnp.roll(v, 1),
    ],
    ids=["layer norm", "divisive normalisation", "reverse", "roll"],
)
def test_the_transition_holds_what_mixes(mix: Any) -> None:
    """The tangent of ones must not sum over positions, as it would through the mixing operation."""

    def run(p: Any, h: Any) -> Any:
        return {"a": 0.5 * h["a"] + mix(h["a"])}

    hidden = states("a")
    program = step(run, {}, hidden)
    (group,) = brainir.find_hidden_groups(program)
    found = diagonal_of_transition(program, group, *leaves({}, hidden))
    off_diagonal_left_out = 0.5 + np.zeros((1, 1, N))
    if group.blocked[0].kind == "reduction":
        # The elementwise part of a normalisation counts, with the statistics held.
        assert (np.abs(found) < 3.0).all()
    else:
        np.testing.assert_allclose(found, off_diagonal_left_out, rtol=1e-6)


def test_different_shapes_are_different_positions() -> None:
    def run(p: Any, h: Any) -> Any:
        return {"a": h["a"] + h["b"].reshape(N), "b": h["b"] * 0.5}

    groups = brainir.find_hidden_groups(step(run, {}, {"a": array(N), "b": array(2, 2)}))
    assert [group.varshape for group in groups] == [(N,), (2, 2)]
    assert [each.kind for each in groups[0].blocked] == ["different_shape"]


def test_a_sum_to_one_position_does_not_join() -> None:
    def run(p: Any, h: Any) -> Any:
        return {"a": h["a"] + jnp.sum(h["b"], keepdims=True), "b": h["b"] * 0.5}

    assert members(step(run, {}, {"a": array(1), "b": array(N)})) == [["a"], ["b"]]


def test_a_state_without_recurrence_is_a_group_with_zero_derivative() -> None:
    program = step(lambda p, h, x: {"a": x @ p["w"]}, W, states("a"), X)
    (group,) = brainir.find_hidden_groups(program)
    np.testing.assert_array_equal(diagonal_of_transition(program, group, *leaves(W, states("a"), X)), 0.0)


def test_list_indices_are_keys_like_any_other() -> None:
    program = step(lambda p, h: [h[0] + h[1], h[1] * 0.5], {}, [array(N), array(N, seed=1)])
    (group,) = brainir.find_hidden_groups(program)
    assert group.hidden_paths == ((0,), (1,))


def grouped(fn: Any, hidden: dict[str, Any], num_state: dict[str, int]) -> Program:
    """Lower a step and mark some of its hidden states as grouped."""
    program = step(fn, {}, hidden)
    changed = tuple(state.replace(num_state=num_state.get(str(state.path[0]), 1)) for state in program.interface.states)
    return program.replace(interface=program.interface.replace(states=changed))


def test_members_of_a_grouped_state_share_a_position() -> None:
    def run(p: Any, h: Any) -> Any:
        first, second = h["s"][:, 0], h["s"][:, 1]
        return {"s": jnp.stack([first + h["v"], second * first], axis=-1), "v": h["v"] + second}

    program = grouped(run, {"s": array(N, 2), "v": array(N, seed=1)}, {"s": 2})
    (group,) = brainir.find_hidden_groups(program)
    assert group.varshape == (N,)
    assert group.num_state == 3
    assert group.blocked == ()


MEMBERS = np.array([[0.9, 0.1, 0.0], [-0.2, 0.5, 0.3], [0.4, 0.0, -0.7]], np.float32)
COMBINED = {
    "product": lambda s: jnp.tanh(s @ MEMBERS),
    "product from the left": lambda s: (MEMBERS @ s.T).T,
    "product for each position": lambda s: jnp.einsum("kb,kab->ka", s, jnp.stack([MEMBERS, MEMBERS.T] * 2)),
    "sum": lambda s: 0.9 * s - 0.1 * jnp.sum(s, -1, keepdims=True),
    "norm": lambda s: s / (1.0 + jnp.sqrt(jnp.sum(s**2, -1, keepdims=True))),
    "largest": lambda s: s * jnp.max(s, -1, keepdims=True),
    "running sum": lambda s: 0.5 * jnp.cumsum(s, -1),
    "running sum backwards": lambda s: 0.5 * jax.lax.cumsum(s, 1, reverse=True),
    "sum of products with all": lambda s: jnp.sum(s[:, :, None] * MEMBERS, axis=1),
    "quadratic form": lambda s: s * jnp.einsum("ka,ab,kb->k", s, MEMBERS, s)[:, None],
}


@pytest.mark.parametrize("name", COMBINED)
def test_members_that_are_combined_at_their_position_stay_in_the_transition(name: str) -> None:
    value = array(4, 3)
    program = grouped(lambda p, h: {"s": COMBINED[name](h["s"])}, {"s": value}, {"s": 3})
    (group,) = brainir.find_hidden_groups(program)
    assert group.blocked == ()
    new = program.entry_function.outputs[0]
    dependence = brainir.position_dependence(program)
    assert dependence.of(new, ("s",)) == "elementwise"
    np.testing.assert_array_equal(dependence.index_map(new, ("s",)), np.repeat(np.arange(4), 3).reshape(4, 3))
    transition = brainir.to_callable(group.transition)
    further = values_of(program, [each.name for each in group.transition_invars[1:]], value)
    np.testing.assert_allclose(
        jax.jacobian(lambda s: transition(s, *further)[0])(value), jax.jacobian(COMBINED[name])(value), atol=1e-6
    )


@pytest.mark.parametrize(
    ("kind", "mix"),
    [
        ("contraction", lambda s: (s.T @ MEMBERS).T),
        ("reduction", lambda s: s - jnp.mean(s, 0)),
        ("reduction", lambda s: s - jnp.sum(s)),
        ("cumulative", lambda s: jnp.cumsum(s, 0)),
        ("contraction", lambda s: (s @ s.T) @ s),
    ],
)
def test_positions_of_a_grouped_state_that_are_combined_are_held(kind: str, mix: Any) -> None:
    program = grouped(lambda p, h: {"s": mix(h["s"])}, {"s": array(3, 3)}, {"s": 3})
    (group,) = brainir.find_hidden_groups(program)
    assert kind in {each.kind for each in group.blocked}


def test_what_is_repeated_and_combined_again_is_seen_element_by_element() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        return {"a": jnp.sum(h["a"][:, None] * x, axis=1), "b": jnp.outer(h["b"], x) @ x}

    hidden = states("a", "b")
    program = step(run, {}, hidden, X)
    assert all(not group.blocked for group in brainir.find_hidden_groups(program))
    check_transition(program, *leaves({}, hidden, X))


def test_alignment_of_grouped_states_comes_from_dependence_not_from_shapes() -> None:
    def run(p: Any, h: Any) -> Any:
        return {"s": 0.5 * h["s"] + h["v"][None, :], "v": h["v"] * 0.5}

    program = grouped(run, {"s": array(2, 2), "v": array(2, seed=1)}, {"s": 2})
    assert members(program) == [["s"], ["v"]]


def test_moved_edges_that_keep_their_place_are_left_out_of_the_transition() -> None:
    def run(p: Any, h: Any) -> Any:
        shifted = jnp.concatenate([h["a"][1:], h["a"][-1:]])
        return {"a": 0.5 * h["a"] + shifted}

    hidden = states("a")
    program = step(run, {}, hidden)
    (group,) = brainir.find_hidden_groups(program)
    np.testing.assert_allclose(diagonal_of_transition(program, group, *leaves({}, hidden)), 0.5)
    assert [each.kind for each in group.blocked] == ["moved"]


def test_facts_print_and_give_the_same_json_each_time() -> None:
    texts = set()
    for _ in range(2):
        (group,) = brainir.find_hidden_groups(step(DIAGONAL["swapped"], W, states("a", "b"), X))
        texts.add(group.to_json())
        assert "hidden group 0: 2 states" in repr(group)
    assert len(texts) == 1


def test_states_with_more_positions_than_memory_holds_are_refused() -> None:
    huge = jax.ShapeDtypeStruct((1 << 20, 1 << 20), jnp.float32)
    program = brainir.lower_step(lambda params, hidden, x: ({"h": jnp.tanh(hidden["h"])}, x), {}, {"h": huge}, 1.0)
    with pytest.raises(AnalysisError, match="a value has 1,099,511,627,776 elements"):
        brainir.find_hidden_groups(program)
    assert brainir.cost(program, traces=False).hidden_bytes == 1 << 42

"""Weights as modellers write them with ordinary operations: kind, operands, chain, and the parts against the step."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.analysis import HiddenParamOpRelation, relation_diagnostics
from tests.analysis_cases import N_IN, N, array, leaves, step, values_of
from tests.quick_compile import quick_options

X = array(N_IN, seed=6)
ROWS, COLUMNS = np.array([0, 1, 1, 3, 2]), np.array([0, 2, 1, 1, 0])
MASK = (np.arange(N_IN * N).reshape(N_IN, N) % 2).astype(np.float32)
W, E, Q = array(N_IN, N, seed=5), array(5, seed=2), array(N, seed=3)

# Parameters, hidden shape, drive, and for each relation: parameter, kind, whether it has x, operations in its chain.
Expected = list[tuple[str, str, bool, int]]
KINDS: dict[str, tuple[dict[str, Any], tuple[int, ...], Callable[[Any, Any], Any], Expected]] = {
    "dense": ({"w": W}, (N,), lambda p, x: x @ p["w"], [("w", "dense", True, 0)]),
    "dense, transposed": ({"w": W.T}, (N,), lambda p, x: p["w"] @ x, [("w", "dense", True, 0)]),
    "batched": ({"w": W}, (2, N), lambda p, x: jnp.stack([x, 2 * x]) @ p["w"], [("w", "dense", True, 0)]),
    "einsum": (
        {"w": array(N_IN, 2, N)},
        (2, N),
        lambda p, x: jnp.einsum("i,iab->ab", x, p["w"]),
        [("w", "einsum", True, 0)],
    ),
    "grouped": (
        {"w": array(2, N_IN, N)},
        (2, N),
        lambda p, x: jnp.einsum("gi,gio->go", jnp.stack([x, -x]), p["w"]),
        [("w", "grouped", True, 0)],
    ),
    "masked": ({"w": W}, (N,), lambda p, x: x @ (p["w"] * MASK), [("w", "dense", True, 1)]),
    "sign-constrained": ({"w": W}, (N,), lambda p, x: x @ jnp.abs(p["w"]), [("w", "dense", True, 1)]),
    "normalised": (
        {"w": W},
        (N,),
        lambda p, x: x @ (p["w"] / jnp.linalg.norm(p["w"], axis=0)),
        [("w", "dense", True, 4)],
    ),
    "shared in one step": (
        {"w": W},
        (N,),
        lambda p, x: x @ p["w"] + jnp.tanh(x[::-1]) @ p["w"],
        [("w", "dense", True, 0)] * 2,
    ),
    "sum of two": (
        {"v": W, "w": W},
        (N,),
        lambda p, x: x @ (p["v"] + p["w"]),
        [("v", "dense", True, 1), ("w", "dense", True, 1)],
    ),
    "elementwise": ({"q": Q}, (N,), lambda p, x: p["q"] * x[0], [("q", "elementwise", False, 0)]),
    "bias": ({"q": Q}, (N,), lambda p, x: p["q"] + x[0], [("q", "bias", False, 0)]),
    "embedding": (
        {"w": array(7, N)},
        (N,),
        lambda p, x: p["w"][jnp.int32(x[0] > 0)],
        [("w", "embedding", True, 0)],
    ),
    "sparse": (
        {"e": E},
        (N,),
        lambda p, x: jnp.zeros(N).at[ROWS].add(p["e"] * x[COLUMNS]),
        [("e", "sparse", True, 0)],
    ),
    "sparse with segments": (
        {"e": E},
        (N,),
        lambda p, x: jax.ops.segment_sum(jnp.abs(p["e"]) * x[COLUMNS], ROWS, N),
        [("e", "sparse", True, 1)],
    ),
    "events": (
        {"w": W},
        (N,),
        lambda p, x: jnp.sum(jnp.where((x > 0)[:, None], p["w"], 0.0), axis=0),
        [("w", "event", True, 0)],
    ),
    "sparse events": (
        {"e": E},
        (N,),
        lambda p, x: jnp.zeros(N).at[ROWS].add(jnp.where(x[COLUMNS] > 0, p["e"], 0.0)),
        [("e", "event", True, 0)],
    ),
    "written out": ({"w": W}, (N,), lambda p, x: jnp.sum(x[:, None] * p["w"], axis=0), [("w", "einsum", True, 0)]),
    "convolution": (
        {"w": array(2, 2, 3)},
        (3, 4),
        lambda p, x: jax.lax.conv_general_dilated(
            jnp.outer(jnp.arange(1.0, 3.0), jnp.tile(x, 2)[:4])[None], p["w"].transpose(2, 1, 0), (1,), "SAME"
        )[0],
        [("w", "conv", True, 1)],
    ),
    "convolution in groups": (
        {"w": array(2, 1, 3)},
        (2, 4),
        lambda p, x: jax.lax.conv_general_dilated(
            jnp.outer(jnp.arange(1.0, 3.0), jnp.tile(x, 2)[:4])[None], p["w"], (1,), "SAME", feature_group_count=2
        )[0],
        [("w", "conv", True, 0)],
    ),
    "low rank, two states": (
        {"a": array(N_IN, 2), "b": array(2, N)},
        (N,),
        lambda p, x: 0.5 * (x @ (p["a"] @ p["b"])),
        [("a", "dense", True, 1), ("b", "dense", True, 1)],
    ),
    "in two operations of a kind each": (
        {"q": Q},
        (N,),
        lambda p, x: p["q"] * x[0] + jnp.diag(p["q"]) @ jnp.tile(x, 2)[:N],
        [("q", "elementwise", False, 0), ("q", "dense", True, 2)],
    ),
    "a part of it": ({"w": W}, (N,), lambda p, x: x[:2] @ p["w"][1:], [("w", "dense", True, 1)]),
    "two of three gates": (
        {"w": array(N_IN, 2, N)},
        (N,),
        lambda p, x: jnp.split(jnp.einsum("i,igo->go", x, p["w"]), 2)[0][0],
        [("w", "einsum", True, 0)],
    ),
    "recomputed for the derivative": (
        {"w": W},
        (N,),
        lambda p, x: jax.checkpoint(lambda w: jnp.sin(x @ w))(p["w"]),
        [("w", "dense", True, 0)],
    ),
}


def lowered(name: str) -> tuple[brainir.Program, dict[str, Any], dict[str, Any]]:
    params, shape, drive, _ = KINDS[name]
    hidden = {"h": array(*shape, seed=1)}
    program = step(lambda p, h, x: {"h": 0.9 * h["h"] + jnp.tanh(drive(p, x))}, params, hidden, X)
    return program, params, hidden


def chain_length(relation: HiddenParamOpRelation) -> int:
    """Count the operations of a chain that compute something."""
    moves = ("broadcast_in_dim", "reshape", "convert_element_type")
    return sum(1 for leaf in relation.leaves for link in leaf.chain if not any(f" {op}[" in link for op in moves))


@pytest.mark.parametrize("name", KINDS)
def test_weight_is_found_with_its_kind_and_its_parts_are_those_of_the_step(name: str) -> None:
    """The parts compute the step; their gradients add up to its own; and theta moves the elements that they say."""
    program, params, hidden = lowered(name)
    relations = brainir.find_hidden_param_op_relations(program)
    found = [(each.path[0], each.kind, each.x is not None, chain_length(each)) for each in relations]
    assert found == KINDS[name][3]
    assert all(each.how == ((("h",), "direct"),) for each in relations)
    cotangent = array(*hidden["h"].shape, seed=8)

    @functools.partial(jax.jit, compiler_options=quick_options())
    def measured(p: Any, x: Any) -> Any:
        inputs = leaves(p, hidden, x)
        new, back = jax.vjp(lambda p: brainir.to_callable(program)(p, hidden, x)[0]["h"], p)
        by_parts = {key: jnp.zeros_like(value) for key, value in p.items()}
        steps, slopes = [], []
        for relation in relations:
            count = len(relation.leaves)
            operands = values_of(program, [value.name for value in relation.operation_invars], *inputs)
            further = values_of(program, [value.name for value in relation.y_to_hidden_invars], *inputs)

            run = brainir.to_callable(relation.operation)

            def operation(own: Any, run: Any = run, rest: Any = operands) -> Any:
                return run(*own, *rest[len(own) :])[0]

            y, to_leaves = jax.vjp(operation, operands[:count])
            tail = brainir.to_callable(relation.y_to_hidden)
            (after,), to_y = jax.vjp(lambda y, tail=tail, rest=further[1:]: tail(y, *rest), y)
            for leaf, gradient in zip(relation.leaves, to_leaves(to_y((cotangent,))[0])[0], strict=True):
                by_parts[leaf.value.name] += gradient
            steps.append((y, values_of(program, [relation.y.name], *inputs)[0], after))
            slopes.append(jax.jacrev(operation)(operands[:count]))
        whole = jax.jacrev(lambda p: brainir.to_callable(program)(p, hidden, x)[0]["h"])(p)
        return new, steps, by_parts, back(cotangent)[0], slopes, whole

    moved = {key: np.zeros((cotangent.size, value.size), bool) for key, value in params.items()}
    said = {key: np.zeros_like(mask) for key, mask in moved.items()}
    for seed in (6, 7, 8):
        p = {key: value + 0.1 * array(*value.shape, seed=seed) for key, value in params.items()}
        new, steps, by_parts, expected, slopes, whole = measured(p, array(N_IN, seed=seed))
        for y, in_step, after in steps:
            np.testing.assert_allclose(y, in_step, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(after, new, rtol=1e-5, atol=1e-6)
        for key, gradient in expected.items():
            np.testing.assert_allclose(by_parts[key], gradient, rtol=1e-4, atol=1e-6)
            moved[key] |= np.asarray(whole[key]).reshape(moved[key].shape) != 0
        for relation, jacobians in zip(relations, slopes, strict=True):
            (where,) = relation.index_maps(("h",)) or ()
            for leaf, jacobian in zip(relation.leaves, jacobians, strict=True):
                rows = np.asarray(jacobian).reshape(-1, p[leaf.value.name].size) != 0
                said[leaf.value.name] |= rows[where.reshape(-1)] & (where.reshape(-1) >= 0)[:, None]
    for key, mask in moved.items():
        np.testing.assert_array_equal(said[key], mask)


def test_recurrence_through_a_sparse_weight_is_a_weight_and_does_not_join() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        drive = jnp.zeros(N).at[ROWS].add(p["e"] * h["a"][COLUMNS])
        return {"a": 0.9 * h["a"] + x @ p["w"], "b": 0.5 * h["b"] + drive}

    hidden = {"a": array(N), "b": array(N, seed=1)}
    program = step(run, {"e": E, "w": W}, hidden, X)
    groups = brainir.find_hidden_groups(program)
    assert [group.hidden_paths for group in groups] == [(("a",),), (("b",),)]
    assert {each.kind for group in groups for each in group.blocked} == {"weight"}
    sparse, dense = brainir.find_hidden_param_op_relations(program)
    assert (sparse.kind, sparse.connected_hidden_paths) == ("sparse", (("b",),))
    assert (dense.kind, dense.connected_hidden_paths) == ("dense", (("a",),))


def test_a_sparse_layer_on_top_of_a_dense_one_is_another_weight() -> None:
    def run(p: Any, h: Any, x: Any) -> Any:
        inner = x @ p["w"]
        return {"h": 0.9 * h["h"] + jnp.zeros(N).at[ROWS].add(p["e"] * inner[COLUMNS])}

    program = step(run, {"e": E, "w": W}, {"h": array(N)}, X)
    (relation,) = brainir.find_hidden_param_op_relations(program)
    assert relation.path == ("e",)
    found = [each.name for each in relation_diagnostics(program)]
    assert found == ["only_through_another_weight"]

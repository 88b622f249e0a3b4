"""Versions of whole models: what is reported, how small the text diff is, and what it means for learning."""

import difflib
import functools
from collections.abc import Callable
from random import Random
from typing import Any

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import pytest

import brainir
from brainir.analysis.groups import group_members
from brainir.analysis.relations import connected_states
from brainir.ir.canonical import canonicalize
from brainir.ir.program import Program

from ..edits import insert, middle, with_function
from ..models import MODELS
from ..strategies import disguise

TEN = (
    "ALIF_STPExpCu_Dense", "LIF_ExpCo", "GifRef_ExpCu", "two_layer_LIF", "batched_LIF_ExpCu", "poisson_LIF_Delta",
    "LSTMCell", "GatedGRU", "LRU", "nested_inputs",
)  # fmt: skip


@functools.cache
def lowered(name: str) -> Program:
    case = MODELS[name]
    return brainir.lower_module(case.build(), *case.inputs(0))


@pytest.mark.parametrize("name", TEN)
def test_an_operation_inserted_in_the_middle_of_a_model_is_all_that_differs(name: str) -> None:
    old = lowered(name)
    function, place = middle(old)
    changed, value, users = insert(function, place, "sign")
    new = with_function(old, changed)
    brainir.verify(new)
    # Nothing may depend on the names and the order that the new version happens to have.
    found = brainir.diff(old, disguise(new, Random(0)))
    counted = [change for change in found.changes if change.counts]
    assert [change.node.split(" = ")[1] for change in counted if change.kind == "added"] == [f"sign {value}"]
    rewired = [change for change in counted if change.kind == "operand"]
    assert len(rewired) == len(counted) - 1
    assert {change.before for change in rewired} == {value}
    assert len({change.name for change in rewired}) == users

    bare = without_places(old)
    likened = brainir.relabel(canonicalize(new), like=bare)
    assert brainir.fingerprint(likened) == brainir.fingerprint(new)
    before, after = brainir.dumps(bare).splitlines(), brainir.dumps(likened).splitlines()
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    lines = sum(max(i2 - i1, j2 - j1) for tag, i1, i2, j1, j2 in matcher.get_opcodes() if tag != "equal")
    assert lines <= 2 + users


def without_places(program: Program) -> Program:
    functions = (
        each.replace(nodes=tuple(node.replace(scope="", source="") for node in each.nodes))
        for each in program.functions
    )
    return program.replace(functions=tuple(functions))


@pytest.mark.parametrize("name", TEN)
def test_groups_and_weights_are_those_of_the_analyses(name: str) -> None:
    program = lowered(name)
    assert group_members(program) == tuple(group.hidden_paths for group in brainir.find_hidden_groups(program))
    reached: dict[Any, set[Any]] = {}
    for relation in brainir.find_hidden_param_op_relations(program):
        reached.setdefault(relation.path, set()).update(relation.connected_hidden_paths)
    assert {path: set(hidden) for path, hidden in connected_states(program).items()} == reached


class Cell(brainstate.nn.Module):
    """Two leaky states with a unit, of which the second follows the first in a way that can be chosen."""

    def __init__(self, follow: Callable[[Any], Any], role: type = brainstate.HiddenState, unit: Any = u.mV) -> None:
        super().__init__()
        self.w = brainstate.ParamState(jnp.ones((3, 4)))
        self.v = brainstate.HiddenState(jnp.zeros(4) * unit)
        self.a = role(jnp.zeros(4) * unit)
        self.follow, self.unit = follow, unit

    def update(self, x: Any) -> Any:
        self.v.value = 0.5 * self.v.value + x @ self.w.value * self.unit
        self.a.value = 0.9 * self.a.value + self.follow(self.v.value)
        return self.a.value


def cell(*args: Any) -> Program:
    return brainir.lower_module(Cell(*args), jnp.ones(3))


def same(v: Any) -> Any:
    return v


def test_meaning_tells_that_groups_split_and_that_a_weight_lost_a_state() -> None:
    split = brainir.diff(cell(same), cell(lambda v: u.math.cumsum(v))).meaning
    assert [(each.kind, each.before, each.after) for each in split.groups] == [
        ("split", ((("v",), ("a",)),), ((("v",),), (("a",),)))
    ]
    assert split.weights == ()
    merged = brainir.diff(cell(lambda v: u.math.cumsum(v)), cell(same)).meaning
    assert [each.kind for each in merged.groups] == ["merged"]
    lost = brainir.diff(cell(same), cell(lambda v: jax.lax.stop_gradient(v))).meaning
    assert [(each.path, each.gained, each.lost) for each in lost.weights] == [(("w",), (), (("a",),))]
    assert all(each.learned_before and each.learned_after for each in lost.weights)
    assert "weight w: lost a" in str(brainir.diff(cell(same), cell(lambda v: jax.lax.stop_gradient(v))))


def test_meaning_tells_the_change_in_size() -> None:
    table = jnp.arange(4.0)
    costs = brainir.diff(cell(same), cell(lambda v: v * table)).meaning.costs
    assert {each.name: each.after - each.before for each in costs}["constant bytes"] == 16


def test_a_changed_role_and_a_changed_unit_are_told() -> None:
    role = brainir.diff(cell(same), cell(same, brainstate.ShortTermState))
    assert [(each.name, each.before, each.after) for each in role.of_kind("role")] == [("a", "hidden", "other")]
    assert role.meaning.groups[0].kind == "changed"
    unit = brainir.diff(cell(same), cell(same, brainstate.HiddenState, u.nA))
    assert {(each.name, each.before, each.after) for each in unit.of_kind("unit") if each.aspect == "unit"} == {
        ("v", "mV", "nA"), ("a", "mV", "nA"), ("result", "mV", "nA"),
    }  # fmt: skip
    assert not unit.of_kind("added", "removed", "operand", "attribute")


def test_models_that_share_nothing_are_compared_all_the_same() -> None:
    found = brainir.diff(lowered("GatedGRU"), lowered("LIF_ExpCu"))
    assert found
    assert found.of_kind("state")
    assert "meaning:" in str(found)

"""What tells two versions of a program apart, and writing one like the other."""

from __future__ import annotations

import difflib
import gc
import json
from collections.abc import Callable
from random import Random
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import brainir
from brainir.analysis import ProgramDiff
from brainir.ir.interface import Argument, Interface, State, Unit
from brainir.ir.node import Node, Traits
from brainir.ir.ops import Binary, Call, CustomJvp, Iota, Unary, UnaryAccuracy
from brainir.ir.program import Function, Program
from brainir.ir.trees import CustomTree, DataclassTree, LeafTree, SequenceTree

from .edits import delete, insert, random_edit, with_function
from .strategies import chain, constant, disguise, f32, program_of, programs

SEEDS = st.integers(0, 2**32)
KIND = f32((3,))


def unary(op: str, operand: str, result: str, scope: str = "") -> Node:
    return Unary(op=op, inputs=(operand,), outputs=(result,), types=(KIND,), scope=scope)


def binary(op: str, first: str, second: str, result: str) -> Node:
    return Binary(op=op, inputs=(first, second), outputs=(result,), types=(KIND,))


def program(*nodes: Node, outputs: tuple[str, ...], **changes: Any) -> Program:
    return program_of(Function(name="main", inputs=("x",), types=(KIND,), nodes=nodes, outputs=outputs, **changes))


def told(found: ProgramDiff) -> list[tuple[str, str, str, str, str]]:
    """Return the changes as kind, name, aspect, old and new value."""
    return [(each.kind, each.name, each.aspect, each.before, each.after) for each in found.changes]


def changed_lines(old: Program, new: Program) -> tuple[int, int]:
    """Return how many lines of the stored text go, and how many come."""
    matcher = difflib.SequenceMatcher(None, brainir.dumps(old).splitlines(), brainir.dumps(new).splitlines(), False)
    changes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    return sum(code[2] - code[1] for code in changes), sum(code[4] - code[3] for code in changes)


# Programs that mean the same


@given(programs(), SEEDS)
@settings(max_examples=40)
def test_names_orders_and_copies_make_no_difference(written: Program, seed: int) -> None:
    other = disguise(written, Random(seed))
    found = brainir.diff(written, other)
    assert not found, str(found)
    assert all(change.kind == "moved" for change in found.changes)


@given(programs(), SEEDS, st.integers(1, 3))
@settings(max_examples=120)
def test_diff_is_true_exactly_when_fingerprints_differ(written: Program, seed: int, edits: int) -> None:
    random, edited = Random(seed), written
    for _ in range(edits):
        edited = random_edit(edited, random)
    brainir.verify(edited)
    other = disguise(edited, random)
    differs = brainir.fingerprint(written) != brainir.fingerprint(edited)
    for found in (brainir.diff(written, other), brainir.diff(other, written)):
        assert bool(found) == differs, str(found)
        assert json.loads(found.to_json())["equal"] is not differs
        assert str(found)
        assert found.to_html()


@given(programs(), programs())
@settings(max_examples=40)
def test_relabel_keeps_the_meaning_whatever_it_is_likened_to(first: Program, second: Program) -> None:
    assert bool(brainir.diff(first, second)) == (brainir.fingerprint(first) != brainir.fingerprint(second))
    likened = brainir.relabel(second, like=first)
    brainir.verify(likened)
    assert brainir.fingerprint(likened) == brainir.fingerprint(second)


@given(programs(), SEEDS)
@settings(max_examples=60)
def test_relabel_undoes_a_renaming_of_everything(written: Program, seed: int) -> None:
    contents = [(each.type, each.digest()) for each in written.entry_function.constants]
    assume(len(set(contents)) == len(contents))
    other = brainir.relabel(disguise(written, Random(seed)), like=written)
    assert not brainir.diff(written, other)
    assert (other.entry, other.entry_function.inputs) == (written.entry, written.entry_function.inputs)
    assert other.entry_function.outputs == written.entry_function.outputs


def test_functions_that_are_written_twice_and_called_by_each_others_names_are_no_difference() -> None:
    def call(result: str, callee: str) -> Node:
        return Call(inputs=("x",), outputs=(result,), types=(KIND,), function=callee)

    def spiking(rule: str) -> Node:
        return CustomJvp(inputs=("x",), outputs=("y",), types=(KIND,), function="spike", jvp=rule)

    def function(name: str, nodes: tuple[Node, ...], result: str, inputs: tuple[str, ...] = ("x",)) -> Function:
        return Function(name=name, inputs=inputs, types=(KIND,) * len(inputs), nodes=nodes, outputs=(result,))

    def version(fire: str, other: str, *rules: str) -> Program:
        """Call two functions for nothing, in an order of their own; each rule differentiates with the first."""
        unused = tuple(unary("neg", "x", f"z{number}") for number in range(6))
        parts = (
            function("main", (call("a", "fire"), call("b", "other")), "x"),
            function(fire, (spiking(rules[-1]),), "y"),
            function(other, (*unused, call("c", fire)), "x"),
            function("spike", (unary("sign", "x", "y"),), "y"),
        )
        slopes = (
            UnaryAccuracy(op="logistic", inputs=("x",), outputs=("s",), types=(KIND,)),
            binary("mul", "s", "t", "d"),
        )
        written = [
            function(rule, (spiking(rules[0]), *slopes), "y", ("x", "t")).replace(outputs=("y", "d")) for rule in rules
        ]
        return program_of(*parts, *written)

    first, second = version("fire", "other", "rule"), version("other", "fire", "rule", "again")
    assert brainir.fingerprint(first) == brainir.fingerprint(second)
    assert not brainir.diff(first, second)


def test_the_same_program_has_no_differences() -> None:
    written = chain(20)
    found = brainir.diff(written, brainir.loads(brainir.dumps(written)))
    assert not found
    assert found.changes == ()
    assert str(found) == "no differences"


def test_dead_parts_that_only_look_alike_make_no_difference() -> None:
    def dead(*ops: str) -> Program:
        nodes = [unary("neg", "x", f"d{index}") for index in range(2)]
        nodes += [unary(op, f"d{index // 2}", f"e{index}") for index, op in enumerate(ops)]
        return program(*nodes, outputs=("x",))

    assert not brainir.diff(dead("abs", "sign", "floor", "ceil"), dead("ceil", "floor", "sign", "abs"))
    assert brainir.diff(dead("abs", "sign", "floor", "ceil"), dead("abs", "ceil", "floor", "sign"))


# One edit at a time

NODES = (
    unary("neg", "x", "a"),
    UnaryAccuracy(op="tanh", inputs=("a",), outputs=("b",), types=(KIND,)),
    binary("mul", "a", "b", "c"),
    binary("add", "c", "x", "d"),
)
OLD = program(*NODES, outputs=("d", "b"))


def test_an_inserted_node_and_the_rewired_uses_are_all_that_is_reported() -> None:
    new, value, users = insert(OLD.entry_function, 0, "sign")
    found = brainir.diff(OLD, with_function(OLD, new))
    assert (value, users) == ("a", 2)
    assert told(found) == [
        ("added", "inserted", "", "", ""),
        ("operand", "b", "operand 0", "a", "inserted"),
        ("operand", "c", "operand 0", "a", "inserted"),
    ]
    assert [change.node for change in found.of_kind("added")] == [f"inserted: {KIND} = sign a"]
    assert str(found).splitlines()[:3] == [
        "main: 1 node added, 2 operands rewired",
        "def main:",
        f"  + inserted: {KIND} = sign a",
    ]


def test_a_deleted_node_and_the_rewired_uses_are_all_that_is_reported() -> None:
    new = delete(OLD.entry_function, 1)
    assert new is not None
    assert told(brainir.diff(OLD, with_function(OLD, new))) == [
        ("removed", "b", "", "", ""),
        ("operand", "c", "operand 1", "b", "a"),
        ("operand", "output 1", "return", "b", "a"),
    ]


def test_two_edits_with_nodes_in_between_leave_those_matched() -> None:
    new = [
        unary("sign", "x", "s"),
        unary("neg", "s", "a"),
        NODES[1],
        NODES[2],
        unary("abs", "c", "t"),
        binary("add", "t", "x", "d"),
    ]
    found = brainir.diff(OLD, program(*new, outputs=("d", "b")))
    assert [(change.kind, change.name) for change in found.changes] == [
        ("added", "s"), ("operand", "a"), ("added", "t"), ("operand", "d"),
    ]  # fmt: skip


def test_an_operation_replaced_in_place_is_one_change() -> None:
    new = program(NODES[0], unary("sign", "a", "b"), *NODES[2:], outputs=("d", "b"))
    assert told(brainir.diff(OLD, new)) == [("operation", "b", "operation", "tanh", "sign")]


def test_a_changed_attribute_has_its_old_and_new_value() -> None:
    old, new = (brainir.lower(lambda x, axis=axis: jnp.cumsum(jnp.tanh(x), axis), jnp.ones((3, 3))) for axis in (0, 1))
    assert told(brainir.diff(old, new)) == [("attribute", "v0", "axis", "0", "1")]


def test_a_changed_constant_has_the_largest_difference() -> None:
    def build(values: list[float]) -> Program:
        return program(binary("mul", "x", "k", "y"), outputs=("y",), constants=(constant("k", np.float32(values)),))

    found = brainir.diff(build([1, 2, 3]), build([1, 2.5, 2]))
    assert told(found) == [("constant", "k", "values", "f32[3] 1.0 2.0 3.0", "f32[3] 1.0 2.5 2.0")]
    assert found.changes[0].max_abs_difference == 1
    assert "(max abs difference 1)" in str(found)


def test_a_changed_literal_is_a_changed_constant() -> None:
    old, new = (program(binary("mul", "x", number, "y"), outputs=("y",)) for number in ("0.5:f32", "-0.0:f32"))
    found = brainir.diff(old, new)
    assert told(found) == [("constant", "y", "operand 1", "0.5:f32", "-0.0:f32")]
    assert found.changes[0].max_abs_difference == 0.5


def test_all_constants_at_once_leave_the_nodes_matched() -> None:
    def build(seed: int) -> Program:
        weights = np.random.default_rng(seed).normal(size=(4, 3, 3)).astype(np.float32)

        def net(x: Any) -> Any:
            for weight in weights:
                x = jnp.tanh(weight @ x) + x
            return x

        return brainir.lower(net, jnp.ones(3))

    assert {change.kind for change in brainir.diff(build(0), build(1)).changes} == {"constant"}


def test_a_node_in_another_scope_is_reported_but_makes_no_difference() -> None:
    new = program(NODES[0].replace(scope="cell/gate"), *NODES[1:], outputs=("d", "b"))
    found = brainir.diff(OLD, new)
    assert not found
    assert told(found) == [("moved", "a", "scope", "(none)", "cell/gate")]
    assert "the programs mean the same" in str(found)


def test_a_node_that_went_to_another_function_moved() -> None:
    def in_call(x: Any) -> Any:
        return jnp.sin(x) + 1

    old = brainir.lower(lambda x: jax.jit(in_call)(jnp.cos(x)) * 2, jnp.ones(3))
    new = brainir.lower(lambda x: jax.jit(lambda x: in_call(jnp.cos(x)))(x) * 2, jnp.ones(3))
    moved = brainir.diff(old, new.replace(functions=tuple(map(_without_sources, new.functions)))).of_kind("moved")
    assert moved == ()
    old, new = (each.replace(functions=tuple(map(_without_sources, each.functions))) for each in (old, new))
    found = brainir.diff(old, new)
    assert found
    assert [(change.kind, change.aspect, change.before) for change in found.of_kind("moved")] == [
        ("moved", "function", old.entry)
    ]
    assert "= cos" in found.of_kind("moved")[0].node


def _without_sources(function: Function) -> Function:
    return function.replace(nodes=tuple(node.replace(source="") for node in function.nodes))


def test_swapped_models_differ_in_opposite_ways() -> None:
    other = program(unary("sign", "x", "p"), binary("sub", "p", "x", "q"), outputs=("q",))
    there, back = brainir.diff(OLD, other), brainir.diff(other, OLD)
    assert there
    assert back
    assert len(there.of_kind("added")) == len(back.of_kind("removed"))
    assert len(there.of_kind("removed")) == len(back.of_kind("added"))


def test_types_that_follow_from_others_are_counted_only() -> None:
    def net(x: Any) -> Any:
        return jnp.sin(jnp.cos(jnp.tanh(x)))

    found = brainir.diff(brainir.lower(net, jnp.ones(3)), brainir.lower(net, jnp.ones(4)))
    assert [(each.kind, each.follows) for each in found.changes if each.kind == "type"] == [("type", True)] * 3
    assert told(found)[0] == ("argument", "x", "type", "f32[3]", "f32[4]")
    assert "and, in 1 other function, 3 types that follow from others" in str(found)


def test_nodes_that_moved_to_one_scope_together_are_one_line() -> None:
    def net(scope: str) -> Any:
        def fn(x: Any) -> Any:
            with jax.named_scope(scope):
                y = jnp.tanh(x)
                with jax.named_scope("inner"):
                    y = y * 2
            return jnp.cos(y)

        return brainir.lower(fn, jnp.ones(3))

    found = brainir.diff(net("layer"), net("block/layer_1"))
    assert [(each.kind, each.before, each.after) for each in found.changes] == [
        ("moved", "layer", "block/layer_1"),
        ("moved", "layer/inner", "block/layer_1/inner"),
    ]
    assert "~ 2 nodes moved: layer -> block/layer_1" in str(found)


def test_order_of_effects_is_a_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Iota, "family_traits", Traits(effectful=True))
    first, second = (
        Iota(dtype="float32", shape=(3,), dimension=0, inputs=(), outputs=(name,), types=(KIND,), scope=name)
        for name in ("e", "f")
    )
    uses = (unary("neg", "e", "g"), unary("sign", "f", "h"))
    old, new = (program(*nodes, *uses, outputs=("g", "h")) for nodes in ((first, second), (second, first)))
    assert [change.kind for change in brainir.diff(old, new).changes] == ["order"]
    assert brainir.fingerprint(brainir.relabel(new, like=old)) == brainir.fingerprint(new)


def test_an_edit_in_a_scan_body_is_found_there() -> None:
    def net(x: Any, edited: bool) -> Any:
        def body(carry: Any, _: None) -> Any:
            new = jnp.tanh(carry) * 0.9
            return (jnp.sin(new) if edited else new), new

        return jax.lax.scan(body, x, None, length=5)

    old, new = (brainir.lower(lambda x, edited=edited: net(x, edited), jnp.ones(3)) for edited in (False, True))
    found = brainir.diff(old, new)
    assert {change.function for change in found.changes} == {"body"}
    assert [change.kind for change in found.changes] == ["added", "operand"]


def test_one_of_two_equal_functions_that_changes_is_compared_with_it() -> None:
    def net(second: Callable[[Any], Any]) -> Program:
        def cell(x: Any) -> Any:
            return jnp.tanh(x) * 0.5

        return brainir.lower(lambda x: jax.jit(second)(jax.jit(cell)(x)), jnp.ones(3))

    def cell(x: Any) -> Any:
        return jnp.tanh(x) * 0.5

    def other(x: Any) -> Any:
        return jnp.tanh(x) * 0.25

    found = brainir.diff(net(cell), net(other))
    assert [(each.kind, each.before, each.after) for each in found.changes if each.kind != "function"] == [
        ("constant", "0.5:f32", "0.25:f32")
    ]


# Interfaces

MILLIVOLT = Unit(text="mV", dimension=(2.0, 1.0, -3.0, -1.0, 0.0, 0.0, 0.0), scale=-3.0)
STATE = State(path=("v", 0), role="hidden", type="HiddenState", tree=LeafTree(unit="mV"))
BOX = DataclassTree(type="m:Box", fields=("a",), children=(LeafTree(),), static=(("n", 1),))
INTERFACE = Interface(
    kind="module",
    states=(STATE,),
    arguments=(Argument(name="x", tree=BOX),),
    result=SequenceTree(kind="tuple", children=(LeafTree(),)),
    units=(MILLIVOLT,),
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"states": (STATE.replace(role="other"),)}, ("role", "v.0", "role", "hidden", "other")),
        ({"states": (STATE.replace(path=("w", 0)),)}, ("state", "v.0", "path", "v.0", "w.0")),
        ({"states": (STATE.replace(type="State"),)}, ("state", "v.0", "state class", "HiddenState", "State")),
        ({"states": (STATE.replace(num_state=3),)}, ("state", "v.0", "num_state", "1", "3")),
        ({"states": (STATE.replace(tree=LeafTree()),)}, ("unit", "v.0", "unit", "mV", "none")),
        ({"arguments": (Argument(name="y", tree=BOX),)}, ("argument", "x", "name", "x", "y")),
        (
            {"arguments": (Argument(name="x", tree=BOX.replace(static=(("n", True),))),)},
            ("argument", "x", "structure", "m:Box(a: *, n=1)", "m:Box(a: *, n=True)"),
        ),
        (
            {"result": CustomTree(type="m:Bag", keys=("w",), children=(LeafTree(),), origin=2)},
            ("result", "result", "structure", "(*,)", "m:Bag#2(w: *)"),
        ),
        ({"result": LeafTree()}, ("result", "result", "structure", "(*,)", "*")),
        ({"units": (MILLIVOLT.replace(scale=-6.0),)}, ("unit", "mV", "definition")),
        ({"units": (MILLIVOLT.replace(dimension=(-0.0,) * 7),)}, ("unit", "mV", "definition")),
        ({"unused": (("w",),)}, ("interface", "interface", "unused states", "none", "w")),
        ({"params": LeafTree()}, ("interface", "interface", "structure of params", "None", "*")),
        ({"kind": "step"}, ("interface", "interface", "calling convention", "module", "step")),
    ],
    ids=lambda value: repr(value)[:40],
)
def test_a_change_of_the_interface_is_told(changes: dict[str, object], expected: tuple[str, ...]) -> None:
    entry = Function(name="main", inputs=("x", "y"), types=(KIND, KIND), outputs=("x", "y"))
    old, new = (
        program_of(entry).replace(interface=interface) for interface in (INTERFACE, INTERFACE.replace(**changes))
    )
    (found,) = told(brainir.diff(old, new))
    assert found[: len(expected)] == expected


def test_states_and_arguments_that_come_and_go_are_told() -> None:
    def step(params: Any, hidden: Any, *inputs: Any) -> Any:
        return {name: value * 0.5 for name, value in hidden.items()}, sum(inputs)

    x = jnp.ones(3)
    old = brainir.lower_step(step, {}, {"a": x, "b": jnp.ones(2)}, x)
    new = brainir.lower_step(step, {}, {"a": x}, x, x)
    found = told(brainir.diff(old, new))
    assert ("state", "b", "removed", "hidden f32[2]", "") in found
    assert any(each[0] == "argument" and each[2] == "added" for each in found)
    assert not any(each[0] in ("added", "removed") and each[1] == "a_new" for each in found)


# Relabelling


def test_relabel_keeps_names_of_matched_nodes_and_the_order_of_independent_ones() -> None:
    new, _, users = insert(OLD.entry_function, 0, "sign")
    other = disguise(with_function(OLD, new), Random(3))
    gone, came = changed_lines(OLD, brainir.relabel(other, like=OLD).replace(metadata=()))
    named = brainir.relabel(other, like=OLD).entry_function
    assert [node.outputs[0] for node in named.nodes if node.op != "sign"] == ["a", "b", "c", "d"]
    assert (gone, came) == (
        len(OLD.entry_function.nodes),
        len(OLD.entry_function.nodes) + 1,
    )  # Scopes are the new ones.
    assert users == 2


def test_relabel_keeps_old_line_numbers_where_only_those_moved() -> None:
    def at(line: int, file: str = "m.py") -> Program:
        return program(unary("neg", "x", f"n{line}").replace(source=f"{file}:{line} (f)"), outputs=(f"n{line}",))

    assert brainir.relabel(at(5), like=at(3)) == at(3)
    assert brainir.relabel(at(5), like=at(3), lines="new").entry_function.nodes[0].source == "m.py:5 (f)"
    assert brainir.relabel(at(5, "other.py"), like=at(3)).entry_function.nodes[0].source == "other.py:5 (f)"


def test_a_new_value_does_not_take_the_name_of_another_old_one() -> None:
    old = program(unary("neg", "x", "v0"), unary("abs", "v0", "v1"), outputs=("v1",))
    new = program(unary("sign", "x", "v0"), unary("neg", "v0", "v1"), unary("abs", "v1", "v2"), outputs=("v2",))
    assert [node.outputs[0] for node in brainir.relabel(new, like=old).entry_function.nodes] == ["v2", "v0", "v1"]


# Large and uniform programs


def test_thousands_of_equal_nodes_are_matched_in_order() -> None:
    def wide(count: int, live: bool) -> Program:
        nodes = tuple(unary("neg", "x", f"n{index}") for index in range(count))
        return program(*nodes, outputs=tuple(f"n{index}" for index in range(count)) if live else ("x",))

    for live in (False, True):
        found = brainir.diff(wide(3000, live), wide(3001, live))
        assert len(found.of_kind("added")) == 1
        assert not found.of_kind("removed", "operand")


def test_a_long_chain_of_equal_nodes_grows_by_one() -> None:
    def long(count: int) -> Program:
        nodes = tuple(unary("neg", f"n{index}" if index else "x", f"n{index + 1}") for index in range(count))
        return program(*nodes, outputs=(f"n{count}",))

    found = brainir.diff(long(3000), long(3001))
    assert sorted(change.kind for change in found.changes) == ["added", "operand"]


def test_a_diff_leaves_no_garbage() -> None:
    # The garbage collector rests meanwhile, and what only it could free would stay.
    nodes = unary("sign", "x", "a"), unary("neg", "a", "b"), unary("ceil", "b", "c")
    old, new = program(*nodes, outputs=("c",)), program(nodes[0], unary("neg", "x", "b"), nodes[2], outputs=("c",))
    brainir.diff(old, new)
    while gc.collect():  # what earlier tests left can leave more when it goes
        pass
    gc.disable()
    try:
        found = brainir.diff(old, new)
        assert gc.collect() == 0
    finally:
        gc.enable()
    assert found.changes


def test_records_among_attributes_are_shown_by_the_fields_that_are_given() -> None:
    def saving(policy: str) -> Program:
        kept = getattr(jax.checkpoint_policies, policy)
        return brainir.lower(lambda x: jax.checkpoint(jnp.sin, policy=kept)(x), jnp.ones(3))

    (change,) = brainir.diff(saving("dots_saveable"), saving("everything_saveable")).changes
    shown = change.aspect, change.before, change.after
    assert shown == ("policy", "{name=dots_saveable}", "{name=everything_saveable}")

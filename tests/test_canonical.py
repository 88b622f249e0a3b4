"""The canonical form ignores how a program is written down, and nothing else."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainir.ir.canonical import canonicalize, fingerprint, structural_key
from brainir.ir.constant import Constant
from brainir.ir.files import load, save
from brainir.ir.interface import Argument, Interface, State, Unit
from brainir.ir.node import Node, Traits
from brainir.ir.ops import SCHEMAS, Binary, Call, Iota, Reduce, Unary, UnaryAccuracy
from brainir.ir.program import Function, Program
from brainir.ir.serialization import dumps
from brainir.ir.sharing import share_equal_functions
from brainir.ir.trees import LeafTree, SequenceTree
from brainir.ir.verifier import verify

from .strategies import (
    attribute_values,
    chain,
    constant,
    disguise,
    f32,
    program_of,
    programs,
    random_order,
    spike,
)

KIND = f32((3,))
SEEDS = st.integers(0, 2**32)


def neg(operand: str, result: str) -> Node:
    return Unary(op="neg", inputs=(operand,), outputs=(result,), types=(KIND,))


def add(first: str, second: str, result: str) -> Node:
    return Binary(op="add", inputs=(first, second), outputs=(result,), types=(KIND,))


def function(*nodes: Node, outputs: tuple[str, ...], name: str = "main", **changes: object) -> Function:
    return Function(name=name, inputs=("x",), types=(KIND,), outputs=outputs, nodes=nodes, **changes)


def program(*nodes: Node, outputs: tuple[str, ...], **changes: object) -> Program:
    return program_of(function(*nodes, outputs=outputs, **changes))


# What does not count


@given(programs(), SEEDS)
def test_names_orders_copies_and_notes_do_not_count(written: Program, seed: int) -> None:
    other = disguise(written, Random(seed))
    verify(other)
    assert dumps(canonicalize(other)) == dumps(canonicalize(written))
    assert fingerprint(other) == fingerprint(written)


@given(programs())
def test_canonical_form_is_valid_and_its_own_canonical_form(written: Program) -> None:
    canonical = canonicalize(written)
    verify(canonical)
    assert dumps(canonicalize(canonical)) == dumps(canonical)
    assert fingerprint(canonical) == fingerprint(written)


def test_canonical_names_follow_use() -> None:
    table = constant("t", np.zeros(3, np.float32))
    other = constant("u", np.ones(3, np.float32))
    nodes = (neg("u", "late"), add("late", "t", "later"), neg("later", "dead"))
    canonical = canonicalize(program(*nodes, outputs=("later",), constants=(table, other)))
    assert [f.name for f in canonical.functions] == ["f0"]
    assert [node.inputs for node in canonical.entry_function.nodes] == [("c0",), ("v0", "c1"), ("v1",)]
    assert [c.digest() for c in canonical.entry_function.constants] == [other.digest(), table.digest()]
    assert canonical.entry_function.inputs == ("x0",)
    assert canonical.entry_function.outputs == ("v1",)


def test_equal_constants_of_one_type_are_merged() -> None:
    zeros, ones = np.zeros(3, np.float32), np.ones(3, np.float32)
    constants = (constant("a", zeros), constant("b", zeros), constant("c", ones), constant("d", zeros))
    canonical = canonicalize(program(add("a", "b", "y"), outputs=("y",), constants=constants))
    assert [c.array().tolist() for c in canonical.entry_function.constants] == [[0.0] * 3, [1.0] * 3]
    assert canonical.entry_function.nodes[0].inputs == ("c0", "c0")


def test_equal_bytes_of_another_type_are_not_merged() -> None:
    constants = (constant("a", np.zeros(3, np.float32)), constant("b", np.zeros(3, np.int32)))
    assert len(canonicalize(program(outputs=("x",), constants=constants)).entry_function.constants) == 2


def calls(*names: str) -> Function:
    values = [f"y{k}" for k in range(len(names))]
    nodes = tuple(
        Call(function=name, inputs=("x",), outputs=(value,), types=(KIND,))
        for name, value in zip(names, values, strict=True)
    )
    return function(*nodes, outputs=tuple(values))


def test_equal_functions_are_stored_once_also_when_only_their_callees_have_other_names() -> None:
    inner = [function(neg("x", "y"), outputs=("y",), name=name) for name in ("h", "k")]
    outer = [
        function(Call(function=callee, inputs=("x",), outputs=("z",), types=(KIND,)), outputs=("z",), name=name)
        for name, callee in (("f", "h"), ("g", "k"))
    ]
    copied = program_of(calls("f", "g"), *outer, *inner)
    shared = program_of(calls("f", "f"), outer[0], inner[0])
    assert canonicalize(copied) == canonicalize(shared)
    assert [f.name for f in canonicalize(copied).functions] == ["f0", "f1", "f2"]


def shared_names(*functions: Function) -> list[str]:
    """Return the names of the functions that are left when those equal to others are gone; the first is the entry."""
    table = {each.name: each for each in functions}
    return [each.name for each in share_equal_functions(table, functions[0].name)]


def test_functions_are_shared_whether_they_are_written_alike_or_not() -> None:
    first, alike = (function(neg("x", "y"), outputs=("y",), name=name) for name in ("h", "k"))
    assert shared_names(calls("h", "k"), first, alike) == ["main", "h"]
    assert shared_names(calls("h", "k"), first, function(neg("x", "z"), outputs=("z",), name="k")) == ["main", "h"]


def test_functions_that_are_written_alike_but_for_a_hash_or_what_they_call_are_not_shared() -> None:
    left_out = (Constant(name="c", type=f32((3,)), sha256=letter * 64) for letter in "ab")
    hashes = (
        function(neg("c", "y"), outputs=("y",), name=name, constants=(each,))
        for name, each in zip("hk", left_out, strict=True)
    )
    assert shared_names(calls("h", "k"), *hashes) == ["main", "h", "k"]
    inner = (
        function(neg("x", "y"), neg(operand, "z"), outputs=("z",), name=name)
        for name, operand in (("p", "y"), ("q", "x"))
    )
    outer = (calls(callee).named(name) for name, callee in (("h", "p"), ("k", "q")))
    assert shared_names(calls("h", "k"), *outer, *inner) == ["main", "h", "p", "k", "q"]


def with_rules(*rules: tuple[str, str], start: str) -> Program:
    """Make a program whose surrogate rules refer to each other, each pair a rule and the one in its body."""
    heaviside, surrogate, node = spike("spike", "")
    table = [
        surrogate.replace(name=name, nodes=(surrogate.nodes[0].with_callees({"": following}), *surrogate.nodes[1:]))
        for name, following in rules
    ]
    return program_of(function(node.with_callees({"": start}), outputs=("z",)), heaviside, *table)


def test_a_rule_that_leads_back_to_itself_is_equal_to_its_unrolled_copies() -> None:
    plain = with_rules(("r", "r"), start="r")
    for copies in (
        with_rules(("r", "s"), ("s", "r"), start="s"),
        with_rules(("a", "b"), ("b", "c"), ("c", "b"), start="a"),
        with_rules(("q", "r"), ("r", "r"), start="q"),
    ):
        verify(copies)
        assert canonicalize(copies) == canonicalize(plain)


def test_rules_that_differ_far_along_a_cycle_are_told_apart() -> None:
    def cycle(length: int) -> Program:
        names = [f"r{k}" for k in range(length)]
        rules = with_rules(*zip(names, [*names[1:], names[0]], strict=True), start="r0")
        odd = rules.functions[-1]
        last = odd.nodes[1].replace(op="tanh")
        return rules.replace(functions=(*rules.functions[:-1], odd.replace(nodes=(odd.nodes[0], last, odd.nodes[2]))))

    cycles = [cycle(length) for length in range(1, 7)]
    for length, written in enumerate(cycles, start=1):
        assert len(canonicalize(written).functions) == length + 2
        assert fingerprint(disguise(written, Random(length))) == fingerprint(written)
    assert len({fingerprint(written) for written in cycles}) == len(cycles)


def test_fingerprint_is_the_same_whether_large_constants_were_loaded_or_not(tmp_path: Path) -> None:
    weights = Constant(name="w", type="f32[32768]", data=bytes(4 * 32768))
    written = program(outputs=("w",), constants=(weights,))
    save(written, tmp_path / "model.json")
    light = load(tmp_path / "model.json", constants=False)
    assert light.entry_function.constants[0].data is None
    assert fingerprint(light) == fingerprint(written)


def test_fingerprint_and_text_are_the_same_in_every_process(tmp_path: Path) -> None:
    rules = with_rules(("a", "b"), ("b", "a"), start="a")
    iota = Iota(inputs=(), outputs=("i",), types=("i32[3]",), dtype="int32", shape=(3,), dimension=0)
    dead = program(neg("x", "a"), neg("a", "b"), add("x", "a", "c"), iota, outputs=("a",))
    for number, written in enumerate((rules, dead, chain(50))):
        save(written, tmp_path / f"{number}.json")
    code = (
        "import sys; from brainir.ir.canonical import *; from brainir.ir.files import load\n"
        "from brainir.ir.serialization import dumps\n"
        "for path in sys.argv[1:]:\n"
        "    written = load(path)\n"
        "    print(fingerprint(written), dumps(canonicalize(written)), dumps(written))"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code, *sorted(map(str, tmp_path.glob("*.json")))],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(outputs) == 1
    assert fingerprint(rules) in outputs.pop()


# Which node feeds which


def isomorphic(first: Function, second: Function) -> bool:
    """Try all ways to match the nodes of two functions of one input and no constants."""
    if len(first.nodes) != len(second.nodes):
        return False
    for order in itertools.permutations(second.nodes):
        names = {"x": "x"}
        for node, other in zip(first.nodes, order, strict=True):
            names[node.outputs[0]] = other.outputs[0]
        pairs = zip(first.nodes, order, strict=True)
        if tuple(names[name] for name in first.outputs) == second.outputs and all(
            node.op == other.op and tuple(names[name] for name in node.inputs) == other.inputs for node, other in pairs
        ):
            return True
    return False


def small_function(random: Random) -> Function:
    values, nodes = ["x"], []
    for number in range(random.choice((3, 3, 4, 5))):
        operands = random.choices(values, k=random.choice((1, 2, 2)))
        node = neg if len(operands) == 1 else add
        nodes.append(node(*operands, f"v{number}"))
        values.append(f"v{number}")
    return function(*random_order(nodes, random), outputs=(random.choice(values[:3]),))


@pytest.mark.parametrize("seed", range(4))
def test_keys_are_equal_exactly_for_isomorphic_functions(seed: int) -> None:
    random = Random(seed)
    drawn = [small_function(random) for _ in range(120)]
    drawn += [body.replace(nodes=tuple(random_order(body.nodes, random))) for body in drawn[:60]]
    keys = [structural_key(body, {}) for body in drawn]
    profiles = [sorted(node.op for node in body.nodes) for body in drawn]
    equal = 0
    for (k, first), (m, second) in itertools.combinations(enumerate(drawn), 2):
        if profiles[k] == profiles[m]:
            same = isomorphic(first, second)
            assert (keys[k] == keys[m]) == same, f"{first}\n{second}"
            equal += same
    assert equal > 50


def test_a_shared_operand_differs_from_two_equal_operands() -> None:
    nodes = (neg("x", "a"), neg("x", "b"))
    apart = program(*nodes, add("a", "b", "c"), outputs=("c",))
    shared = program(*nodes, add("a", "a", "c"), outputs=("c",))
    assert fingerprint(apart) != fingerprint(shared)


def test_sharing_counts_among_dead_nodes_in_every_order() -> None:
    sources = [neg("x", name) for name in "abcdef"]

    def edges(*pairs: str) -> list[Node]:
        return [add(*pair, f"e{pair}") for pair in pairs]

    hexagon = sources + edges("ab", "bc", "cd", "de", "ef", "fa")
    triangles = sources + edges("ab", "bc", "ca", "de", "ef", "fd")
    path = sources + edges("ab", "bc", "cd", "de", "ef", "af")
    random = Random(5)
    keys = [
        {structural_key(function(*random_order(nodes, random), outputs=("x",)), {}) for _ in range(30)}
        for nodes in (hexagon, triangles, path)
    ]
    assert [len(found) for found in keys] == [1, 1, 1]
    assert len(set.union(*keys)) == 3


def test_dead_nodes_count() -> None:
    plain = program(neg("x", "y"), outputs=("y",))
    dead = program(neg("x", "y"), neg("x", "z"), outputs=("y",))
    assert fingerprint(plain) != fingerprint(dead)


def test_unused_constants_count() -> None:
    unused = tuple(constant("c", np.array(value)) for value in (0, 1))
    found = {fingerprint(program(outputs=("x",), constants=chosen)) for chosen in ((), unused[:1], unused[1:])}
    assert len(found) == 3


def test_functions_that_nothing_refers_to_count_in_any_order() -> None:
    entry = function(outputs=("x",))
    others = [function(node("x", "y"), outputs=("y",), name=name) for name, node in (("a", neg), ("b", tanh))]
    found = {fingerprint(program_of(entry, *table)) for table in itertools.permutations(others)}
    assert len(found) == 1
    assert fingerprint(program_of(entry, others[0])) not in found


def tanh(operand: str, result: str) -> Node:
    return UnaryAccuracy(op="tanh", inputs=(operand,), outputs=(result,), types=(KIND,))


def test_thousands_of_equal_dead_nodes_take_one_order() -> None:
    nodes = [neg("x", "a"), *(neg("a", f"d{k}") for k in range(3000))]
    first = program(*nodes, outputs=("x",))
    second = program(nodes[0], *reversed(nodes[1:]), outputs=("x",))
    assert fingerprint(first) == fingerprint(second)


def test_order_of_effects_counts_but_not_that_of_other_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Unary, "op_traits", {**Unary.op_traits, "copy": Traits(effectful=True)})

    def effect(operand: str, result: str) -> Node:
        return Unary(op="copy", inputs=(operand,), outputs=(result,), types=(KIND,))

    first, second = effect("x", "a"), effect("n", "b")
    base = fingerprint(program(neg("x", "n"), first, second, tanh("x", "t"), outputs=("b", "a", "t")))
    assert base == fingerprint(program(tanh("x", "t"), first, neg("x", "n"), second, outputs=("b", "a", "t")))
    assert base != fingerprint(program(neg("x", "n"), second, first, tanh("x", "t"), outputs=("b", "a", "t")))
    canonical = canonicalize(program(neg("x", "n"), first, second, outputs=("b", "a")))
    assert [node.inputs for node in canonical.entry_function.nodes if node.op == "copy"] == [("x0",), ("v1",)]


def test_order_of_calls_with_effects_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def call(name: str, result: str) -> Node:
        return Call(function=name, inputs=("x",), outputs=(result,), types=(KIND,))

    effect = Unary(op="copy", inputs=("x",), outputs=("y",), types=(KIND,))
    bodies = (
        function(effect, neg("x", "n"), outputs=("n",), name="f"),
        function(effect, outputs=("y",), name="g"),
    )
    orders = [
        program_of(function(*nodes, outputs=("a", "b")), *bodies)
        for nodes in itertools.permutations((call("f", "a"), call("g", "b")))
    ]
    assert len(set(map(fingerprint, orders))) == 1
    monkeypatch.setattr(Unary, "op_traits", {**Unary.op_traits, "copy": Traits(effectful=True)})
    assert len(set(map(fingerprint, orders))) == 2


# What counts


ATTRIBUTES = [
    pytest.param(schema, name, id=f"{schema.__name__}-{name}")
    for schema in SCHEMAS
    for name in schema.attribute_names()
]


@pytest.mark.parametrize(("schema", "name"), ATTRIBUTES)
@settings(max_examples=10)
@given(data=st.data())
def test_every_attribute_of_every_operation_counts(schema: type[Node], name: str, data: st.DataObject) -> None:
    op = data.draw(st.sampled_from(schema.ops()))
    fields = schema.model_fields
    attributes = {
        attribute: data.draw(attribute_values(fields[attribute].annotation)) for attribute in schema.attribute_names()
    }
    node = schema(op=op, inputs=("x",), outputs=("y",), types=(KIND,), **attributes)
    other = node.replace(
        **{name: data.draw(attribute_values(fields[name].annotation).filter(lambda value: value != attributes[name]))}
    )
    keys = {callee: repr(callee) for one in (node, other) for callee in one.callees()}
    for outputs in (("y",), ("x",)):
        first, second = (structural_key(function(one, outputs=outputs), keys) for one in (node, other))
        assert first != second


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
@settings(max_examples=5)
@given(data=st.data())
def test_every_operation_of_a_family_has_its_own_key(schema: type[Node], data: st.DataObject) -> None:
    attributes = {
        name: data.draw(attribute_values(schema.model_fields[name].annotation)) for name in schema.attribute_names()
    }
    nodes = [schema(op=op, inputs=("x",), outputs=("y",), types=(KIND,), **attributes) for op in schema.ops()]
    keys = {callee: "" for node in nodes for callee in node.callees()}
    assert len({structural_key(function(node, outputs=("y",)), keys) for node in nodes}) == len(nodes)


@pytest.mark.parametrize(
    "literals",
    [
        ("0.0:f32", "-0.0:f32", "0.0:~f32", "0.0:f64", "0:i32"),
        ("0x7fc00000:f32", "0x7fc00001:f32", "0xffc00000:f32"),
        ("1:i32", "1.0:f32", "true:bool"),
    ],
)
def test_every_bit_and_the_type_of_a_literal_count(literals: tuple[str, ...]) -> None:
    found = {fingerprint(program(add("x", literal, "y"), outputs=("y",))) for literal in literals}
    found |= {fingerprint(program(outputs=(literal,))) for literal in literals}
    assert len(found) == 2 * len(literals)


@given(st.integers(0, 8 * 12 - 1))
def test_every_bit_of_a_constant_counts(bit: int) -> None:
    data = bytearray(12)
    data[bit // 8] ^= 1 << (bit % 8)
    changed = Constant(name="c", type=KIND, data=bytes(data))
    for outputs in (("c",), ("x",)):
        plain = program(outputs=outputs, constants=(Constant(name="c", type=KIND, data=bytes(12)),))
        assert fingerprint(plain) != fingerprint(program(outputs=outputs, constants=(changed,)))


def test_every_edge_counts() -> None:
    nodes = [tanh("x", "a"), neg("a", "b"), add("a", "b", "c"), add("c", "x", "d"), neg("b", "dead")]
    written = [program(*nodes, outputs=("d", "c"))]
    defined = ["x"]
    for index, node in enumerate(nodes):
        for position, operand in enumerate(node.inputs):
            for other in defined:
                if other != operand:
                    inputs = (*node.inputs[:position], other, *node.inputs[position + 1 :])
                    changed = [*nodes[:index], node.replace(inputs=inputs), *nodes[index + 1 :]]
                    written.append(program(*changed, outputs=("d", "c")))
        defined.append(node.outputs[0])
    outputs = [pair for pair in itertools.product(defined, repeat=2) if pair != ("d", "c")]
    written += [program(*nodes, outputs=pair) for pair in outputs]
    assert len(set(map(fingerprint, written))) == len(written)


def test_types_of_inputs_constants_and_results_count() -> None:
    def build(given: str, stored: str, result: str) -> Program:
        c = Constant(name="c", type=stored, data=bytes(12))
        node = Reduce(op="reduce_sum", axes=(), inputs=("x",), outputs=("y",), types=(result,))
        body = Function(name="main", inputs=("x",), types=(given,), constants=(c,), nodes=(node,), outputs=("y",))
        return program_of(body)

    kinds = ("f32[3]", "~f32[3]", "i32[3]", "f32[3,1]")
    base = ("f32[3]", "f32[3]", "f32[3]")
    variants = {(*base[:k], kind, *base[k + 1 :]) for k in range(3) for kind in kinds}
    assert len({fingerprint(build(*variant)) for variant in variants}) == len(variants) == 10


def test_which_function_is_called_counts() -> None:
    bodies = (
        function(neg("x", "y"), outputs=("y",), name="f"),
        function(tanh("x", "y"), outputs=("y",), name="g"),
    )
    pairs = itertools.product(("f", "g"), repeat=2)
    found = {fingerprint(program_of(calls(*pair), *(body for body in bodies if body.name in pair))) for pair in pairs}
    assert len(found) == 4


MILLIVOLT = Unit(text="mV", dimension=(2.0, 1.0, -3.0, -1.0, 0.0, 0.0, 0.0), scale=-3.0)
STATE = State(path=("v", 0), role="hidden", type="HiddenState", tree=LeafTree(unit="mV"))
INTERFACE = Interface(
    kind="module",
    states=(STATE,),
    arguments=(Argument(name="x", tree=LeafTree()),),
    result=SequenceTree(kind="tuple", children=(LeafTree(),)),
    units=(MILLIVOLT,),
)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "step"},
        {"states": (STATE.replace(path=("v", "0")),)},
        {"states": (STATE.replace(path=("w", 0)),)},
        {"states": (STATE.replace(role="other"),)},
        {"states": (STATE.replace(type="State"),)},
        {"states": (STATE.replace(returned=False),)},
        {"states": (STATE.replace(num_state=2),)},
        {"states": (STATE.replace(reachable=False),)},
        {"states": (STATE.replace(tree=LeafTree()),)},
        {"arguments": (Argument(name="y", tree=LeafTree()),)},
        {"arguments": (Argument(name="x", tree=LeafTree(), keyword=True),)},
        {"arguments": (Argument(name="x", tree=LeafTree(unit="mV")),)},
        {"result": SequenceTree(kind="list", children=(LeafTree(),))},
        {"units": (MILLIVOLT.replace(scale=-6.0),)},
        {"units": (MILLIVOLT.replace(scale=0.0),)},
        {"units": (MILLIVOLT.replace(scale=-0.0),)},
        {"units": (MILLIVOLT.replace(factor=2.0),)},
        {"units": (MILLIVOLT.replace(base=2.0),)},
        {"units": (MILLIVOLT.replace(dimension=(0.0,) * 7),)},
        {"units": (MILLIVOLT.replace(dimension=(-0.0,) * 7),)},
        {"unused": (("w",),)},
        {"params": LeafTree()},
        {"hidden": LeafTree()},
    ],
    ids=repr,
)
def test_every_detail_of_the_interface_counts(changes: dict[str, object]) -> None:
    seen = OTHER_INTERFACES.setdefault(fingerprint_with(INTERFACE.replace(**changes)), changes)
    assert seen is changes
    assert fingerprint_with(INTERFACE) not in OTHER_INTERFACES


OTHER_INTERFACES: dict[str, dict[str, object]] = {}


def fingerprint_with(interface: Interface) -> str:
    return fingerprint(program(outputs=("x",)).replace(interface=interface))


# Keys of single functions


def test_structural_key_ignores_names_scopes_and_lines_but_not_callees() -> None:
    body = calls("f", "g")
    noted = body.replace(name="other", nodes=tuple(node.replace(scope="a/b", source="m.py:1") for node in body.nodes))
    key = structural_key(body, {"f": "1", "g": "2"})
    assert structural_key(noted, {"f": "1", "g": "2"}) == key
    assert structural_key(noted.replace(nodes=noted.nodes[::-1]), {"f": "1", "g": "2"}) == key
    assert structural_key(calls("g", "f"), {"f": "2", "g": "1"}) == key
    assert structural_key(body, {"f": "1", "g": "1"}) != key


def test_structural_key_names_a_callee_that_has_no_key() -> None:
    with pytest.raises(KeyError, match="g"):
        structural_key(calls("f", "g"), {"f": "1"})

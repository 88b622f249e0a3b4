"""What is written reads back equal; what is damaged, newer or too large is refused, with the way out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from brainir.ir import serialization
from brainir.ir.constant import Constant
from brainir.ir.encoding import dump_node
from brainir.ir.errors import BrainIRError, FormatError, VerificationError
from brainir.ir.files import load, save
from brainir.ir.interface import Interface, Unit
from brainir.ir.node import Node
from brainir.ir.ops import SCHEMAS, AnyNode
from brainir.ir.program import SCHEMA_VERSION, Function, Program
from brainir.ir.serialization import Limits, dumps, loads
from brainir.ir.trees import DataclassTree, LeafTree, SequenceTree

from .strategies import attribute_values, chain, constant, f32, program_of, programs, spike, weights

GRADED = chain(4)
NODE = TypeAdapter(AnyNode)


def edited(change: Any, program: Program = GRADED) -> str:
    """Write a program as JSON, after a change to its dict."""
    data = json.loads(dumps(program))
    change(data)
    return json.dumps(data)


BIG = np.arange(20_000, dtype=np.float32)
OTHER = BIG[::-1].copy()


# Text


@given(programs())
def test_programs_read_back_equal_to_the_last_byte(program: Program) -> None:
    text = dumps(program)
    again = loads(text)
    assert again == program
    assert dumps(again) == text
    assert loads(text.encode()) == program


@given(programs())
def test_text_ends_lines_only_where_the_layout_does(program: Program) -> None:
    text = dumps(program)
    assert text.endswith("}\n")
    lines = text.splitlines()
    assert lines == text[:-1].split("\n")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ufeff]", text)
    nodes = [line for line in lines if line.startswith('    {"op": ')]
    constants = [line for line in lines if line.startswith('    {"name": ')]
    assert len(nodes) == program.node_count()
    assert len(constants) == sum(len(function.constants) for function in program.functions)
    states = [line for line in lines if line.startswith('   {"path": ')]
    assert len(states) == len(program.interface.states)


def test_layout_of_the_text() -> None:
    body = Function(
        name="main",
        inputs=("x",),
        types=(f32((2,)),),
        constants=(constant("c", np.array([0.5, -0.0], np.float32)),),
        nodes=(
            NODE.validate_python(
                {
                    "op": "dot_general",
                    "inputs": ("x", "c"),
                    "outputs": ("y",),
                    "types": ("f32[]",),
                    "dimension_numbers": (((0,), (0,)), ((), ())),
                    "source": "m.py:3",
                }
            ),
        ),
        outputs=("y",),
    )
    assert dumps(program_of(body)) == (
        """{
 "format": "brainir",
 "version": 1,
 "entry": "main",
 "interface": {
  "kind": "function",
  "arguments": [
   {"name": "a0", "tree": {"kind": "leaf"}}
  ],
  "result": {"kind": "tuple", "children": [{"kind": "leaf"}]}
 },
 "functions": [
  {
   "name": "main",
   "inputs": ["x"],
   "types": ["f32[2]"],
   "constants": [
    {"name": "c", "type": "f32[2]", "values": "0.5 -0.0"}
   ],
   "nodes": [
    {"op": "dot_general", "inputs": ["x", "c"], "outputs": ["y"], "types": ["f32[]"], """
        """"dimension_numbers": [[[0], [0]], [[], []]], "source": "m.py:3"}
   ],
   "outputs": ["y"]
  }
 ]
}
"""
    )


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
@settings(max_examples=10)
@given(data=st.data())
def test_every_node_schema_reads_back_equal(schema: type[Node], data: st.DataObject) -> None:
    fields = schema.model_fields
    values = {name: data.draw(attribute_values(fields[name].annotation)) for name in fields if name != "op"}
    node = schema(op=data.draw(st.sampled_from(schema.ops())), **values)
    line = dump_node(node)
    assert NODE.validate_json(line) == node
    assert line.startswith('{"op": ')
    assert len(line.splitlines()) == 1


@given(st.lists(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.none())))
def test_static_fields_of_dataclasses_keep_kind_and_sign(values: list[object]) -> None:
    static = tuple((f"f{k}", value) for k, value in enumerate(values))
    tree = DataclassTree(type="m:C", fields=("x",), children=(LeafTree(),), static=static)
    body = Function(name="main", inputs=("x",), types=(f32(),), outputs=("x",))
    program = program_of(body)
    interface = program.interface.replace(result=tree)
    (stored,) = [loads(dumps(program.replace(interface=interface))).interface.result]
    assert isinstance(stored, DataclassTree)
    assert repr(stored.static) == repr(static)


def test_rules_that_refer_to_themselves_read_back_equal() -> None:
    heaviside, surrogate, node = spike("spike", "rule")
    entry = Function(name="main", inputs=("x",), types=(f32((3,)),), nodes=(node,), outputs=("z",))
    program = program_of(entry, heaviside, surrogate)
    assert loads(dumps(program)) == program


@pytest.mark.parametrize("scale", [0.0, -0.0, 1e-300, 1e300, 0.1 + 0.2])
def test_numbers_of_units_keep_every_bit(scale: float) -> None:
    unit = Unit(text="u", dimension=(-0.0,) * 7, scale=scale)
    program = program_of(Function(name="main", inputs=("x",), types=(f32(),), outputs=("x",)))
    interface = program.interface.replace(units=(unit,))
    (stored,) = loads(dumps(program.replace(interface=interface))).interface.units
    assert repr(stored) == repr(unit)


# Text that is not a program


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"not JSON.*cut short"),
        (dumps(GRADED)[:300], r"not JSON.* at line \d+ column \d+.*cut short or edited"),
        ("model.json", r"not JSON.*\(load takes a path, loads the text\)"),
        ("[" * 1_000_000, "not JSON: recursion limit exceeded at line 1"),
        ('{"a":' * 1_000_000, "not JSON: recursion limit exceeded at line 1"),
        (b"\xff\xfe{}", "not JSON|not UTF-8"),
        ('{"format": "brainir\ud800"}', "not UTF-8"),
        ("1" * 10_000, "not JSON"),
        ("[1, 2]", 'JSON but not a brainir program, which starts with "format"'),
        ('{"format": "onnx", "version": 1}', "JSON but not a brainir program"),
        ('{"format": "brainir"}', "no schema version"),
        ('{"format": "brainir", "version": "1"}', "no schema version"),
        ('{"format": "brainir", "version": true}', "no schema version"),
        ('{"format": "brainir", "version": 0}', "no schema version"),
        (
            '{"format": "brainir", "version": 7, "novelty": []}',
            rf"newer brainir: it has version 7.* up to {SCHEMA_VERSION}; update brainir to read it",
        ),
        ('{"format": "brainir", "version": 1, "version": 1}', "the key 'version' occurs twice"),
        (json.dumps({"format": "brainir", "version": 1} | dict.fromkeys(map(str, range(1000)))), "1002 keys"),
        ('\ufeff{"format": "brainir", "version": 1}', "starts with a byte order mark"),
        ('{"format": "brainir", "version": 1}', r"field 'entry': is missing"),
        ('{"format": "brainir", "version": 1, "functions": 3}', "field 'functions'"),
        ('{"format": "brainir", "version": 1, "functions": [3]}', "function 0"),
    ],
    ids=lambda value: repr(value[:40]),
)
def test_text_that_is_no_program_is_refused_with_the_reason(text: str | bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        loads(text)


def _node(data: dict[str, Any], **changes: Any) -> None:
    data["functions"][0]["nodes"][2].update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: _node(data, op="ad"), "function 'main', node 2: 'ad' is not an operation"),
        (lambda data: _node(data, inputs="v1"), "function 'main', node 2, field 'inputs': .*array, not 'v1'"),
        (
            lambda data: _node(data, inputs=[1]),
            "function 'main', node 2, field 'inputs', item 0: .*string, not 1",
        ),
        (lambda data: _node(data, axes=[0]), "function 'main', node 2, field 'axes': is not a field"),
        (lambda data: data["functions"][0]["nodes"][1].pop("types"), "node 1, field 'types': is missing"),
        (lambda data: data["functions"][0].pop("outputs"), "function 'main', field 'outputs': is missing"),
        (lambda data: data.update(entry=4), "field 'entry': input should be a valid string, not 4"),
        (
            lambda data: data["interface"]["arguments"][0]["tree"].update(kind="dict", keys=[]),
            "interface, argument 'a0', field 'tree', field 'children': is missing",
        ),
        (lambda data: data["interface"].update(kind="klass"), "interface, field 'kind': .*not 'klass'"),
        (lambda data: data["functions"][0].update(name=3), "function 3, field 'name'"),
        (
            lambda data: data["functions"][0].update(constants=[{"name": "c", "type": "f32[2]", "values": "0.5"}]),
            "function 'main', constant 'c': values must hold the 2 elements of f32",
        ),
        (
            lambda data: data["functions"][0].update(constants=[{"name": "c", "type": "f32[1]", "values": "0.50"}]),
            "function 'main', constant 'c': '0.50' is not the standard spelling",
        ),
        (
            lambda data: data["functions"][0].update(constants=[{"name": "c", "type": "f31[1]", "values": "0.5"}]),
            "function 'main', constant 'c': unknown element type 'f31'",
        ),
        (
            lambda data: data["functions"][0].update(constants=[{"name": "c", "type": "f32[1]", "base64": "%"}]),
            "function 'main', constant 'c': ",
        ),
    ],
)
def test_problems_are_placed_in_terms_of_the_program(change: Any, message: str) -> None:
    with pytest.raises(FormatError, match=message) as caught:
        loads(edited(change))
    assert len(str(caught.value).splitlines()) == 2


def test_attributes_of_a_union_type_are_named_without_its_members() -> None:
    line = {"op": "dot_general", "inputs": [], "outputs": [], "types": [], "precision": 3}
    line |= {"dimension_numbers": [[[0], [0]], [[], []]]}
    with pytest.raises(FormatError, match="node 4, field 'precision': ") as caught:
        loads(edited(lambda data: data["functions"][0]["nodes"].append(line)))
    assert "tuple[" not in str(caught.value)


def test_at_most_five_problems_are_listed() -> None:
    with pytest.raises(FormatError) as caught:
        loads(edited(lambda data: _node(data, **{f"novelty{index}": 0 for index in range(8)})))
    assert len(str(caught.value).splitlines()) == 7
    assert str(caught.value).endswith("and 3 more")


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data["functions"][0].update(nodes=[{"op": "ad"}] * 1000),
        lambda data: data["functions"][0].update(outputs=[1] * 1000),
        lambda data: data.update(functions=[3] * 1000),
        lambda data: data.update(metadata=[3] * 1000),
        lambda data: data["interface"].update(arguments=[3] * 1000),
        lambda data: data["interface"].update(result={"kind": "tuple", "children": [{"kind": "leaf"}, 3, 3]}),
        lambda data: _node(data, op="reduce_sum", axes=[0.5] * 1000),
    ],
)
def test_a_thousand_wrong_items_are_one_problem(change: Any) -> None:
    # A description takes kilobytes, and a file of a few megabytes could ask for as many gigabytes.
    with pytest.raises(FormatError) as caught:
        loads(edited(change))
    assert isinstance(caught.value.__context__, ValidationError)
    assert caught.value.__context__.error_count() == 1


def test_a_well_formed_program_that_breaks_an_invariant_is_refused_by_the_verifier() -> None:
    with pytest.raises(VerificationError):
        loads(edited(lambda data: _node(data, inputs=["v0", "nowhere"])))


FUZZED = dumps(program_of(*GRADED.functions)).encode()


@given(st.integers(0, len(FUZZED) - 1), st.integers(0, len(FUZZED) // 10), st.binary(max_size=3))
@example(len(FUZZED) - 1, 1, b"")
def test_damaged_text_ends_in_a_program_or_a_brainir_error(start: int, removed: int, added: bytes) -> None:
    try:
        program = loads(FUZZED[:start] + added + FUZZED[start + removed :])
    except BrainIRError:
        return
    assert loads(dumps(program)) == program


@given(programs(), st.data())
def test_text_that_is_cut_short_is_refused(program: Program, data: st.DataObject) -> None:
    text = dumps(program)
    with pytest.raises(FormatError, match=r"not JSON: EOF .* cut short"):
        loads(text[: data.draw(st.integers(0, len(text) - 2))])


# Versions


def test_older_versions_are_upgraded_step_by_step(monkeypatch: pytest.MonkeyPatch) -> None:
    def rename(data: dict[str, Any]) -> dict[str, Any]:
        assert data["version"] == 1
        return {**{key: value for key, value in data.items() if key != "main"}, "entry": data["main"]}

    def drop(data: dict[str, Any]) -> dict[str, Any]:
        assert data["version"] == 2
        return {key: value for key, value in data.items() if key != "obsolete"} | {"marker": True}

    seen = {}

    def validate(text: bytes) -> Program:
        seen.update(json.loads(text))
        return GRADED

    monkeypatch.setattr(serialization, "SCHEMA_VERSION", 3)
    monkeypatch.setattr(serialization, "UPGRADES", {1: rename, 2: drop})
    monkeypatch.setattr(serialization.Program, "model_validate_json", validate)
    assert loads(edited(lambda data: data.update(main=data.pop("entry"), obsolete=1))) == GRADED
    assert (seen["version"], seen["entry"], seen["marker"]) == (3, "main", True)
    assert "obsolete" not in seen


def test_an_old_file_that_cannot_be_upgraded_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serialization, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(serialization, "UPGRADES", {1: lambda data: {"entry": data["missing"]}})
    with pytest.raises(FormatError, match=r"cannot be upgraded from 1 to 2 .*KeyError: 'missing'"):
        loads(dumps(GRADED))


# Limits


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(text_bytes=100), r"bytes of text, more than the limit of 100; .*Limits\(text_bytes=...\)"),
        (Limits(nodes=3), r"holds 4 nodes, more than the limit of 3"),
        (Limits(depth=1), r"2 levels of nested pytrees, more than the limit of 1"),
        (Limits(constant_bytes=99), r"80,000 bytes of constants, more than the limit of 99"),
    ],
)
def test_limits_are_kept(limits: Limits, message: str, tmp_path: Path) -> None:
    body = GRADED.entry_function.replace(constants=weights(BIG).entry_function.constants)
    save(program_of(body), tmp_path / "m.json")
    text = dumps(program_of(body))
    with pytest.raises(FormatError, match=message):
        loads(text, limits=limits)
    with pytest.raises(FormatError, match=message):
        load(tmp_path / "m.json", limits=limits)


def test_a_declared_shape_alone_allocates_nothing() -> None:
    def change(data: dict[str, Any]) -> None:
        data["functions"][0]["constants"] = [{"name": "c", "type": "f32[99999999999999999]", "sha256": "0" * 64}]

    with pytest.raises(FormatError, match="bytes of constants, more than the limit"):
        loads(edited(change))


def nested(depth: int) -> Program:
    program = program_of(Function(name="main", inputs=("x",), types=(f32(),), outputs=("x",)))
    tree: Any = LeafTree()
    for _ in range(depth - 1):
        tree = SequenceTree(kind="list", children=(tree,))
    return program.replace(interface=Interface(kind="function", arguments=program.interface.arguments, result=tree))


def test_the_deepest_pytree_that_can_be_written_can_be_read() -> None:
    assert loads(dumps(nested(90))) == nested(90)
    for depth in (91, 400, 5000):
        with pytest.raises(FormatError, match=f"nests {depth} levels deep"):
            dumps(nested(depth))


def test_constants_with_a_hash_only_have_no_data_when_read_from_text() -> None:
    hashed = Constant(name="c", type="f32[9]", sha256="ab" * 32)
    program = program_of(Function(name="main", inputs=(), types=(), constants=(hashed,), outputs=("c",)))
    assert loads(dumps(program)) == program

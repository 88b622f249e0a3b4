"""The JSON schema accepts what is written, refuses what cannot be read, and knows which changes break old files."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brainir.ir import schema as schema_module
from brainir.ir.encoding import dump_node
from brainir.ir.errors import BrainIRError
from brainir.ir.node import Node
from brainir.ir.ops import SCHEMAS
from brainir.ir.program import Program
from brainir.ir.schema import COMMAND, json_schema, schema_change, schema_text
from brainir.ir.serialization import dumps, loads

from .strategies import attribute_values, chain, programs


@functools.cache
def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json_schema())


def fits(data: object) -> bool:
    return validator().is_valid(data)


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@settings(max_examples=15)
@given(programs())
def test_written_programs_fit(program: Program) -> None:
    validator().validate(json.loads(dumps(program)))


@pytest.mark.parametrize("schema", SCHEMAS, ids=lambda schema: schema.__name__)
@settings(max_examples=5)
@given(data=st.data())
def test_nodes_of_every_schema_fit(schema: type[Node], data: st.DataObject) -> None:
    fields = schema.model_fields
    values = {name: data.draw(attribute_values(fields[name].annotation)) for name in fields if name != "op"}
    node = schema(op=data.draw(st.sampled_from(schema.ops())), **values)
    record = json.loads(dumps(chain(1)))
    record["functions"][0]["nodes"] = [json.loads(dump_node(node))]
    validator().validate(record)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every item of nested lists and dicts as the container and the key."""
    found: list[tuple[Any, Any]] = []
    for key in list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        found += [(value, key), *places(value[key])]
    return found


JUNK = [None, True, -1, 2**70, 0.5, "", "f32[3]", [], [None], {}, {"kind": "leaf"}, {"op": "neg"}]


def mutate(data: Any, random: Random) -> None:
    """Change one place of JSON data: another value, a missing or unknown field, a copied item."""
    container, key = random.choice(places(data))
    match random.randrange(4):
        case 0:
            container[key] = copy.deepcopy(random.choice(JUNK))
        case 1:
            del container[key]
        case 2 if isinstance(container, dict):
            container[random.choice(["colour", "op", "kind", "data", "base64"])] = copy.deepcopy(random.choice(JUNK))
        case _:
            other, name = random.choice(places(data))
            container[key] = copy.deepcopy(other[name])


@settings(max_examples=50)
@given(programs(), st.integers(0, 2**32))
def test_what_does_not_fit_cannot_be_read(program: Program, seed: int) -> None:
    data = json.loads(dumps(program))
    mutate(data, Random(seed))
    if not fits(data):
        with pytest.raises(BrainIRError):
            loads(json.dumps(data))


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("entry"),
        lambda data: data.update(colour="red"),
        lambda data: data.update(version=2),
        lambda data: data["functions"][0].update(nodes={}),
        lambda data: data["functions"][0]["nodes"][0].update(op="ad"),
        lambda data: data["functions"][0]["nodes"][0].pop("op"),
        lambda data: data["functions"][0]["nodes"][0].update(axis=0),
        lambda data: data["functions"][0]["nodes"][0].update(inputs=[1]),
        lambda data: data["interface"].update(kind="klass"),
        lambda data: data["interface"]["result"].pop("kind"),
        lambda data: data["functions"][0].update(constants=[{"name": "c", "type": "f32[]", "data": "abcd"}]),
        lambda data: data["functions"][0].update(constants=[{"name": "c", "type": "f32[]"}]),
    ],
)
def test_broken_records_do_not_fit(change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(dumps(chain(2)))
    assert fits(data)
    change(data)
    assert not fits(data)
    with pytest.raises(BrainIRError):
        loads(json.dumps(data))


# Changes


def field(name: str, **schema: object) -> Callable[[dict[str, Any]], None]:
    return lambda definitions: definitions["Cumulative"]["properties"].update({name: schema})


def new_operation(definitions: dict[str, Any]) -> None:
    definitions["Novelty"] = copy.deepcopy(definitions["Cumulative"])
    definitions["Novelty"]["properties"]["op"] = {"const": "novelty"}
    definitions["Function"]["properties"]["nodes"]["items"]["oneOf"].append({"$ref": "#/$defs/Novelty"})


def moved_operation(definitions: dict[str, Any]) -> None:
    definitions["Cumulative"]["properties"]["op"]["enum"].remove("cummax")
    definitions["CumMax"] = copy.deepcopy(definitions["Cumulative"])
    definitions["CumMax"]["properties"]["op"] = {"const": "cummax", "type": "string"}
    definitions["Function"]["properties"]["nodes"]["items"]["oneOf"].append({"$ref": "#/$defs/CumMax"})


def removed_operation(definitions: dict[str, Any]) -> None:
    definitions["Function"]["properties"]["nodes"]["items"]["oneOf"].remove({"$ref": "#/$defs/Cumulative"})


@pytest.mark.parametrize(
    ("change", "kind", "lost"),
    [
        (lambda definitions: None, "none", ""),
        (moved_operation, "none", ""),
        (field("unroll", type="integer", default=1), "additive", ""),
        (field("axis", anyOf=[{"type": "integer"}, {"type": "null"}]), "additive", ""),
        (field("axis", type="number"), "additive", ""),
        (field("reverse", type="boolean"), "breaking", "field 'reverse': the default is 'none', was False"),
        (field("reverse", type="boolean", default=True), "breaking", "field 'reverse': the default is True, was False"),
        (field("reverse", type="boolean", default=0), "breaking", "field 'reverse': the default is 0, was False"),
        (field("axis", type="string"), "breaking", "field 'axis': the type is string, was integer"),
        (field("axis", type="integer", minimum=0), "breaking", "field 'axis': minimum is 0, was None"),
        (field("axis", type="integer", enum=[0, 1]), "breaking", "field 'axis': any value is refused"),
        (field("axis", type="array", items={"type": "integer"}), "breaking", "the type is array, was integer"),
        (lambda definitions: definitions["Cumulative"]["properties"].pop("axis"), "breaking", "'axis' is gone"),
        (lambda definitions: definitions["Cumulative"]["required"].append("reverse"), "breaking", "must be there"),
        (lambda definitions: definitions["Cumulative"]["required"].remove("axis"), "additive", ""),
        (lambda definitions: definitions["Cumulative"]["properties"]["op"]["enum"].pop(), "breaking", "is gone"),
        (lambda definitions: definitions["Cumulative"]["properties"]["op"]["enum"].append("cumxor"), "additive", ""),
        (new_operation, "additive", ""),
        (removed_operation, "breaking", "the op 'cumsum' is gone"),
        (
            lambda definitions: definitions["State"]["properties"]["role"]["enum"].pop(),
            "breaking",
            "'param' is refused",
        ),
        (lambda definitions: definitions["Constant"]["oneOf"].pop(), "breaking", "object is refused"),
        (
            lambda definitions: definitions["Unit"]["properties"]["dimension"].update(maxItems=6),
            "breaking",
            "at most 6",
        ),
    ],
)
def test_the_bump_that_a_change_needs(change: Any, kind: str, lost: str) -> None:
    new = json_schema()
    change(new["$defs"])
    found = schema_change(json_schema(), new)
    assert found.kind == kind, found
    assert (lost == "") == (found.lost == ())
    assert not found.lost or any(lost in line for line in found.lost)
    assert COMMAND in found.advice()
    assert ("add UPGRADES[" in found.advice()) == (kind == "breaking")


def test_a_change_and_its_reverse_are_of_opposite_kinds() -> None:
    new = json_schema()
    new_operation(new["$defs"])
    assert schema_change(json_schema(), new).kind == "additive"
    assert schema_change(new, json_schema()).lost == ("Function, field 'nodes', items: the op 'novelty' is gone",)


def test_the_schema_is_the_same_in_every_process() -> None:
    code = "from brainir.ir.schema import schema_text; print(schema_text(), end='')"
    for seed in ("1", "2"):
        environment = {"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)}
        run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        assert run.stdout == schema_text()


def write(*options: str) -> int:
    return schema_module._main(["--write", *options])


def test_writing_refuses_a_breaking_change_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        write()
    assert "run it in the root of the repository" in capsys.readouterr().err
    path = tmp_path / "docs/schema/brainir-1.schema.json"
    path.parent.mkdir(parents=True)
    assert write() == 0
    assert path.read_text() == schema_text()
    older = json_schema()
    field("shift", type="integer", default=0)(older["$defs"])
    path.write_text(json.dumps(older))
    assert write() == 1
    assert "the field 'shift' is gone" in capsys.readouterr().err
    assert json.loads(path.read_text()) == older
    assert write("--unreleased") == 0
    assert path.read_text() == schema_text()


def test_a_schema_in_conflict_is_written_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "docs/schema/brainir-1.schema.json"
    path.parent.mkdir(parents=True)
    path.write_text("<<<<<<< HEAD\n" + schema_text())
    assert write() == 0
    assert path.read_text() == schema_text()

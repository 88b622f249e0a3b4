"""Files come back as the program they were, whatever lies beside them; old ones are upgraded and lose nothing."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from brainir.ir import serialization, upgrade
from brainir.ir.canonical import fingerprint
from brainir.ir.errors import BrainIRError, FormatError
from brainir.ir.files import load, save
from brainir.ir.large_constants import LARGE_CONSTANT, strip_constants
from brainir.ir.program import Program
from brainir.ir.serialization import dumps
from brainir.ir.upgrade import upgrade_file

from .strategies import chain, program_of, weights

GRADED = chain(4)


BIG = np.arange(20_000, dtype=np.float32)
OTHER = BIG[::-1].copy()


def test_large_constants_go_to_a_file_beside_the_json_once_each(tmp_path: Path) -> None:
    program = weights(BIG, BIG[:100], BIG, OTHER)
    save(program, tmp_path / "model.json")
    assert sorted(os.listdir(tmp_path)) == ["model.json", "model.safetensors"]
    arrays = load_file(tmp_path / "model.safetensors")
    digests = {c.digest() for c in program.entry_function.constants if len(c.data or b"") > LARGE_CONSTANT}
    assert arrays.keys() == digests
    assert len(digests) == 2
    assert all(array.dtype == np.uint8 and array.shape == (BIG.nbytes,) for array in arrays.values())
    assert (tmp_path / "model.json").stat().st_size < 2000
    assert load(tmp_path / "model.json") == program


def test_small_constants_need_no_second_file(tmp_path: Path) -> None:
    program = weights(np.zeros(LARGE_CONSTANT, np.uint8))
    save(program, str(tmp_path / "model.json"))
    assert os.listdir(tmp_path) == ["model.json"]
    assert load(str(tmp_path / "model.json")) == program


def test_large_constants_can_be_left_out(tmp_path: Path) -> None:
    program = weights(BIG, BIG[:100])
    save(program, tmp_path / "model.json")
    (tmp_path / "model.safetensors").unlink()
    light = load(tmp_path / "model.json", constants=False)
    large, small = light.entry_function.constants
    assert large.data is None
    assert small == program.entry_function.constants[1]
    assert fingerprint(light) == fingerprint(program)
    with pytest.raises(BrainIRError, match="was left out"):
        large.array()


def test_saving_a_program_without_its_large_constants_keeps_those_in_the_file(tmp_path: Path) -> None:
    program = weights(BIG, OTHER)
    path = tmp_path / "model.json"
    save(program, path)
    light = load(path, constants=False)
    body = light.entry_function
    save(light, path)
    assert load(path) == program
    half = (program.entry_function.constants[0], body.constants[1])
    save(light.replace(functions=(body.replace(constants=half),)), path)
    assert load(path) == program


def test_a_file_of_constants_that_is_no_longer_needed_is_removed(tmp_path: Path) -> None:
    save(weights(BIG, OTHER), tmp_path / "model.json")
    save(weights(OTHER), tmp_path / "model.json")
    assert len(load_file(tmp_path / "model.safetensors")) == 1
    save(weights(OTHER[:5]), tmp_path / "model.json")
    assert os.listdir(tmp_path) == ["model.json"]


@pytest.mark.parametrize("kind", ["safetensors", "other", "folder"])
def test_a_file_that_brainir_did_not_write_is_never_touched(kind: str, tmp_path: Path) -> None:
    foreign = tmp_path / "model.safetensors"
    if kind == "safetensors":
        save_file({"weight": BIG}, foreign)
    elif kind == "other":
        foreign.write_bytes(b"mine")
    else:
        foreign.mkdir()
    before = None if kind == "folder" else foreign.read_bytes()
    save(weights(BIG[:3]), tmp_path / "model.json")
    with pytest.raises(FormatError, match=r"model\.safetensors was not written by brainir.*another path"):
        save(weights(BIG), tmp_path / "model.json")
    assert load(tmp_path / "model.json") == weights(BIG[:3])
    assert before == (None if kind == "folder" else foreign.read_bytes())


def test_saved_bytes_are_the_same_every_time(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save(weights(BIG, OTHER), tmp_path / f"{name}.json")
    for suffix in ("json", "safetensors"):
        assert (tmp_path / f"a.{suffix}").read_bytes() == (tmp_path / f"b.{suffix}").read_bytes()


def test_saved_files_have_the_permissions_of_any_new_file(tmp_path: Path) -> None:
    (tmp_path / "plain").touch()
    save(weights(BIG), tmp_path / "model.json")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in os.listdir(tmp_path)}
    assert len(modes) == 1


def test_a_failed_save_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.json"
    save(GRADED, path)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(FormatError, match=r"cannot write .*model\.json: No space left"):
        save(weights(BIG), path)
    assert os.listdir(tmp_path) == ["model.json"]
    assert load(path) == GRADED


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "model.json"
    save(weights(BIG, OTHER), path)
    return path


def test_a_missing_file_of_constants_is_named(saved: Path) -> None:
    outside = saved.with_suffix(".safetensors")
    outside.unlink()
    expected = rf"{re.escape(str(saved))} keeps 2 large constants in {re.escape(str(outside))}, which is missing"
    with pytest.raises(FormatError, match=expected):
        load(saved)


def test_a_renamed_pair_of_files_still_belongs_together(saved: Path) -> None:
    moved = saved.with_name("moved.json")
    saved.rename(moved)
    saved.with_suffix(".safetensors").rename(moved.with_suffix(".safetensors"))
    assert load(moved) == weights(BIG, OTHER)


def test_one_changed_bit_in_a_large_constant_is_found(saved: Path) -> None:
    outside = saved.with_suffix(".safetensors")
    data = bytearray(outside.read_bytes())
    data[-1] ^= 1
    outside.write_bytes(data)
    with pytest.raises(FormatError, match=r"lacks 1 constant of .*other bytes.*sha256 [0-9a-f]{64}"):
        load(saved)


@pytest.mark.parametrize(
    "change",
    [
        lambda array: array[:-4],
        lambda array: array.reshape(2, -1),
        lambda array: array.view(np.float32),
        lambda array: np.zeros_like(array),
        lambda array: array[:0],
    ],
)
def test_a_large_constant_of_another_size_type_or_content_is_found(saved: Path, change: Any) -> None:
    outside = saved.with_suffix(".safetensors")
    save_file({digest: np.ascontiguousarray(change(array)) for digest, array in load_file(outside).items()}, outside)
    with pytest.raises(FormatError, match="lacks 2 constants of"):
        load(saved)


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_file_of_constants_is_refused(saved: Path, content: bytes) -> None:
    saved.with_suffix(".safetensors").write_bytes(content)
    with pytest.raises(FormatError, match=r"model\.safetensors"):
        load(saved)


def test_a_constant_whose_type_does_not_fit_the_stored_bytes_is_refused(saved: Path) -> None:
    saved.write_text(saved.read_text().replace("f32[20000]", "f32[20001]"))
    with pytest.raises(FormatError, match="lacks 2 constants of"):
        load(saved)


def test_one_hash_with_two_sizes_is_refused(saved: Path) -> None:
    digests = [c.digest() for c in weights(BIG, OTHER).entry_function.constants]
    text = saved.read_text().replace(digests[0], digests[1]).replace("f32[20000]", "f32[20001]", 1)
    saved.write_text(text)
    with pytest.raises(FormatError, match="its sha256 or type is wrong"):
        load(saved)


def test_constants_are_not_read_through_a_link_to_another_folder(saved: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    outside = saved.with_suffix(".safetensors")
    outside.rename(elsewhere / outside.name)
    outside.symlink_to(elsewhere / outside.name)
    with pytest.raises(FormatError, match=r"it is a link to another folder, .*elsewhere"):
        load(saved)
    with pytest.raises(FormatError, match="in the way"):
        save(weights(BIG), saved)
    # A store that links both files to one folder is fine.
    saved.rename(elsewhere / saved.name)
    saved.symlink_to(elsewhere / saved.name)
    assert load(saved) == weights(BIG, OTHER)


def test_constants_are_not_read_from_something_that_is_no_file(saved: Path) -> None:
    saved.with_suffix(".safetensors").unlink()
    os.mkfifo(saved.with_suffix(".safetensors"))
    with pytest.raises(FormatError, match="which is missing"):
        load(saved)


def test_a_long_table_of_contents_is_refused_before_it_is_read(saved: Path) -> None:
    with saved.with_suffix(".safetensors").open("wb") as file:
        file.write((64 << 20).to_bytes(8, "little"))
        file.truncate(100 << 20)
    with pytest.raises(FormatError, match="its header has 67108864 bytes"):
        load(saved)


# Programs without their large constants


def test_large_constants_can_be_stripped_and_the_fingerprint_stays(tmp_path: Path) -> None:
    program = weights(BIG, BIG[:100])
    light = strip_constants(program)
    large, small = light.entry_function.constants
    assert (large.data, small.data) == (None, program.entry_function.constants[1].data)
    assert fingerprint(light) == fingerprint(program)
    assert len(dumps(light)) < 2000
    assert dumps(program, constants=False) == dumps(light) != dumps(program)
    assert strip_constants(light) == light
    assert all(c.data is None for c in strip_constants(program, larger_than=0).entry_function.constants)
    with pytest.raises(BrainIRError, match="left out"):
        large.array()


def test_a_file_can_be_saved_without_its_large_constants(tmp_path: Path) -> None:
    program = weights(BIG, BIG[:100])
    path = tmp_path / "model.json"
    save(program, path, constants=False)
    assert os.listdir(tmp_path) == ["model.json"]
    assert load(path, constants=False) == strip_constants(program)
    assert path.read_text() == dumps(program, constants=False)
    with pytest.raises(FormatError, match="which is missing"):
        load(path)


def test_saving_without_constants_leaves_a_file_of_them_alone(saved: Path) -> None:
    before = saved.with_suffix(".safetensors").read_bytes()
    save(weights(BIG), saved, constants=False)
    assert saved.with_suffix(".safetensors").read_bytes() == before
    assert load(saved) == weights(BIG)


# Files of older versions


class NextProgram(Program):
    """A program of a version that does not exist yet: the entry is named by `main`, and there is a colour."""

    version: Literal[2] = 2
    colour: str = "grey"


def next_version(monkeypatch: pytest.MonkeyPatch, step: Any) -> None:
    for module in (serialization, upgrade):
        monkeypatch.setattr(module, "SCHEMA_VERSION", 2)
    monkeypatch.setattr(serialization, "UPGRADES", {1: step})
    monkeypatch.setattr(serialization, "Program", NextProgram)


def as_it_is(data: dict[str, Any]) -> dict[str, Any]:
    return data


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "old.json"
    body = weights(BIG, OTHER[:3]).entry_function
    save(program_of(body).replace(metadata=(("note", "kept"),)), path)
    return path


def test_an_old_file_is_rewritten_in_the_present_version(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, constants = load(old), old.with_suffix(".safetensors").read_bytes()
    assert upgrade_file(old) == 1
    next_version(monkeypatch, as_it_is)
    assert upgrade_file(old) == 1
    assert '"version": 2,' in old.read_text()
    after = load(old)
    assert after.functions == before.functions
    assert after.metadata == before.metadata
    assert old.with_suffix(".safetensors").read_bytes() == constants
    written = old.read_bytes()
    assert upgrade_file(old) == 2
    assert old.read_bytes() == written


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (lambda data: {**data, "metadata": []}, "would lose the note"),
        (lambda data: {**data, "functions": [{**data["functions"][0], "constants": []}]}, "not defined"),
        (
            lambda data: {
                **data,
                "functions": [
                    {
                        **data["functions"][0],
                        "constants": [
                            {**constant, "sha256": "0" * 64} if "sha256" in constant else constant
                            for constant in data["functions"][0]["constants"]
                        ],
                    }
                ],
            },
            "would lose the constant with sha256",
        ),
        (lambda data: {**data, "entry": data["main"]}, r"cannot be upgraded from 1 to 2 \(KeyError"),
        (lambda data: {**data, "shade": 1}, "field 'shade'"),
    ],
)
def test_an_upgrade_that_loses_something_leaves_the_file_as_it_is(
    step: Any, message: str, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = old.read_bytes()
    next_version(monkeypatch, step)
    with pytest.raises(BrainIRError, match=message):
        upgrade_file(old)
    assert old.read_bytes() == before


def test_a_newer_file_is_not_touched_by_an_upgrade(old: Path) -> None:
    old.write_text(old.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(FormatError, match="newer brainir"):
        upgrade_file(old)
    with pytest.raises(FormatError, match="there is no file"):
        upgrade_file(old.with_name("none.json"))


def test_paths_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=rf"there is no file {re.escape(str(tmp_path / 'none.json'))}; check"):
        load(tmp_path / "none.json")
    with pytest.raises(FormatError, match=r"is a folder; give the path of the \.json file"):
        load(tmp_path)
    with pytest.raises(FormatError, match="not a regular file"):
        load("/dev/null")
    with pytest.raises(FormatError, match="cannot read"):
        load("a\0b")
    (tmp_path / "photo.json").write_bytes(b"\x89PNG\r\n\x1a\n\0\0")
    with pytest.raises(FormatError, match=r"photo\.json is not"):
        load(tmp_path / "photo.json")


@pytest.mark.parametrize("name", ["missing/model.json", "", ".", "model.safetensors", "a\0b.json", "x" * 300])
def test_paths_that_cannot_be_written_are_named(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FormatError, match="cannot"):
        save(GRADED, name)
    assert os.listdir(tmp_path) == []

"""Programs that were stored once are still read, keep their fingerprint, and give the results recorded beside them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import brainir
from brainir.ir.constant import Constant
from brainir.ir.ops import SCHEMAS
from brainir.ir.program import SCHEMA_VERSION
from tests.compare import JAX
from tests.golden.run import changed, checksums, edited, run

ROOT = Path(__file__).parent
VERSIONS = sorted(ROOT.glob("version_*"))
FOLDERS = [*VERSIONS, *sorted(ROOT.glob("jax_*"))]
FILES = sorted(path for folder in FOLDERS for path in folder.glob("*.json"))
golden = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")


def runs_here(path: Path) -> bool:
    """Whether a program has all it needs to run, and this JAX has its operations."""
    stored = record(path)
    return "outputs" in stored and tuple(stored.get("since", (0, 0))) <= JAX


def record(path: Path) -> dict[str, Any]:
    return json.loads(path.with_suffix(".results").read_text())


def arrays(stored: list[dict[str, Any]]) -> list[np.ndarray]:
    return [Constant.model_validate_json(json.dumps(entry)).array() for entry in stored]


@golden
def test_stored_program_is_read_and_keeps_its_fingerprint(path: Path) -> None:
    program = brainir.load(path)
    brainir.verify(program)
    assert brainir.fingerprint(program) == record(path)["fingerprint"]


@pytest.mark.parametrize("path", list(filter(runs_here, FILES)), ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_stored_program_gives_the_recorded_results(path: Path) -> None:
    results = run(brainir.load(path), arrays(record(path)["inputs"]))
    expected = arrays(record(path)["outputs"])
    assert len(results) == len(expected) > 0
    for result, recorded in zip(results, expected, strict=True):
        found = np.asarray(result)
        assert (found.dtype, found.shape) == (recorded.dtype, recorded.shape)
        if np.issubdtype(found.dtype, np.integer) or found.dtype == bool:
            np.testing.assert_array_equal(found, recorded)
        else:
            # Elementary functions differ in the last bits between JAX versions and processors.
            digits = 1e-5 if found.dtype.itemsize >= 4 else 1e-2
            wide = np.complex128 if np.issubdtype(found.dtype, np.complexfloating) else np.float64
            np.testing.assert_allclose(found.astype(wide), recorded.astype(wide), digits, digits)


@golden
def test_stored_program_of_this_version_is_written_as_it_was(path: Path, tmp_path: Path) -> None:
    if json.loads(path.read_text())["version"] == SCHEMA_VERSION:
        brainir.save(brainir.load(path), tmp_path / path.name)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_golden_files_are_never_edited(folder: Path) -> None:
    assert changed(folder) == []
    assert checksums(folder) == (folder / "SHA256SUMS").read_text()
    assert edited(folder) == []


def test_an_edit_is_found_in_the_history_even_if_its_checksum_was_edited_too(tmp_path: Path) -> None:
    folder = tmp_path / "files"
    folder.mkdir()

    def commit(text: str) -> None:
        (folder / "a program.json").write_text(text)
        (folder / "SHA256SUMS").write_text(checksums(folder))
        subprocess.run(["git", "add", "."], cwd=tmp_path, check=True)
        who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
        subprocess.run(["git", *who, "commit", "-qm", "one"], cwd=tmp_path, check=True)

    subprocess.run(["git", "init", "-q", "."], cwd=tmp_path, check=True)
    commit("as it was")
    assert edited(folder) == []
    commit("edited")
    assert changed(folder) == []
    assert edited(folder) == ["files/a program.json"]
    (folder / "a program.json").unlink()
    assert edited(folder) == ["files/a program.json"]


def test_every_schema_is_in_a_golden_file() -> None:
    programs = map(brainir.load, FILES)
    found = {type(node) for program in programs for function in program.functions for node in function.nodes}
    assert [schema.__name__ for schema in SCHEMAS if schema not in found] == [], (
        "name a program that has it in tests/golden/operations.py, then run: python -m tests.golden.write"
    )


def test_every_supported_jax_version_has_golden_files_of_what_it_traces_in_its_own_way() -> None:
    assert {folder.name for folder in FOLDERS} >= {"jax_0.8", "jax_0.9", "jax_0.10", "jax_0.12"}
    assert any(path.stem == "gradient_of_a_loop" for path in (ROOT / "jax_0.12").iterdir())
    assert any(path.stem == "module_IF_Delta" for path in (ROOT / "jax_0.9").iterdir())


def test_every_version_has_golden_files_and_a_schema() -> None:
    versions = [f"version_{version}" for version in range(1, SCHEMA_VERSION + 1)]
    assert [folder.name for folder in VERSIONS] == versions
    for version in range(1, SCHEMA_VERSION + 1):
        assert (ROOT.parents[1] / f"docs/schema/brainir-{version}.schema.json").is_file()

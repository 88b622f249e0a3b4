"""Programs that were stored once are still read, keep their fingerprint, and give the results recorded beside them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import brainir
from brainir.ir.program import SCHEMA_VERSION, Constant
from tests.golden.run import changed, checksums, run

ROOT = Path(__file__).parent
FILES = sorted(ROOT.glob("version_*/*.json"))
FOLDERS = sorted(ROOT.glob("version_*"))
golden = pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}-{path.stem}")


def record(path: Path) -> dict[str, Any]:
    return json.loads(path.with_suffix(".results").read_text())


def arrays(stored: list[dict[str, Any]]) -> list[np.ndarray]:
    return [Constant.model_validate_json(json.dumps(entry)).array() for entry in stored]


@golden
def test_stored_program_is_read_and_keeps_its_fingerprint(path: Path) -> None:
    program = brainir.load(path)
    brainir.verify(program)
    assert brainir.fingerprint(program) == record(path)["fingerprint"]


@golden
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
            np.testing.assert_allclose(found.astype(np.float64), recorded.astype(np.float64), digits, digits)


@golden
def test_stored_program_of_this_version_is_written_as_it_was(path: Path, tmp_path: Path) -> None:
    if path.parent.name == f"version_{SCHEMA_VERSION}":
        brainir.save(brainir.load(path), tmp_path / path.name)
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_golden_files_are_never_edited(folder: Path) -> None:
    assert changed(folder) == []
    assert checksums(folder) == (folder / "SHA256SUMS").read_text()


def test_every_version_has_golden_files_and_a_schema() -> None:
    versions = [f"version_{version}" for version in range(1, SCHEMA_VERSION + 1)]
    assert [folder.name for folder in FOLDERS] == versions
    for version in range(1, SCHEMA_VERSION + 1):
        assert (ROOT.parents[1] / f"docs/schema/brainir-{version}.schema.json").is_file()

"""Texts that once ended badly end well, and damaged files do, too; `make fuzz` tries many more."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from tests.fuzz.check import check
from tests.fuzz.mutations import mutated

FOLDER = Path(__file__).parent
CRASHES = sorted((FOLDER / "crashes").glob("*.json"))
GOLDEN = [path.read_text() for path in sorted((FOLDER.parent / "golden").glob("version_*/*.json"))]


@pytest.mark.parametrize("path", CRASHES, ids=lambda path: path.stem)
def test_text_that_once_ended_badly_ends_well(path: Path) -> None:
    check(path.read_bytes())


def test_damaged_files_are_refused_or_are_programs_that_verify_and_print() -> None:
    texts = [text for text in GOLDEN if len(text) < 5000]
    programs = sum(check(mutated(Random(f"tests:{number}"), texts)) for number in range(400))
    assert 10 < programs < 390

"""Fixtures and options for pytest: programs that are stored beside the test and compared by structure."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from .ir.program import Program

__all__ = ["program_snapshot", "pytest_addoption"]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add ``--update-programs``."""
    parser.getgroup("brainir").addoption(
        "--update-programs", action="store_true", help="store the programs of program_snapshot anew"
    )


@pytest.fixture
def program_snapshot(request: pytest.FixtureRequest) -> Callable[..., None]:
    """Compare a program with the one stored for this test: ``program_snapshot(program, name="")``.

    The first run stores it, in the folder ``programs`` beside the test file, under the name of the test. Later runs
    fail with the structural diff if it means something else, until ``pytest --update-programs`` stores it anew. Under
    continuous integration (the variable ``CI`` is set) a missing file is a failure.
    """

    def compare(program: Program, name: str = "") -> None:
        # Loaded here, so that pytest starts without brainir.
        from .testing import check_snapshot

        test = "-".join(part for part in (request.path.stem, request.node.name, name) if part)
        path = Path(request.path).parent / "programs" / f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', test)}.json"
        update = bool(request.config.getoption("--update-programs"))
        check_snapshot(program, path, update=update, create=not os.environ.get("CI"))

    return compare

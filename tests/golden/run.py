"""What writing and testing golden files have in common."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from brainir.backend.evaluate import Evaluator
from brainir.ir.program import Program


def run(program: Program, inputs: Sequence[Any]) -> list[Any]:
    """Run the entry on flat arrays."""
    return list(jax.jit(Evaluator(program).function(program.entry))(*inputs))


def checksums(folder: Path) -> str:
    """Return a line for each file of a folder, as ``sha256sum`` writes it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files)


def changed(folder: Path) -> list[str]:
    """Return the lines of the list of checksums that no longer hold."""
    return sorted(set((folder / "SHA256SUMS").read_text().splitlines()) - set(checksums(folder).splitlines()))

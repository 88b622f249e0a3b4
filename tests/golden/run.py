"""What writing and testing golden files have in common."""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from brainir.backend.evaluate import Evaluator
from brainir.ir.program import Program


def run(program: Program, inputs: Sequence[Any]) -> list[Any]:
    """Run the entry on flat arrays; keys are returned as their words."""
    results = jax.jit(Evaluator(program).function(program.entry))(*inputs)
    return [
        jax.random.key_data(each) if jax.dtypes.issubdtype(each.dtype, jax.dtypes.prng_key) else each
        for each in results
    ]


def checksums(folder: Path) -> str:
    """Return a line for each file of a folder, as ``sha256sum`` writes it."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "SHA256SUMS")
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files)


def changed(folder: Path) -> list[str]:
    """Return the lines of the list of checksums that no longer hold."""
    return sorted(set((folder / "SHA256SUMS").read_text().splitlines()) - set(checksums(folder).splitlines()))


def edited(folder: Path) -> list[str]:
    """Return the files of a folder that are not as they were when git first saw them, the lists of checksums left out.

    Without a repository, or where git does not know the files, there is nothing to compare with.
    """
    log = _git(folder, "log", "--reverse", "--raw", "--no-abbrev", "--no-renames", "--diff-filter=A", "--format=", ".")
    added: dict[str, str] = {}
    for line in (log or "").splitlines():
        fields, path = line.split("\t", 1)
        if not path.endswith("SHA256SUMS"):
            added.setdefault(path, fields.split()[3])
    root = Path((_git(folder, "rev-parse", "--show-toplevel") or "").strip())
    there = [path for path in added if (root / path).is_file()]
    hashes = (_git(root, "hash-object", "--no-filters", "--", *there) or "").split() if there else []
    same = {path for path, found in zip(there, hashes, strict=True) if added[path] == found}
    return sorted(added.keys() - same)


def _git(folder: Path, *arguments: str) -> str | None:
    """Return what git says, or None if there is no git or no repository."""
    try:
        return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return None

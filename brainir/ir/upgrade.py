"""Files of older versions of the stored form, rewritten in the present one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

from .errors import FormatError
from .files import file_path, read_text, replace_text
from .program import SCHEMA_VERSION
from .serialization import DEFAULT_LIMITS, Limits, dumps, loads, parse_program, read_program

__all__ = ["upgrade_file"]


def upgrade_file(path: str | os.PathLike[str], *, limits: Limits = DEFAULT_LIMITS) -> int:
    """Rewrite a JSON file of an older version of the stored form in the present one.

    The program is verified, and the new text read back, before it takes the place of the old one as a whole. The
    ``.safetensors`` file beside it stays as it is. A file of the present version is checked and left alone.

    Parameters
    ----------
    path : str or path
    limits : Limits

    Returns
    -------
    int
        The version that the file had.

    Raises
    ------
    FormatError
        If the file cannot be read or written, was written by a newer release, or would lose a constant, a state or a
        note.
    VerificationError
        If the program breaks an invariant of the IR.
    """
    path = file_path(path)
    text = read_text(path, limits)
    program = read_program(text, str(path), limits)
    old = parse_program(text, str(path))
    version: int = old["version"]
    if version == SCHEMA_VERSION:
        return version
    new = dumps(program)
    lost = sorted(set(_inventory(old)) - set(_inventory(json.loads(new))))
    if lost or loads(new, limits=limits) != program:
        what = lost[0] if lost else "some of what it holds"
        raise FormatError(
            f"{path} was not upgraded from version {version} to {SCHEMA_VERSION}: it would lose {what}; "
            "keep the file, and the release that wrote it, and report this"
        )
    try:
        replace_text(path, new)
    except OSError as error:
        raise FormatError(f"cannot write {path}: {error.strerror}; check the folder and its permissions") from error
    return version


def _inventory(data: dict[str, Any]) -> Iterator[str]:
    """Yield what no upgrade may drop, wherever a version of the stored form keeps it."""
    for note in data.get("metadata") or ():
        yield f"the note {note!r}"
    pending: list[Any] = [data]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if isinstance(value.get("sha256"), str):
                yield f"the constant with sha256 {value['sha256']}"
            if "role" in value and "path" in value:
                yield f"the state {value['path']!r}"
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)

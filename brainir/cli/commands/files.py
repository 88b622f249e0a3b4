"""Commands on the files themselves."""

from __future__ import annotations

from typing import Annotated

import typer

from ...ir.program import SCHEMA_VERSION
from ...ir.upgrade import upgrade_file
from ..output import AsJson, print_json, print_text

__all__ = ["upgrade"]


def upgrade(
    files: Annotated[list[str], typer.Argument(metavar="PROGRAM", help="Files of programs; they are rewritten.")],
    as_json: AsJson = False,
) -> None:
    """Rewrite files of older versions of the stored form in the present one."""
    found = {file: upgrade_file(file) for file in files}
    if as_json:
        print_json([{"file": file, "from": old, "to": SCHEMA_VERSION} for file, old in found.items()])
        return
    for file, old in found.items():
        print_text(f"{file}: version {old}" + (f" -> {SCHEMA_VERSION}" if old != SCHEMA_VERSION else ", up to date"))

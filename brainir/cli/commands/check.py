"""Commands that check and compare."""

from __future__ import annotations

from typing import Annotated

import typer

from ...analysis import diff as find_differences
from ...ir.canonical import fingerprint
from ...ir.errors import VerificationError
from ...ir.schema import schema_text
from ...ir.wording import counted
from ..output import AsJson, Output, print_facts, print_json, print_text, progress, write_text
from ..reading import ProgramFile, read_program

__all__ = ["diff", "schema", "verify"]


def verify(program: ProgramFile, as_json: AsJson = False) -> None:
    """Check every invariant of a program; exit code 1 if it breaks one."""
    try:
        loaded = read_program(program)
    except VerificationError as error:
        if not as_json:
            raise
        print_json({"valid": False, "error": str(error)})
        raise typer.Exit(1) from error
    digest = fingerprint(loaded)
    if as_json:
        print_json({"valid": True, "entry": loaded.entry, "nodes": loaded.node_count(), "fingerprint": digest})
    else:
        print_text(
            f"{program}: {loaded.entry} is valid, {counted(loaded.node_count(), 'node')}, fingerprint {digest[:16]}"
        )


def schema(output: Output = "-", as_json: AsJson = False) -> None:
    """Print the JSON schema of stored programs, with or without --json."""
    write_text(schema_text(), output)


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="File of the older program.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="File of the newer program.")],
    as_json: AsJson = False,
) -> None:
    """Say what differs between two programs, whatever their values are called; exit code 1 if something does."""
    before, after = read_program(old), read_program(new)
    with progress("Comparing"):
        found = find_differences(before, after)
    print_facts(found, as_json=as_json)
    if found:
        raise typer.Exit(1)

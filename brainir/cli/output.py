"""What commands print: text and tables for people, JSON for programs, progress and errors beside them."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, TypeAlias

import typer
from rich.console import Console
from rich.table import Table

from ..analysis.facts import Facts
from ..ir.errors import FormatError
from ..ir.files import save
from ..ir.program import Program
from ..ir.serialization import dumps
from ..ir.wording import counted

__all__ = [
    "AsJson",
    "Output",
    "note",
    "nothing_in",
    "print_facts",
    "print_json",
    "print_table",
    "print_text",
    "progress",
    "report_error",
    "spare_programs",
    "write_program",
    "write_text",
]

AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_UNLIMITED = 1 << 20  # characters in a row of a table
_HEAD = 64  # bytes that a stored program says in that it is one

Output: TypeAlias = Annotated[str, typer.Option("--output", "-o", help="File to write; - is standard output.")]


def print_text(text: str) -> None:
    """Print text as it is.

    Raises
    ------
    FormatError
        If standard output takes no more, such as a file on a full disk.
    """
    try:
        typer.echo(text.rstrip("\n"))
    except BrokenPipeError:
        raise  # The reader has seen enough.
    except OSError as error:
        raise FormatError(f"cannot write to standard output: {error.strerror or error}") from error


def print_json(value: object) -> None:
    """Print a value as JSON."""
    print_text(json.dumps(value, indent=2, ensure_ascii=False))


def print_facts(facts: Facts | Sequence[Facts], *, as_json: bool, none: str = "none") -> None:
    """Print what an analysis found."""
    if isinstance(facts, Facts):
        print_text(facts.to_json() if as_json else str(facts))
    elif as_json:
        print_json([json.loads(each.to_json()) for each in facts])
    else:
        print_text("\n".join(map(str, facts)) or none)


def nothing_in(program: Program, found: str) -> str:
    """Say that nothing was found, and why there can be nothing in a plain function."""
    if program.interface.kind != "function":
        return found
    return f"{found}: {program.entry} is a plain function; lower a module, or a pure step with lower --step"


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns of numbers are aligned to the right."""
    kept = [tuple(row) for row in rows]
    table = Table(title=title, title_justify="left", title_style="bold", header_style="bold", box=None)
    for index, column in enumerate(columns):
        is_number = all(isinstance(row[index], int | float) for row in kept)
        table.add_column(column, justify="right" if is_number else "left", overflow="fold")
    for row in kept:
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else str(cell) for cell in row))
    console = Console(highlight=False, markup=False)
    if console.is_terminal:
        console.print(table)
        return
    # A pipe has no width: rows are as long as they are, and have no colours.
    plain = Console(file=io.StringIO(), highlight=False, markup=False, no_color=True, width=_UNLIMITED)
    with plain.capture() as printed:
        plain.print(table)
    print_text("\n".join(line.rstrip() for line in printed.get().splitlines()))


@contextlib.contextmanager
def progress(doing: str) -> Iterator[None]:
    """Show on a terminal what takes so long."""
    with Console(stderr=True, highlight=False, markup=False).status(f"{doing} ..."):
        yield


def report_error(error: object) -> None:
    """Print an error as one block on standard error."""
    Console(stderr=True, highlight=False, markup=False, soft_wrap=True).print("error:", error, style=None)


def write_text(text: str, output: str) -> None:
    """Write text to a file or to standard output.

    Raises
    ------
    FormatError
        If the file cannot be written, or holds a program.
    """
    if output == "-":
        print_text(text)
        return
    spare_programs(output)
    try:
        Path(output).write_text(text, encoding="utf-8")
    except OSError as error:
        raise FormatError(f"cannot write {output}: {error.strerror or error}") from error
    note(f"wrote {output}")


def spare_programs(output: str) -> None:
    """Check that what is no program does not replace one, such as the one that it was made from.

    Raises
    ------
    FormatError
        If the file holds a program.
    """
    try:
        with Path(output).open("rb") as file:
            head = file.read(_HEAD)
    except OSError:
        return  # There is none, or writing says what is wrong.
    if b'"format": "brainir"' in head:
        raise FormatError(f"{output} holds a program, which this is not; give another file, or remove that one first")


def write_program(program: Program, output: str) -> None:
    """Write a program to a file, large constants beside it, or whole to standard output."""
    if output == "-":
        print_text(dumps(program))
        return
    save(program, output)
    note(f"wrote {output}: {program.entry}, {counted(program.node_count(), 'node')}")


def note(text: str) -> None:
    """Print a remark on standard error, where it stays out of pipes."""
    sys.stderr.write(text + "\n")

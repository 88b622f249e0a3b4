"""Programs that come in: from files and from standard input."""

from __future__ import annotations

import sys
from typing import Annotated, TypeAlias

import typer

from ..ir.errors import FormatError
from ..ir.files import load
from ..ir.program import Program
from ..ir.serialization import DEFAULT_LIMITS, loads
from .output import progress

__all__ = ["ProgramFile", "read_program"]

ProgramFile: TypeAlias = Annotated[str, typer.Argument(metavar="PROGRAM", help="File of a program, or - for stdin.")]


def read_program(path: str, *, constants: bool = True) -> Program:
    """Read and verify a program; without `constants`, large ones have a hash but no data.

    Raises
    ------
    FormatError
        If there is no such file, or it is not a program.
    VerificationError
        If the program breaks an invariant.
    """
    if path == "-":
        if sys.stdin.isatty():
            raise FormatError("- reads a program from standard input, and nothing is piped into it")
        # One byte more than allowed is enough to refuse a text, however long it goes on.
        return loads(sys.stdin.buffer.read(DEFAULT_LIMITS.text_bytes + 1))
    with progress(f"Reading {path}"):
        return load(path, constants=constants)

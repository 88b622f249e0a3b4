"""Programs in git: text for ``git diff`` and ``git log -p``, and a driver that compares programs by structure.

Run as ``python -m brainir.git``; see the documentation of the two commands below for how to set git up.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .analysis.difference import diff
from .ir.errors import BrainIRError
from .ir.files import load
from .ir.printer import format_program
from .ir.program import Program

__all__ = ["external_diff", "main", "text_of"]


def text_of(path: str) -> str:
    """Return the text of a stored program that git compares line by line (``textconv``).

    It is how programs print, without the line numbers of the model's files, which change all at once. A file that is
    not a program, for instance with conflict markers, is given as it is.

    Set up with ``*.brainir.json diff=brainir`` in ``.gitattributes`` and
    ``git config diff.brainir.textconv 'python -m brainir.git textconv'``.
    """
    try:
        program = load(path, constants=False)
    except BrainIRError:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    return format_program(without_line_numbers(program))


def without_line_numbers(program: Program) -> Program:
    """Return the program with sources that name file and function only."""
    functions = tuple(
        function.replace(nodes=tuple(node.model_copy(update={"source": node.place}) for node in function.nodes))
        for function in program.functions
    )
    return program.replace(functions=functions)


def external_diff(path: str, old: str, new: str) -> str:
    """Return what differs between two versions of a file, as git's external diff driver shows it.

    Set up with ``*.brainir.json diff=brainir`` in ``.gitattributes`` and
    ``git config diff.brainir.command 'python -m brainir.git diff'``.

    Parameters
    ----------
    path : str
        Name of the file in the repository.
    old, new : str
        Files with the two versions; ``/dev/null`` where there is none.
    """
    title = f"brainir diff {path}\n"
    if _is_nothing(old) or _is_nothing(new):
        verb, there = ("new", new) if _is_nothing(old) else ("deleted", old)
        try:
            return f"{title}{verb} program: {load(there, constants=False)!r}\n"
        except BrainIRError as error:
            return f"{title}{verb} file, not a program: {error}\n"
    try:
        found = diff(load(old, constants=False), load(new, constants=False))
    except BrainIRError as error:
        return f"{title}cannot be compared: {error}\n"
    return f"{title}{found}\n"


def _is_nothing(path: str) -> bool:
    return path in ("/dev/null", "nul")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``textconv FILE``, or ``diff`` with the seven arguments that git gives (nine for a renamed file)."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # a text stream, unless replaced
    match given:
        case ["textconv", path]:
            sys.stdout.write(text_of(path))
        case ["diff", path, old, _, _, new, _, _, *_]:
            sys.stdout.write(external_diff(path, old, new))
        case _:
            sys.stderr.write("usage: python -m brainir.git textconv FILE | diff PATH OLD HEX MODE NEW HEX MODE\n")
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

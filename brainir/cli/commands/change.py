"""Commands that make a program from a program."""

from __future__ import annotations

from typing import Annotated

import typer

from ...analysis import add_hidden_perturbation
from ...analysis.passes import DEFAULT_PASSES, PASSES, apply_passes
from ..output import AsJson, Output, note, print_text, progress, write_program
from ..reading import ProgramFile, read_program

__all__ = ["passes", "perturb"]


def perturb(program: ProgramFile, output: Output = "-", as_json: AsJson = False) -> None:
    """Add an input to each new hidden state, to get its gradient."""
    perturbation = add_hidden_perturbation(read_program(program))
    if output != "-":
        write_program(perturbation.program, output)
    if as_json:
        print_text(perturbation.to_json())
    elif output == "-":
        write_program(perturbation.program, output)
    else:
        note(str(perturbation))


def passes(
    program: ProgramFile,
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[PASS]...", help=f"In this order: {', '.join(PASSES)}.")
    ] = None,
    output: Output = "-",
    as_json: AsJson = False,
) -> None:
    """Rewrite a program with passes that keep its meaning."""
    loaded = read_program(program)
    with progress("Running passes"):
        done = apply_passes(loaded, names or DEFAULT_PASSES)
    if output != "-":
        write_program(done.program, output)
    if as_json:
        print_text(done.to_json())
    elif output == "-":
        write_program(done.program, output)
    else:
        note(str(done))

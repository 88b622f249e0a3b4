"""Commands that make a program from a program."""

from __future__ import annotations

from ...analysis import add_hidden_perturbation
from ..output import AsJson, Output, note, print_text, write_program
from ..reading import ProgramFile, read_program

__all__ = ["perturb"]


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

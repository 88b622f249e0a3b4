"""Commands that make a program from a program."""

from __future__ import annotations

from typing import Annotated

import typer

from ...analysis import add_hidden_perturbation
from ...analysis.facts import Facts
from ...analysis.passes import DEFAULT_PASSES, PASSES, apply_passes
from ...ir.diff import relabel as relabel_program
from ...ir.program import Program
from ..output import AsJson, Output, note, nothing_in, print_json, print_text, progress, write_program
from ..reading import ProgramFile, read_program

__all__ = ["passes", "perturb", "relabel"]


def perturb(program: ProgramFile, output: Output = "-", as_json: AsJson = False) -> None:
    """Add an input to each new hidden state, to get its gradient."""
    perturbation = add_hidden_perturbation(read_program(program))
    if not perturbation.perturb_vars:
        note(nothing_in(perturbation.program, "there are no hidden states to perturb"))
    _write(perturbation.program, perturbation, output, as_json=as_json)


def passes(
    program: ProgramFile,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PASS",
            help=f"Passes in the order to run them, of {', '.join(PASSES)}; by default {', '.join(DEFAULT_PASSES)}.",
        ),
    ] = None,
    output: Output = "-",
    as_json: AsJson = False,
) -> None:
    """Rewrite a program with passes that keep its meaning."""
    loaded = read_program(program)
    with progress("Running passes"):
        done = apply_passes(loaded, names or DEFAULT_PASSES)
    _write(done.program, done, output, as_json=as_json)


def _write(program: Program, facts: Facts, output: str, *, as_json: bool) -> None:
    """Write a program, and what was done: as JSON to standard output, in place of the program, or as a remark."""
    if output != "-" or not as_json:
        write_program(program, output)
    if as_json:
        print_text(facts.to_json())
    elif output != "-":
        note(str(facts))


def relabel(
    program: ProgramFile,
    like: Annotated[str, typer.Option("--like", metavar="OLD", help="The version that gives names and order.")],
    output: Output = "-",
    as_json: AsJson = False,
) -> None:
    """Write a program with the names and the order of an older version, so that their text differs little."""
    relabelled = relabel_program(read_program(program), like=read_program(like, constants=False))
    write_program(relabelled, output)
    if as_json and output != "-":
        print_json({"entry": relabelled.entry, "nodes": relabelled.node_count(), "like": like})

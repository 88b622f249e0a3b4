"""Commands that print what the analyses find."""

from __future__ import annotations

import enum
import json
from typing import Annotated

import typer

from ...analysis import (
    check_units,
    find_hidden_groups,
    find_hidden_param_op_relations,
    relation_diagnostics,
)
from ...analysis import cost as find_cost
from ...analysis import why as explain
from ...analysis.learning.options import LearningOptions
from ...analysis.learning.plan import Algorithm
from ...analysis.learning.planning import plan_learning
from ..output import AsJson, nothing_in, print_facts, print_json, print_text, progress
from ..reading import ProgramFile, read_program

__all__ = ["cost", "groups", "learner", "relations", "units", "why"]


def groups(program: ProgramFile, as_json: AsJson = False) -> None:
    """Find the hidden states that update together, position by position."""
    loaded = read_program(program, constants=False)
    with progress("Finding hidden groups"):
        found = find_hidden_groups(loaded)
    print_facts(found, as_json=as_json, none=nothing_in(loaded, "the program has no hidden states"))


def relations(program: ProgramFile, as_json: AsJson = False) -> None:
    """Find the weight operations and the hidden states that they reach, and say what is left out."""
    loaded = read_program(program, constants=False)
    with progress("Finding relations"):
        found = find_hidden_param_op_relations(loaded)
        left_out = relation_diagnostics(loaded)
    if as_json:
        listed = {"relations": found, "diagnostics": left_out}
        print_json({name: [json.loads(each.to_json()) for each in facts] for name, facts in listed.items()})
        return
    print_facts(found, as_json=False, none=nothing_in(loaded, "no parameter reaches a hidden state"))
    if left_out:
        print_text("")
        print_facts(left_out, as_json=False)


def cost(program: ProgramFile, as_json: AsJson = False) -> None:
    """Count operations, bytes, live memory and eligibility traces, before anything is compiled."""
    loaded = read_program(program, constants=False)
    with progress("Counting"):
        found = find_cost(loaded)
    print_facts(found, as_json=as_json)


class Numbers(enum.StrEnum):
    """What `brainir units` takes numbers without a unit for."""

    ANY = "any"
    DIMENSIONLESS = "dimensionless"


def units(
    program: ProgramFile,
    numbers: Annotated[
        Numbers,
        typer.Option(
            "--numbers", help="What literals and leaves without a unit stand for: quantities in any unit, or numbers."
        ),
    ] = Numbers.ANY,
    as_json: AsJson = False,
) -> None:
    """Say where physical units do not go together; exit code 1 if somewhere they do not."""
    loaded = read_program(program, constants=False)
    with progress("Checking units"):
        found = check_units(loaded, numbers=numbers.value)
    print_facts(found, as_json=as_json)
    if not found.ok:
        raise typer.Exit(1)


def why(
    program: ProgramFile,
    path: Annotated[
        str,
        typer.Argument(metavar="STATE", help="A state as `brainir show` prints it, dense.weight, or the end of it."),
    ],
    as_json: AsJson = False,
) -> None:
    """Say why a parameter is or is not learned online, or why a hidden state is in its group."""
    loaded = read_program(program, constants=False)
    with progress("Finding relations"):
        found = explain(loaded, path)
    print_facts(found, as_json=as_json)


def _decay(text: str) -> float:
    try:
        return int(text) if text.isdecimal() else float(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number") from None


def learner(
    program: ProgramFile,
    algorithm: Annotated[Algorithm, typer.Option("--algorithm", "-a", help="How traces are kept.")] = "d_rtrl",
    decay: Annotated[
        float | None,
        typer.Option(
            "--decay",
            metavar="DECAY",
            parser=_decay,
            help="For es_d_rtrl: a decay in [0, 1) such as 0.9, or a rank r such as 10, which is (r - 1) / (r + 1).",
        ),
    ] = None,
    window: Annotated[int | None, typer.Option("--window", help="Steps of a window, for d_rtrl.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say what an online learner would learn and how, and what it would not and why."""
    options = LearningOptions.of(algorithm, decay=decay, window=window)
    loaded = read_program(program)
    with progress("Planning the learner"):
        plan = plan_learning(loaded, options.algorithm, window=options.window is not None)
    print_facts(plan.report, as_json=as_json)

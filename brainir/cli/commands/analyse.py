"""Commands that print what the analyses find."""

from __future__ import annotations

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
from ...ir.program import Program
from ..output import AsJson, print_facts, print_json, print_text, progress
from ..reading import ProgramFile, read_program

__all__ = ["cost", "groups", "relations", "units", "why"]


def groups(program: ProgramFile, as_json: AsJson = False) -> None:
    """Find the hidden states that update in step."""
    loaded = read_program(program, constants=False)
    with progress("Finding hidden groups"):
        found = find_hidden_groups(loaded)
    print_facts(found, as_json=as_json, none=_nothing(loaded, "the program has no hidden states"))


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
    print_facts(found, as_json=False, none=_nothing(loaded, "no parameter reaches a hidden state"))
    if left_out:
        print_text("")
        print_facts(left_out, as_json=False)


def _nothing(program: Program, found: str) -> str:
    """Say that nothing was found, and why there can be nothing in a plain function."""
    if program.interface.kind != "function":
        return found
    return f"{found}: {program.entry} is a plain function; lower a module, or a pure step with lower --step"


def cost(program: ProgramFile, as_json: AsJson = False) -> None:
    """Count operations, bytes, live memory and eligibility traces, before anything is compiled."""
    loaded = read_program(program, constants=False)
    with progress("Counting"):
        found = find_cost(loaded)
    print_facts(found, as_json=as_json)


def units(program: ProgramFile, as_json: AsJson = False) -> None:
    """Say where physical units do not go together; exit code 1 if somewhere they do not."""
    loaded = read_program(program, constants=False)
    with progress("Checking units"):
        found = check_units(loaded)
    print_facts(found, as_json=as_json)
    if not found.ok:
        raise typer.Exit(1)


def why(
    program: ProgramFile,
    path: Annotated[str, typer.Argument(metavar="STATE", help="A state as `brainir show` prints it, dense.weight.")],
    as_json: AsJson = False,
) -> None:
    """Say why a parameter is or is not learned online, or why a hidden state is in its group."""
    loaded = read_program(program, constants=False)
    with progress("Finding relations"):
        found = explain(loaded, path)
    print_facts(found, as_json=as_json)

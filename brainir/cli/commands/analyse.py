"""Commands that print what the analyses find."""

from __future__ import annotations

import json

from ...analysis import (
    find_hidden_groups,
    find_hidden_param_op_relations,
    relation_diagnostics,
)
from ..output import AsJson, print_facts, print_json, print_text, progress
from ..reading import ProgramFile, read_program

__all__ = ["groups", "relations"]


def groups(program: ProgramFile, as_json: AsJson = False) -> None:
    """Find the hidden states that update in step."""
    loaded = read_program(program, constants=False)
    with progress("Finding hidden groups"):
        found = find_hidden_groups(loaded)
    print_facts(found, as_json=as_json, none="the program has no hidden states")


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
    print_facts(found, as_json=False, none="no parameter reaches a hidden state")
    if left_out:
        print_text("")
        print_facts(left_out, as_json=False)

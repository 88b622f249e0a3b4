"""Commands that show a program."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Annotated, Any

import typer

from ...ir.canonical import fingerprint
from ...ir.printer import format_function, format_path, format_program
from ...ir.program import Program
from ...ir.serialization import dumps
from ..output import AsJson, print_json, print_table, print_text, progress, write_text
from ..reading import ProgramFile, read_program

__all__ = ["show", "stats", "view"]


def show(
    program: ProgramFile,
    function: Annotated[str, typer.Option("--function", "-f", help="Show one function of the program.")] = "",
    as_json: AsJson = False,
) -> None:
    """Print a program."""
    loaded = read_program(program, constants=False)
    if function:
        chosen = loaded.function(function)
        print_json(chosen.model_dump(mode="json")) if as_json else print_text(format_function(chosen))
    else:
        print_text(dumps(loaded) if as_json else format_program(loaded))


def stats(program: ProgramFile, as_json: AsJson = False) -> None:
    """Count states, functions, operations and bytes."""
    facts = _statistics(read_program(program, constants=False))
    if as_json:
        print_json(facts)
        return
    states = facts.pop("states")
    operations = facts.pop("operations")
    print_table("", ("program", ""), [(name.replace("_", " "), value) for name, value in facts.items()])
    if states:
        print_text("")
        print_table("", ("role", "state", "value", "elements"), [tuple(state.values()) for state in states])
    print_text("")
    print_table("", ("operation", "nodes"), operations.items())


def _statistics(program: Program) -> dict[str, Any]:
    operations = Counter(node.op for function in program.functions for node in function.nodes)
    states = [
        {
            "role": state.role,
            "path": format_path(state.path),
            "values": ", ".join(value.type for value in values),
            "elements": sum(value.aval.size for value in values),
        }
        for state, values in program.state_inputs()
    ]
    return {
        "entry": program.entry,
        "kind": program.interface.kind,
        "fingerprint": fingerprint(program),
        "functions": len(program.functions),
        "nodes": program.node_count(),
        "depth": _depth(program),
        "parameters": sum(state["elements"] for state in states if state["role"] == "param"),
        "constant_bytes": program.constant_bytes(),
        "states": states,
        "operations": dict(sorted(operations.items(), key=lambda item: (-item[1], item[0]))),
    }


def _depth(program: Program) -> int:
    """Return the nodes on the longest path through the entry."""
    depth: dict[str, int] = {}
    for node in program.entry_function.nodes:
        level = 1 + max((depth.get(operand, 0) for operand in node.inputs), default=0)
        depth.update(dict.fromkeys(node.outputs, level))
    return max(depth.values(), default=0)


def view(
    program: ProgramFile,
    output: Annotated[
        str, typer.Option("--output", "-o", help="The page; by default beside the program. - is standard output.")
    ] = "",
    against: Annotated[
        str, typer.Option("--against", metavar="OLD", help="An older version, to show side by side.")
    ] = "",
    launch: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: AsJson = False,
) -> None:
    """Write a page to look at a program with: one HTML file that needs nothing else."""
    loaded = read_program(program, constants=False)
    older = read_program(against, constants=False) if against else None
    with progress(f"Drawing {loaded.entry}"):
        from ...view import to_html

        page = to_html(loaded, against=older)
    if not output:
        output = "-" if program == "-" else str(Path(program).with_suffix(".html"))
    write_text(page, output)
    if as_json and output != "-":
        print_json({"entry": loaded.entry, "page": output})
    if launch and output != "-":
        typer.launch(output)

"""Check the table of functions: names, references, what nothing refers to, and how deep functions run each other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from .interface_checks import is_name
from .program import Function, Program
from .violation import violation

__all__ = ["Mark", "check_table", "marks_of"]

_MAX_LEVELS = 200  # JAX traces fewer; analyses and emission follow calls by calls of their own


@dataclass(eq=False, repr=False, slots=True)
class Mark:
    """What a function that was verified keeps of it.

    Parameters
    ----------
    evaluated : tuple of str
        The functions that it runs.
    referred : tuple of str
        These and the derivative rules that it names.
    levels : int
        How deep it runs others, itself included.
    token : object
        Stands for the function with all that it leads to. Marks do not refer to each other, as rules can lead back to
        themselves.
    beside : list of object
        The tokens of the functions that it refers to.
    """

    evaluated: tuple[str, ...]
    referred: tuple[str, ...]
    levels: int = 0
    token: object = field(default_factory=object)
    beside: list[object] = field(default_factory=list)


def marks_of(table: dict[str, Function]) -> dict[str, Mark]:
    """Return the marks of the functions that were verified beside all that they lead to in this table."""
    # Another thread can verify a program that shares functions.
    found = {name: function.__dict__.get("_verified") for name, function in table.items()}
    marks: dict[str, Mark] = {name: mark for name, mark in found.items() if mark is not None}
    while True:
        tokens = {name: mark.token for name, mark in marks.items()}
        moved = [name for name, mark in marks.items() if [*map(tokens.get, mark.referred)] != mark.beside]
        if not moved:
            return marks
        for name in moved:
            del marks[name]


def check_table(program: Program, fresh: list[Function], marks: dict[str, Mark]) -> None:
    """Check names and references; add marks of the functions that were not verified before."""
    for function in fresh:
        if not is_name(function.name):
            raise violation(
                f"the function name {function.name!r} is not a Python identifier",
                "rename the function and its references; letters, digits and _ make a name",
            )
    table = program.table
    if program.entry not in table:
        raise violation(
            f"the entry {program.entry!r} is not in the table of functions", "add it or change Program.entry"
        )
    for function in fresh:
        marks[function.name] = Mark(*_references(function, table))
    _check_reachable(program, marks)
    for function in fresh:
        _find_levels(function.name, marks, table)


def _references(function: Function, table: dict[str, Function]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the functions that a function runs, and of those together with its derivative rules."""
    evaluated: dict[str, None] = {}
    referred: dict[str, None] = {}
    for index, node in enumerate(function.nodes):
        for attribute, names in node.references() if node.refers else ():
            for name in names:
                if name not in table:
                    raise violation(
                        f"{attribute} refers to a function {name!r} that the program does not have",
                        "add the function to the table or correct the reference",
                        function,
                        index,
                    )
                referred[name] = None
                if attribute not in node.rule_names():
                    evaluated[name] = None
    return tuple(evaluated), tuple(referred)


def _check_reachable(program: Program, marks: dict[str, Mark]) -> None:
    reached, pending = {program.entry}, [program.entry]
    while pending:
        for name in marks[pending.pop()].referred:
            if name not in reached:
                reached.add(name)
                pending.append(name)
    for function in program.functions if len(reached) < len(program.functions) else ():
        if function.name not in reached:
            raise violation(
                f"nothing refers to it, directly or indirectly, from the entry {program.entry!r}",
                "remove the function from the table",
                function,
            )


def _find_levels(start: str, marks: dict[str, Mark], table: dict[str, Function]) -> None:
    """Check that no function that `start` leads to runs itself, and note how deep each runs others."""
    # Functions that are being run, outermost first, each with the callees still to look at.
    path: dict[str, Iterator[str]] = {} if marks[start].levels else {start: iter(marks[start].evaluated)}
    while path:
        name, callees = next(reversed(path.items()))
        callee = next(callees, None)
        if callee is None:
            mark = marks[name]
            mark.levels = 1 + max([marks[each].levels for each in mark.evaluated], default=0)
            if mark.levels > _MAX_LEVELS:
                raise violation(
                    f"the functions that it runs nest more than {_MAX_LEVELS} levels deep",
                    "write a loop with scan or while in place of functions that run each other",
                    table[name],
                )
            del path[name]
        elif callee in path:
            chain = " -> ".join([*list(path)[list(path).index(callee) :], callee])
            raise violation(
                f"the functions run each other without end: {chain}",
                "a function cannot run itself; write a loop with scan or while",
                table[name],
            )
        elif not marks[callee].levels:
            path[callee] = iter(marks[callee].evaluated)

"""The walk of passes that rewrite one function at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...ir.calls import runs_first
from ...ir.program import Function, Program
from ...ir.sharing import reachable_functions

__all__ = ["rewrite_functions"]


def rewrite_functions(program: Program, rewrite: Callable[[Function, Mapping[str, Function]], Function]) -> Program:
    """Rewrite every function, those that it runs before it, and drop the functions that nothing refers to then.

    Parameters
    ----------
    program : Program
    rewrite : callable
        From a function, and the table with those that it runs already rewritten, to the new function; the old
        one where nothing changes.

    Returns
    -------
    Program
        `program` itself if no function changed.
    """
    table = dict(program.table)
    changed = False
    for function in runs_first(program.table, program.table):
        new = rewrite(function, table)
        changed = changed or new is not function
        table[function.name] = new
    return program.replace(functions=reachable_functions(table, program.entry)) if changed else program

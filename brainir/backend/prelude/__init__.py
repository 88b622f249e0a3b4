"""Small functions that generated modules begin with, as far as they need them; a callable runs some of them, too.

Their code is written into a module as it stands here. So it is short and without types, as the rest of a module is, and
finds what it names among the imports of this folder. Only names with one underscore are written.
"""

from __future__ import annotations

import ast
import functools
import inspect
from collections.abc import Iterator
from types import ModuleType, SimpleNamespace

from . import control, derivatives, given, interface, operations, quantities

__all__ = ["prelude", "prelude_code"]

_MODULES = (interface, given, control, derivatives, operations, quantities)

prelude = SimpleNamespace(
    **{
        name.removeprefix("_"): value
        for module in _MODULES
        for name, value in vars(module).items()
        if name.startswith("_") and not name.startswith("__")
    }
)
"""What an expression means by ``prelude.name``: ``_name`` in one of these modules."""


@functools.cache
def prelude_code() -> dict[str, str]:
    """Return the code of each of them by name; one can need those above it."""
    return {name: code for module in _MODULES for name, code in _definitions(module)}


def _definitions(module: ModuleType) -> Iterator[tuple[str, str]]:
    source = inspect.getsource(module)
    lines = source.splitlines()
    for part in ast.parse(source).body:
        match part:
            case ast.FunctionDef(name=name, decorator_list=decorators):
                first = min([part.lineno, *(each.lineno for each in decorators)])
            case ast.Assign(targets=[ast.Name(id=name)]) if name.startswith("_"):
                first = part.lineno
            case _:
                continue
        yield name, "\n".join(lines[first - 1 : part.end_lineno])

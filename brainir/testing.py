"""Checks for the tests of a model: budgets of its program, and a stored program that it is compared with."""

from __future__ import annotations

import difflib
import os
from collections.abc import Collection, Iterable, Sequence
from typing import TypeVar

from .analysis.difference import diff
from .analysis.groups import find_hidden_groups
from .analysis.relations import find_hidden_param_op_relations
from .ir.diff import relabel
from .ir.errors import AnalysisError, BrainIRError
from .ir.files import file_path, load, save
from .ir.model import StatePath
from .ir.ops import SCHEMAS
from .ir.printer import format_node, format_path
from .ir.program import Program, require_program
from .ir.types import TensorType

__all__ = ["ProgramCheckError", "assert_program", "check_snapshot"]

Paths = Collection[StatePath | str]
T = TypeVar("T")

_SHOWN = 5


class ProgramCheckError(BrainIRError, AssertionError):
    """A program is not what a test expects; the message lists every expectation that it misses."""


def assert_program(
    program: Program,
    *,
    max_nodes: int | None = None,
    no_ops: Collection[str] | str = (),
    max_bytes: int | None = None,
    groups: int | Sequence[Paths] | None = None,
    learned: Paths | str | None = None,
) -> None:
    """Check a program against budgets, all at once.

    Parameters
    ----------
    program : Program
    max_nodes : int, optional
        Most nodes in all functions together.
    no_ops : collection of str, or str
        Operations that no function may have, by the names that a printed program has for them.
    max_bytes : int, optional
        Most bytes of constants.
    groups : int, or sequence of collections of paths, optional
        The number of hidden groups, or the members of each, in any order. A path may be written with dots.
    learned : collection of paths, or str, optional
        The parameters that are related to a hidden state: these and no others. A single text is one path.

    Raises
    ------
    ProgramCheckError
        Which is an ``AssertionError``; it names each budget that is exceeded, with the nodes behind it.
    AnalysisError
        If groups or relations are asked for, and a state breaks the rules of a step, if something else stands where
        names or paths do, or if no operation has a name in `no_ops`, which would allow everything in silence.
    """
    require_program(program)
    problems = [*_size_problems(program, max_nodes, max_bytes), *_op_problems(program, _each(no_ops))]
    if groups is not None:
        problems += _group_problems(program, groups)
    if learned is not None:
        problems += _learned_problems(program, learned)
    if problems:
        raise ProgramCheckError("\n".join([f"program {program.entry}:", *(f"  {each}" for each in problems)]))


def _size_problems(program: Program, max_nodes: int | None, max_bytes: int | None) -> Iterable[str]:
    if max_nodes is not None and (count := program.node_count()) > max_nodes:
        parts = sorted(program.functions, key=lambda function: -len(function.nodes))[:_SHOWN]
        sizes = ", ".join(f"{function.name} {len(function.nodes)}" for function in parts)
        yield f"{count} nodes, more than max_nodes={max_nodes}; most are in {sizes}"
    if max_bytes is not None and (size := program.constant_bytes()) > max_bytes:
        constants = [constant for function in program.functions for constant in function.constants]
        largest = sorted(constants, key=lambda constant: -TensorType.parse(constant.type).nbytes)[:_SHOWN]
        sizes = ", ".join(f"{constant.name}: {constant.type}" for constant in largest)
        yield f"{size} bytes of constants, more than max_bytes={max_bytes}; the largest are {sizes}"


def _op_problems(program: Program, no_ops: Collection[str]) -> Iterable[str]:
    known = [op for schema in SCHEMAS for op in schema.ops()]
    for name in no_ops:
        if name not in known:
            close = ", ".join(difflib.get_close_matches(str(name), known))
            hint = f"is {close} meant?" if close else "a printed program and docs/primitives.md have their names"
            raise AnalysisError(f"no_ops: no operation is called {name!r}; {hint}")
    found = [
        f"{function.name}: {format_node(node)}" + (f"  # {node.source}" if node.source else "")
        for function in program.functions
        for node in function.nodes
        if node.op in no_ops
    ]
    if found:
        yield f"no_ops allows none of {', '.join(sorted(no_ops))}, but there are {len(found)}:"
        yield from (f"  {line}" for line in found[:_SHOWN])


def _group_problems(program: Program, groups: int | Sequence[Paths]) -> Iterable[str]:
    found = [{format_path(path) for path in group.hidden_paths} for group in find_hidden_groups(program)]
    listed = "; ".join(", ".join(sorted(members)) for members in found) or "none"
    if isinstance(groups, int):
        if len(found) != groups:
            yield f"{len(found)} hidden groups, not groups={groups}: {listed}"
    elif sorted(map(sorted, found)) != sorted(sorted(_texts(members)) for members in groups):
        wanted = "; ".join(", ".join(sorted(_texts(members))) for members in groups) or "none"
        yield f"hidden groups are {listed}, not {wanted}"


def _learned_problems(program: Program, learned: Paths | str) -> Iterable[str]:
    found = {format_path(relation.path) for relation in find_hidden_param_op_relations(program)}
    wanted = _texts(learned)
    if missing := sorted(wanted - found):
        yield f"learned names {', '.join(missing)}, which no relation leads to a hidden state"
    if more := sorted(found - wanted):
        yield f"{', '.join(more)} are related to hidden states, and learned does not name them"


def _texts(paths: Paths | str) -> set[str]:
    return {path if isinstance(path, str) else format_path(path) for path in _each(paths)}


def _each(given: Collection[T] | str) -> Collection[T | str]:
    """Take a single text for a collection of one: its letters are never meant."""
    if not isinstance(given, Collection):
        raise AnalysisError(f"a list of names or of paths was expected, not {given!r}")
    return (given,) if isinstance(given, str) else given


def check_snapshot(
    program: Program, path: str | os.PathLike[str], *, update: bool = False, create: bool = True
) -> None:
    """Compare a program with the one that is stored, and fail with what differs.

    Parameters
    ----------
    program : Program
    path : str or path
        The JSON file.
    update : bool
        Whether to store a program that differs. It takes the names and the order of the one that was there, so that a
        small edit makes a small change of the file.
    create : bool
        Whether to store the program where there is no file.

    Raises
    ------
    ProgramCheckError
        If the program means something else than the stored one, or if there is none.
    FormatError
        If the file cannot be read or written.
    """
    path = file_path(path)
    if not path.exists():
        if not (create or update):
            raise ProgramCheckError(f"there is no program {path}; run the test where it may be stored, and commit it")
        path.parent.mkdir(parents=True, exist_ok=True)
        save(program, path)
        return
    stored = load(path, constants=False)
    found = diff(stored, program)
    if found and not update:
        raise ProgramCheckError(
            f"the program is not the one in {path}; if it shall be, update=True or pytest --update-programs stores it\n"
            f"{found}"
        )
    if found:
        save(relabel(program, like=stored), path)

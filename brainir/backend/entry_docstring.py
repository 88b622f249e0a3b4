"""What the docstring of the entry of a generated module says: what it takes and returns, with types and units."""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.interface import Argument, State
from ..ir.model import StatePath
from ..ir.printer import format_path
from ..ir.program import Program
from ..ir.trees import LeafTree, leaf_paths
from ..ir.types import TensorType
from .layout import docstring

__all__ = ["entry_docstring", "written_type"]

_FIRST = {
    "function": "Compute {}.",
    "step": "Take one step of {}: return the new hidden states and the output.",
    "module": "Take one step of {}: return the new states and the output.",
}


def entry_docstring(program: Program) -> list[str]:
    """Return the lines of the docstring."""
    interface, entry = program.interface, program.entry_function
    kinds, results = iter(entry.input_types), iter(entry.output_types)
    owners: tuple[State | Argument, ...] = (*interface.states, *interface.arguments)
    sections = [_FIRST[interface.kind].format(program.entry)]
    if taken := [line for owner in owners for line in _described(owner, kinds)]:
        sections += ["", "Takes:", *taken]
    for state in interface.states:
        if state.returned:
            for _ in leaf_paths(state.tree):
                next(results)
    if given := [_line("", keys, next(results), leaf) for keys, leaf in leaf_paths(interface.result)]:
        sections += ["", "Result:" if interface.kind == "function" else "Output:", *given]
    trees = (*(owner.tree for owner in owners), interface.result)
    if any(leaf.unit is not None for tree in trees for _, leaf in leaf_paths(tree)):
        form = "Values with a unit are numbers in that unit or, if the first is, quantities of brainunit."
        sections += ["", form]
    return docstring(sections, 4)


def _described(owner: State | Argument, kinds: Iterator[TensorType]) -> Iterator[str]:
    if isinstance(owner, Argument):
        name = owner.name
    else:
        name = f"{'state' if owner.role == 'other' else owner.role} {format_path(owner.path)}"
    for keys, leaf in leaf_paths(owner.tree):
        yield _line(name, keys, next(kinds), leaf)


def _line(name: str, keys: StatePath, kind: TensorType, leaf: LeafTree) -> str:
    place = name + "".join(f"[{key!r}]" for key in keys)
    typed = written_type(kind) + (f", in {leaf.unit}" if leaf.unit is not None else "")
    return f"    {place}: {typed}" if place else f"    {typed}"


def written_type(kind: TensorType) -> str:
    """Return a type as a generated module writes it: ``float32[2, 3]``."""
    return f"{kind.dtype}{[*kind.shape]}"

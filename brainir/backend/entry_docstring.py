"""What the docstring of the entry of a generated module says: what it takes and returns, with types and units."""

from __future__ import annotations

from ..ir.interface import Argument, State
from ..ir.model import StatePath
from ..ir.printer import format_path
from ..ir.program import Program
from ..ir.trees import LeafTree, leaves
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
    sections = [_FIRST[interface.kind].format(program.entry)]
    taken = zip(interface.input_leaves(), entry.input_types, strict=True)
    if lines := [_line(_written(owner), keys, kind, leaf) for (owner, keys, leaf), kind in taken]:
        sections += ["", "Takes:", *lines]
    given = zip(interface.output_leaves(), entry.output_types, strict=True)
    if lines := [_line("", keys, kind, leaf) for (state, keys, leaf), kind in given if state is None]:
        sections += ["", "Result:" if interface.kind == "function" else "Output:", *lines]
    if any(leaf.unit is not None for tree in interface.trees() for leaf in leaves(tree)):
        form = "Values with a unit are numbers in that unit or, if the first is, quantities of brainunit."
        sections += ["", form]
    return docstring(sections, 4)


def _written(owner: State | Argument) -> str:
    if isinstance(owner, Argument):
        return owner.name
    return f"{'state' if owner.role == 'other' else owner.role} {format_path(owner.path)}"


def _line(name: str, keys: StatePath, kind: TensorType, leaf: LeafTree) -> str:
    place = name + "".join(f"[{key!r}]" for key in keys)
    typed = written_type(kind) + (f", in {leaf.unit}" if leaf.unit is not None else "")
    return f"    {place}: {typed}" if place else f"    {typed}"


def written_type(kind: TensorType) -> str:
    """Return a type as a generated module writes it: ``float32[2, 3]``."""
    return f"{kind.dtype}{[*kind.shape]}"

"""The record of one difference between two programs."""

from __future__ import annotations

from typing import Literal

from ..model import Model

__all__ = ["Change", "ChangeKind"]

ChangeKind = Literal[
    "added", "removed", "moved", "operation", "attribute", "operand", "constant", "type", "order", "function",
    "state", "role", "argument", "result", "unit", "interface",
]  # fmt: skip


class Change(Model):
    """One difference between an old and a new program.

    Names are those of the old program, and of ``relabel(new, like=old)`` for what is new.

    Parameters
    ----------
    kind : str
        ``added``, ``removed``: a node; ``moved``: a node that is in another scope or function, and otherwise the
        same; ``operation``: a node was replaced by another operation in the same place; ``attribute``; ``operand``: a
        node uses another value; ``constant``: other numbers, in a constant or a literal operand; ``type``: element
        type or shape of the result of a node; ``order``: of effects or of states; ``function``: was added or removed;
        ``state``, ``argument``, ``result``: added, removed, or of another path, structure or type; ``role`` of a
        state; ``unit`` of a leaf; ``interface``: the rest of it.
    function : str
        The function that holds it; empty for the interface.
    name : str
        The value, constant, state, argument or function.
    old_name, new_name : str
        What it is called in each program; empty where it does not exist.
    aspect : str
        The attribute, ``operand 1``, ``result 0`` or part of the interface.
    before, after : str
        Old and new value, as text.
    node : str
        The node, as programs print; the old one if it was removed.
    source : str
        The model's line.
    follows : bool
        Whether a type differs because that of an operand or an attribute of the node does, or, of an argument of a
        function that nodes refer to, because that of their operand does.
    max_abs_difference : float or None
        For constants of one shape whose data is there and whose difference is finite.
    """

    kind: ChangeKind
    function: str = ""
    name: str
    old_name: str = ""
    new_name: str = ""
    aspect: str = ""
    before: str = ""
    after: str = ""
    node: str = ""
    source: str = ""
    follows: bool = False
    max_abs_difference: float | None = None

    @property
    def counts(self) -> bool:
        """Whether the change is one of meaning: the scope of a node is not."""
        return not (self.kind == "moved" and self.aspect == "scope")

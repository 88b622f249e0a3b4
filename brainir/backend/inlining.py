"""Which values become part of the expression that uses them, so that statements read like ones that a person wrote.

The order in which a generated function runs its operations is that of the program: the order in which JAX adds up
gradients follows it, and sums of floating point numbers depend on theirs. So an operand moves into the expression of
its user only where nothing else runs between the two.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..ir.node import Node
from ..ir.program import Function
from ..ir.types import is_literal
from .expressions import Apply, DictOf, Expression, Item, Join, Lambda, ListOf, Operand, Splat, SplitAt, Tuple
from .layout import Doc, flat

__all__ = ["Pending", "evaluated", "fitting", "is_nameless", "use_counts"]

_NAMELESS = re.compile(r"v\d+")


@dataclass(frozen=True, slots=True)
class Pending:
    """A value that is not written yet, because its user may take it in.

    Parameters
    ----------
    name : str
    doc : Doc
        Its expression.
    binding : int
        How tightly the outermost operator of the expression binds.
    source : str
        The model's line.
    """

    name: str
    doc: Doc
    binding: int
    source: str

    @property
    def width(self) -> int:
        """Columns that the expression takes."""
        return len(flat(self.doc))


def use_counts(function: Function) -> Counter[str]:
    """Count how often each value is used, by nodes and as an output."""
    uses = Counter(name for node in function.nodes for name in node.inputs)
    uses.update(function.outputs)
    return uses


def is_nameless(node: Node) -> bool:
    """Whether a node has one result whose name says nothing."""
    return len(node.outputs) == 1 and _NAMELESS.fullmatch(node.outputs[0]) is not None


def evaluated(expression: Expression) -> Iterator[str | None]:
    """Yield the values that an expression reads, in the order in which Python does; None where that is not known."""
    match expression:
        case Operand(name, as_array):
            if as_array:
                yield None
            elif not is_literal(name):
                yield name
        case Apply(function, arguments, keywords):
            for part in (function, *arguments, *keywords.values()):
                yield from evaluated(part)
        case Tuple(items) | ListOf(items) | DictOf(_, items):
            for part in items:
                yield from evaluated(part)
        case Splat(value) | SplitAt(value, _) | Join(value) | Item(value, _):
            yield from evaluated(value)
        case Lambda():
            # Runs later, and perhaps many times.
            yield None


def fitting(pending: Sequence[Pending], read: Sequence[str | None], source: str | None) -> int:
    """Return how many of the last pending values an expression can take in.

    Parameters
    ----------
    pending : sequence of Pending
        In the order in which they run.
    read : sequence of str or None
        What the expression reads, in order; see :func:`evaluated`.
    source : str or None
        The line of the expression; values of other lines stay where they are. None if all may go.
    """
    if None in read:
        return 0
    last, count = len(read), 0
    for each in reversed(pending):
        if each.name not in read or (source is not None and each.source not in ("", source)):
            break
        place = read.index(each.name)
        if place >= last:
            break
        last, count = place, count + 1
    return count

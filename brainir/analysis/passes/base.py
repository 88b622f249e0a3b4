"""What a pass is: a function from valid IR to valid IR, with what it promises and what it did."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from ...ir.node import Node
from ...ir.program import Program
from ..diagnostics import Diagnostic
from ..facts import Facts

__all__ = ["Pass", "PassResult", "Precision", "substituted"]

Precision = Literal["bits", "rounding"]


class PassResult(Facts):
    """What a pass made of a program.

    Parameters
    ----------
    name : str
        The pass.
    modified : bool
        Whether the program changed.
    counts : tuple of pairs of str and int
        What was done how often, such as ``("removed", 3)``.
    caveats : tuple of Diagnostic
        What a reader of the new program should know, and what was left alone, each with a stable code.
    program : Program
        The new program; the old one itself if it did not change.
    """

    name: str
    modified: bool
    counts: tuple[tuple[str, int], ...] = ()
    caveats: tuple[Diagnostic, ...] = ()
    program: Program

    def _inside(self) -> dict[str, object]:
        return {
            "name": self.name,
            "modified": self.modified,
            "counts": dict(self.counts),
            "caveats": [each._inside() for each in self.caveats],
        }

    @property
    def summary(self) -> str:
        """The counts on one line."""
        return ", ".join(f"{what}: {count}" for what, count in self.counts) or "nothing to do"

    def __repr__(self) -> str:
        lines = [f"{self.name}: {self.summary}"]
        lines += [f"  {line}" for each in self.caveats for line in repr(each).splitlines()]
        return "\n".join(lines)


class Pass(ABC):
    """A rewrite of programs.

    A subclass gives `name`, declares what it keeps, and defines :meth:`run`. The runner verifies the program
    before and after, and checks what is declared.

    Attributes
    ----------
    name : str
        What :func:`run_passes` calls it.
    keeps_interface : bool
        The interface and the entry's signature, weak types included, stay the same.
    keeps_effects : bool
        Each effectful operation runs as often as before. Checked only where the pass moves no bodies: the
        number of effectful nodes stays the same.
    only_removes : bool
        There are never more nodes afterwards.
    values, gradients : {"bits", "rounding"}
        Whether results, and derivatives of every order, stay the same to the bit when operations run one by one,
        or up to rounding. A compiler that fuses operations may round differently all the same.
    """

    name: ClassVar[str]
    keeps_interface: ClassVar[bool] = True
    keeps_effects: ClassVar[bool] = True
    only_removes: ClassVar[bool] = False
    values: ClassVar[Precision] = "bits"
    gradients: ClassVar[Precision] = "bits"

    @abstractmethod
    def run(self, program: Program) -> PassResult:
        """Rewrite a verified program."""

    def result(
        self,
        before: Program,
        after: Program,
        counts: Mapping[str, int] | None = None,
        caveats: Sequence[Diagnostic] = (),
    ) -> PassResult:
        """Return what the pass made; `after` is `before` itself if nothing changed. Counts of 0 are left out."""
        return PassResult(
            name=self.name,
            modified=after is not before,
            counts=tuple((what, count) for what, count in (counts or {}).items() if count),
            caveats=tuple(caveats),
            program=after,
        )


def substituted(node: Node, names: Mapping[str, str]) -> Node:
    """Return a node with operands replaced; the node itself if none is."""
    if not names or not any(operand in names for operand in node.inputs):
        return node
    return node.model_copy(update={"inputs": tuple(names.get(operand, operand) for operand in node.inputs)})

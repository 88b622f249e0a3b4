"""What lowering one program has in hand, wherever in the program it is."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import jax
import numpy as np

from ..ir.program import Function
from .derivatives.rule_lowering import RuleLowering
from .externals import ExternalNames
from .foreign.primitives import ForeignPrimitives
from .keys.function_keys import FunctionKeys
from .keys.lowering_keys import LoweringKeys
from .memory.nested import NestedFunctions
from .memory.remembering import RuleMemory
from .table import Table

__all__ = ["Session"]


class ArrayBytes:
    """The bytes of arrays, the same object wherever an array is the same value of JAX."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, bytes]] = {}

    def of(self, value: Any, array: np.ndarray[Any, Any]) -> bytes:
        """Return the bytes of an array that is a value of a jaxpr."""
        known = self._known.get(id(value))
        if known is None:
            # The value is kept alive, because its id is the key. One of numpy can change while rules are traced.
            known = value, np.ascontiguousarray(array).tobytes()
            if isinstance(value, jax.Array):
                self._known[id(value)] = known
        return known[1]


class Session:
    """What is there once for a program, or for rules that are lowered apart from one.

    Parameters
    ----------
    keep : collection of str
        Names of primitives that are left as they are.
    around : Session, optional
        That of the program, for rules that are lowered apart.

    Attributes
    ----------
    is_apart : bool
        Whether it is for nothing but rules.
    table : Table
        The functions so far.
    problems : list of str
        What cannot be lowered.
    arrays : ArrayBytes
    externals : ExternalNames
        What is called on the host.
    memory : RuleMemory
        What was lowered in other programs.
    nested : NestedFunctions
        The functions by the jaxprs that they come from.
    rules : RuleLowering
        What equations run by rules.
    foreign : ForeignPrimitives
        Primitives of other packages.
    """

    def __init__(self, keep: Collection[str], around: Session | None = None) -> None:
        lasting, within = FunctionKeys(), LoweringKeys()
        self.keep = frozenset(keep)
        self.is_apart = around is not None
        self.table = Table()
        self.problems: list[str] = []
        self.arrays: ArrayBytes = ArrayBytes() if around is None else around.arrays
        self.externals = ExternalNames(lasting, within)
        self.memory = RuleMemory(self.keep, lasting)
        self.nested = NestedFunctions(self.table, self.memory, self.keep)
        self.rules = RuleLowering(self.memory, within)
        self.foreign = ForeignPrimitives(self.rules)

    def tried(self, lower: Callable[[], Function]) -> Function | None:
        """Lower what is not part of the program; None, as if it had not been tried, if that cannot be done."""
        noted: tuple[dict[Any, Any], ...] = (
            self.nested.met,
            self.nested.kept,
            self.rules.known,
            self.foreign.functions,
        )
        before, problems = [each.copy() for each in noted], len(self.problems)
        whole = False
        try:
            function = lower()
            whole = len(self.problems) == problems
        finally:
            if not whole:
                # Where the program holds a part of it, too, that is still to be said.
                del self.problems[problems:]
                for each, held in zip(noted, before, strict=True):
                    each.clear()
                    each.update(held)
        return function if whole else None

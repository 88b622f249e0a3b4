"""Values that do not depend on any input: which those are, and what they are where indices have to be known."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from numpy.typing import NDArray

from ..ir.kept import kept
from ..ir.ops import Call
from ..ir.program import Function, Program
from ..ir.types import is_literal, literal_array
from .exact_arithmetic import computed

__all__ = ["Constants", "fixed_values"]

Array: TypeAlias = NDArray[Any]

_MAX_SIZE = 1 << 16


def fixed_values(function: Function) -> set[str]:
    """Return the values of a function that depend on none of its inputs, found once and kept with it."""

    def find() -> set[str]:
        found = {constant.name for constant in function.constants}
        for node in function.nodes:
            for operand in node.inputs:
                if operand not in found and not is_literal(operand):
                    break
            else:
                found.update(node.outputs)
        return found

    return kept(function, "_fixed_values", find)


class Constants:
    """Integer and boolean values of a function that depend on no input.

    Knows what indexing is made of: what :mod:`~brainir.analysis.exact_arithmetic` computes, and calls.

    Parameters
    ----------
    function : Function
    given : mapping
        Inputs of the function whose values are known, where it is called.
    program : Program, optional
        Holds the functions that its calls run; without it, results of calls are not known.
    """

    def __init__(
        self, function: Function, given: Mapping[str, Array] | None = None, program: Program | None = None
    ) -> None:
        self.function = function
        self.program = program
        self._known: dict[str, Array | None] = {**(given or {})}

    def __call__(self, operand: str) -> Array | None:
        """Return a value, or None if it depends on an input or is not of a kind that is followed."""
        if is_literal(operand):
            return literal_array(operand)
        if operand not in self._known:
            self._known[operand] = self._find(operand)
        return self._known[operand]

    def _find(self, name: str) -> Array | None:
        kind = self.function.type_of(name)
        if kind.size > _MAX_SIZE or kind.is_key or kind.is_inexact or kind.dtype == "float0":
            return None
        constant = self.function.constant_table.get(name)
        if constant is not None:
            return None if constant.data is None else constant.array()
        node = self.function.producers.get(name)
        if node is None:
            return None
        if isinstance(node, Call) and self.program is not None:
            callee = self.program.function(node.function)
            known = {own: self(operand) for own, operand in zip(callee.inputs, node.inputs, strict=True)}
            given = {own: each for own, each in known.items() if each is not None}
            return Constants(callee, given, self.program)(callee.outputs[node.outputs.index(name)])
        operands = []
        for operand in node.inputs:
            value = self(operand)
            if value is None:
                return None
            operands.append(value)
        results = computed(node, operands)
        return None if results is None else results[node.outputs.index(name)]

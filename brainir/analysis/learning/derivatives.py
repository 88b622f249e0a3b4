"""Which derivatives of a function are zero, or the same number at all positions, whatever its inputs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from ...ir.errors import BrainIRError
from ...ir.node import Node
from ...ir.ops import CustomJvp, CustomVjp, Gather
from ...ir.program import Function, Program
from ...ir.types import is_literal
from ..flow import acts_elementwise

__all__ = ["Derivative", "derivative_structure"]

Derivative = Literal["zero", "uniform", "any"]
"""What is known of a derivative: ``zero``; ``uniform``, one number for all positions; nothing."""

_UNIFORM_OPERANDS = 3


def derivative_structure(program: Program, seeds: Sequence[int]) -> tuple[tuple[Derivative, ...], ...]:
    """Return what is known of the derivative of each output with respect to some inputs.

    The function must act position by position on each of these inputs, so that a derivative is one number for
    each element of an output. The rules are those of the sum, product and chain rule: a sum of uniform
    derivatives is uniform; so is a uniform derivative times a value that is equal at all positions; a function
    of values that are all equal at all positions has a uniform derivative.

    Parameters
    ----------
    program : Program
        Its entry, calls inlined, is the function.
    seeds : sequence of int
        Places of the inputs.

    Returns
    -------
    tuple of tuples
        For each output, one entry for each seed.
    """
    function = program.entry_function
    flow = _Flow(program, function, len(seeds))
    for number, place in enumerate(seeds):
        row: list[Derivative] = ["zero"] * len(seeds)
        row[number] = "uniform"
        flow.known[function.inputs[place]] = tuple(row)
    flow.run()
    return tuple(flow.derivative(output) for output in function.outputs)


class _Flow:
    def __init__(self, program: Program, function: Function, count: int) -> None:
        self.program = program
        self.function = function
        zero: Derivative = "zero"
        self.zero = (zero,) * count
        self.known: dict[str, tuple[Derivative, ...]] = {}
        self.equal: set[str] = {name for name in function.inputs if function.type_of(name).size == 1}
        for constant in function.constants:
            if self._is_equal(constant.name):
                self.equal.add(constant.name)

    def _is_equal(self, name: str) -> bool:
        if self.function.type_of(name).size == 1:
            return True
        constant = next(each for each in self.function.constants if each.name == name)
        try:
            array = constant.array()
        except BrainIRError:
            # Data that was left out of the file is not known to be equal.
            return False
        return bool(array.size) and bool(np.all(array == array.reshape(-1)[0]))

    def run(self) -> None:
        for node in self.function.nodes:
            derivatives = self._derivatives(node)
            equal = self._result_is_equal(node)
            for name in node.outputs:
                kind = self.function.type_of(name)
                self.known[name] = derivatives if kind.is_inexact else self.zero
                if equal or kind.size == 1:
                    self.equal.add(name)

    def derivative(self, operand: str) -> tuple[Derivative, ...]:
        return self.known.get(operand, self.zero)

    def is_equal(self, operand: str) -> bool:
        """Whether a value is known to be the same at all positions."""
        return is_literal(operand) or operand in self.equal

    def _result_is_equal(self, node: Node) -> bool:
        if not node.inputs or not all(map(self.is_equal, node.inputs)):
            return False
        if node.op == "pad" or isinstance(node, Gather) or node.op == "concatenate":
            return False
        if node.traits.structural or node.traits.elementwise:
            return True
        kinds = [self.function.type_of(operand) for operand in node.inputs]
        return isinstance(node, CustomJvp | CustomVjp) and acts_elementwise(node, kinds, self.program)

    def _derivatives(self, node: Node) -> tuple[Derivative, ...]:
        operands = [self.derivative(operand) for operand in node.inputs]
        if node.traits.blocks_gradient or all(each == self.zero for each in operands):
            return self.zero
        return tuple(self._entry(node, [each[seed] for each in operands]) for seed in range(len(self.zero)))

    def _entry(self, node: Node, given: list[Derivative]) -> Derivative:
        """Apply the rule of one operation to the derivatives of its operands."""
        if all(each == "zero" for each in given):
            return "zero"
        if "any" in given:
            return "any"
        equal = [self.is_equal(operand) for operand in node.inputs]
        if node.op in ("add", "add_any", "sub"):
            return "uniform"
        if node.op == "mul":
            return self._if(all(equal[1 - place] for place, each in enumerate(given) if each == "uniform"))
        if node.op == "div":
            return self._if(equal[1] and (given[1] == "zero" or equal[0]))
        if node.op == "select_n":
            # A branch without derivative differs from one with, unless the choice is the same everywhere.
            return self._if(equal[0])
        if node.op in ("max", "min", "clamp") or len(node.inputs) > _UNIFORM_OPERANDS:
            return self._if(all(equal))
        single = len(node.inputs) == 1
        moves = single and node.traits.structural
        linear = single and node.traits.elementwise and node.traits.linear == (0,)
        return self._if(moves or linear or (node.traits.elementwise and all(equal)))

    @staticmethod
    def _if(uniform: bool) -> Derivative:
        return "uniform" if uniform else "any"


def matrix(rows: Mapping[int, tuple[Derivative, ...]]) -> str:
    """Write a structure as text: ``.`` zero, ``u`` uniform, ``x`` any."""
    letters = {"zero": ".", "uniform": "u", "any": "x"}
    return "\n".join("".join(letters[each] for each in row) for row in rows.values())

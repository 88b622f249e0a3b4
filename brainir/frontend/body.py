"""One jaxpr to one function of a program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import jax

from ..ir.node import Node
from ..ir.ops import schema_of
from ..ir.program import Constant, Function
from ..ir.types import literal_text
from . import jax_compat
from .jax_compat import OpenJaxpr
from .rules import Attributes, has_sharding
from .sources import is_model_file, source_of

__all__ = ["Body", "EquationTable"]


class EquationTable(Protocol):
    """What lowers the equations of all jaxprs of a program."""

    def lower_equation(self, equation: Any, source: str) -> tuple[str, Attributes]:
        """Return operation and attributes of an equation at a line of the model."""


class Body:
    """Lowers the equations of one jaxpr."""

    def __init__(
        self, lowering: EquationTable, jaxpr: OpenJaxpr, inputs: Sequence[str], outputs: dict[int, str]
    ) -> None:
        self._lowering = lowering
        self._jaxpr = jaxpr
        self._operands: dict[Any, str] = {}
        self._taken: set[str] = set()
        self._count = 0
        self._constants: list[Constant] = []
        self._keeps_sources = bool(inputs) or is_model_file(jaxpr.function_file)
        names = inputs or [f"x{index}" for index in range(len(jaxpr.invars))]
        self._inputs = tuple(map(self._name, names))
        self._operands.update(zip(jaxpr.invars, names, strict=True))
        for var, value in zip(jaxpr.constvars, jaxpr.consts, strict=True):
            self._operands[var] = self._constant(var.aval, value)
        results = {index: var for index, var in enumerate(jaxpr.outvars) if not jax_compat.is_literal(var)}
        self._wanted = {results[index]: name for index, name in reversed(outputs.items()) if index in results}

    def _name(self, name: str) -> str:
        self._taken.add(name)
        return name

    def _constant(self, aval: Any, value: Any) -> str:
        kind = jax_compat.tensor_type(aval)
        array = jax_compat.constant_array(value, kind)
        if kind.shape == () and not kind.is_key and kind.dtype != "float0":
            return literal_text(array, kind.weak_type)
        name = self._name(f"c{len(self._constants)}")
        self._constants.append(Constant.of(name, kind, array))
        return name

    def function(self, name: str) -> Function:
        """Return the lowered function."""
        equations = (equation for equation in self._jaxpr.equations if not self._is_passed_on(equation))
        nodes = tuple(map(self._node, equations))
        outputs = tuple(map(self._operand, self._jaxpr.outvars))
        fields = {
            "name": name,
            "inputs": self._inputs,
            "types": tuple([jax_compat.type_text(var.aval) for var in self._jaxpr.invars]),
            # Operands and outputs can be constants too.
            "constants": tuple(self._constants),
            "nodes": nodes,
            "outputs": outputs,
        }
        return Function.checked(fields)

    def _is_passed_on(self, equation: Any) -> bool:
        """Whether an equation only hands its operand on; JAX removes most of these itself, but not all."""
        if equation.primitive.name != "convert_element_type" or has_sharding(equation.params.get("sharding")):
            return False
        (operand,), (result,) = equation.invars, equation.outvars
        if jax_compat.type_text(operand.aval) != jax_compat.type_text(result.aval):
            return False
        self._operands[result] = self._operand(operand)
        return True

    def _operand(self, atom: Any) -> str:
        if not jax_compat.is_literal(atom):
            return self._operands[atom]
        if atom.aval.dtype == jax.dtypes.float0:
            return self._constant(atom.aval, atom.val)
        return jax_compat.literal_operand(atom)

    def _result(self, var: Any) -> str:
        name = self._wanted.get(var, "")
        while not name or name in self._taken:
            name = f"v{self._count}"
            self._count += 1
        self._taken.add(name)
        self._operands[var] = name
        return name

    def _node(self, equation: Any) -> Node:
        source = source_of(equation) if self._keeps_sources else ""
        op, attributes = self._lowering.lower_equation(equation, source)
        fields = {
            "op": op,
            "inputs": tuple([self._operand(atom) for atom in equation.invars]),
            "outputs": tuple([self._result(var) for var in equation.outvars]),
            "types": tuple([jax_compat.type_text(var.aval) for var in equation.outvars]),
            "scope": jax_compat.name_stack(equation),
            "source": source,
            **attributes,
        }
        return schema_of(op).checked(fields)

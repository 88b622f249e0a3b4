"""One jaxpr to one function of a program."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from ..ir.constant import Constant
from ..ir.node import Node
from ..ir.program import Function
from ..ir.types import literal_text
from . import jax_compat
from .foreign.equinox import operands_of
from .jax_compat import Literal, OpenJaxpr
from .mesh_regions import equations_here
from .parallel import laid_out, settled
from .rules.shardings import has_layout, is_explicit
from .sources import is_model_file, source_of

if TYPE_CHECKING:
    from .lowering import Lowering

__all__ = ["Body"]


class Body:
    """Lowers the equations of one jaxpr."""

    def __init__(self, lowering: Lowering, jaxpr: OpenJaxpr, inputs: Sequence[str], outputs: dict[int, str]) -> None:
        self._lowering = lowering
        self._jaxpr = jaxpr
        self._operands: dict[Any, str] = {}
        self._taken: set[str] = set()
        self._count = 0
        self._constants: list[Constant] = []
        self._laid_out_constants: list[Node] = []
        self._arrays: dict[int, str] = {}
        self._keeps_sources = bool(inputs) or is_model_file(jaxpr.function_file)
        names = inputs or [f"x{index}" for index in range(len(jaxpr.invars))]
        self._inputs = tuple(map(self._name, names))
        self._operands.update(zip(jaxpr.invars, names, strict=True))
        for var, value in _read(jaxpr):
            self._operands[var] = self._constant(var.aval, value)
        results = {index: var for index, var in enumerate(jaxpr.outvars) if not isinstance(var, Literal)}
        self._wanted = {results[index]: name for index, name in reversed(outputs.items()) if index in results}

    def _name(self, name: str) -> str:
        self._taken.add(name)
        return name

    def _constant(self, aval: Any, value: Any) -> str:
        kind = jax_compat.tensor_type(aval)
        self._note(value)
        array = jax_compat.constant_array(value, kind)
        if kind.shape == () and not kind.is_key and kind.dtype != "float0":
            return self._on_mesh(literal_text(array, kind.weak_type), aval)
        count = len(self._constants)
        while f"c{count}" in self._taken:
            count += 1
        name = self._name(f"c{count}")
        self._constants.append(Constant(name=name, type=str(kind), data=self._lowering.session.arrays.of(value, array)))
        return self._on_mesh(name, aval)

    def _on_mesh(self, constant: str, aval: Any) -> str:
        """Return the name of a constant or literal on the explicit axes of a mesh, if the program found it there."""
        if not is_explicit(aval.sharding.mesh):
            return constant
        name = f"{constant}_on_mesh" if constant in self._taken else "scalar_on_mesh"
        while name in self._taken:
            name += "_"
        self._laid_out_constants.append(laid_out(constant, self._name(name), aval))
        return name

    def _note(self, value: Any) -> None:
        array = jax_compat.numpy_array(value)
        if array is not None:
            self._lowering.dependencies.read(array)

    def function(self, name: str) -> Function:
        """Return the lowered function."""
        constants = {*self._jaxpr.constvars}
        nodes = [
            self._node(equation)
            for equation in (settled(equation, constants) for equation in equations_here(self._jaxpr))
            if equation.primitive.name != "convert_element_type" or not self._is_passed_on(equation)
        ]
        outputs = self._operands_of(self._jaxpr.outvars)
        fields = {
            "name": name,
            "inputs": self._inputs,
            "types": jax_compat.type_texts(self._jaxpr.invars),
            # Operands and outputs can be constants too.
            "constants": tuple(self._constants),
            "outputs": outputs,
        }
        return Function.of_nodes((*self._laid_out_constants, *nodes), fields)

    def _is_passed_on(self, equation: Any) -> bool:
        """Whether a conversion only hands its operand on; JAX removes most of these itself, but not all."""
        if has_layout(equation.params.get("sharding")):
            return False
        (operand,), (result,) = equation.invars, equation.outvars
        if jax_compat.type_text(operand.aval) != jax_compat.type_text(result.aval):
            return False
        (self._operands[result],) = self._operands_of([operand])
        return True

    def _operands_of(self, atoms: Sequence[Any]) -> tuple[str, ...]:
        operands = self._operands
        return tuple([self._literal(atom) if isinstance(atom, Literal) else operands[atom] for atom in atoms])

    def _literal(self, atom: Any) -> str:
        kind = atom.aval
        if not kind.shape and isinstance(kind.dtype, np.dtype) and kind.dtype != jax.dtypes.float0:
            self._note(atom.val)
            if not is_explicit(kind.sharding.mesh):
                return jax_compat.literal_operand(atom)
        # An array of JAX on explicit axes; with jax_use_simplified_jaxpr_constants, JAX has all arrays as literals.
        name = self._arrays.get(id(atom.val))
        if name is None:
            name = self._arrays[id(atom.val)] = self._constant(kind, atom.val)
        return name

    def _results_of(self, variables: Sequence[Any]) -> tuple[str, ...]:
        names = []
        for var in variables:
            name = self._wanted.get(var) if self._wanted else None
            while name is None or name in self._taken:
                name = f"v{self._count}"
                self._count += 1
            self._operands[var] = name
            names.append(name)
        if self._wanted:
            self._taken.update(names)
        return tuple(names)

    def _node(self, equation: Any) -> Node:
        source = source_of(equation) if self._keeps_sources else ""
        node = self._lowering.equation(equation, source)
        inputs, results = self._operands_of(operands_of(equation)), equation.outvars
        types = jax_compat.type_texts(results)
        return node.placed(inputs, self._results_of(results), types, jax_compat.name_stack(equation), source)


def _read(jaxpr: OpenJaxpr) -> list[tuple[Any, Any]]:
    """Return the constants that anything reads: JAX leaves those of a function in what it splits off from it."""
    constants = list(zip(jaxpr.constvars, jaxpr.consts, strict=True))
    if not constants:
        return []
    atoms = itertools.chain(jaxpr.outvars, *(equation.invars for equation in jaxpr.equations))
    seen = {atom for atom in atoms if not isinstance(atom, Literal)}
    return [(var, value) for var, value in constants if var in seen]

"""Programs to Python source: one module that needs jax and numpy, and a person can read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..ir.errors import EmissionError
from ..ir.files import file_path
from ..ir.ops import RandomBits, RandomGamma, RandomSplit, UseMesh
from ..ir.program import Function, Program
from ..ir.types import TensorType, is_literal, literal_type
from ..ir.verifier import ensure_verified
from .bindings import batching_rule_names, custom_call_names, external_names
from .boundary import Boundary, leading_names
from .constants import ModuleConstants
from .definitions import Definitions
from .entry_docstring import entry_docstring
from .layout import call, display, lines, pair, statement
from .prelude import prelude_code
from .printing import FunctionPrinter
from .references import References
from .scope import ModuleScope

__all__ = ["save_source", "to_source"]


def to_source(program: Program) -> str:
    """Write a program as one Python module that imports only jax, numpy and the standard library.

    Parameters
    ----------
    program : Program

    Returns
    -------
    str
        A module that defines a function named ``program.entry`` with the arguments and results of
        ``to_callable(program)``. Values with a physical unit can also be passed as plain numbers in the unit
        that the docstring names; results then are plain numbers too. Namedtuples and dataclasses of the
        result are of the class of an argument, or of one that the module defines. The 64-bit setting of JAX,
        and the one of random bits where some are drawn, must be those that the program was lowered with, or the
        function says so.

    Raises
    ------
    VerificationError
        If the program breaks an invariant.
    EmissionError
        If it holds something that cannot be written: constants whose data was left out, fields of a result
        that a class cannot have.

    Notes
    -----
    The module computes the same to the bit under ``jax.jit`` on the CPU; derivatives of a backward pass with a barrier
    can be rounded otherwise. Lowered again it is another program where
    a public function of JAX writes down something else than it was given, which `to_callable` does not let it do:

    - ``lax.scan`` and ``lax.while_loop`` leave out constants that the body does not need, and put the others in the
      order in which it does; equal ones are copied. Derivatives and batches of loops have them in another order.
    - ``jax.checkpoint`` cannot say that it stands in a backward pass. The barrier that JAX puts there is written as
      ``lax.optimization_barrier``.
    - ``lax.while_loop`` takes no condition of a batch: the loop goes on while any member does.
    - ``lax.custom_linear_solve`` transposes its product itself, but for one with a derivative rule.
    - ``lax.platform_dependent`` asks for the platform each time, where a derivative asks once.
    - The places of elements in two words (``iota_2x32_shape``) are computed from ``lax.iota``.
    - A namedtuple or dataclass that only the result has is a class of the module.
    """
    ensure_verified(program)
    return _Module(program).text()


def save_source(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a program as a Python module, with its large constants in an ``.npz`` file beside it.

    Parameters
    ----------
    program : Program
    path : str or path
        Where the module goes, ``model.py``; constants of more than 1 KiB go to ``model.npz``, as bytes.

    Raises
    ------
    VerificationError
        If the program breaks an invariant.
    EmissionError
        If it holds something that cannot be written, or a file cannot be written.
    """
    ensure_verified(program)
    path = file_path(path)
    if path.suffix != ".py":
        raise EmissionError(f"cannot write source to {path}; the name must end in .py")
    weights: dict[str, np.ndarray[Any, Any]] = {}
    text = _Module(program, weights).text()
    try:
        if weights:
            np.savez(path.with_suffix(".npz"), **weights)  # type: ignore[arg-type]  # names, not allow_pickle
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EmissionError(f"cannot write {path}: {error.strerror or error}") from error


class _Module:
    """One generated module."""

    def __init__(self, program: Program, weights: dict[str, np.ndarray[Any, Any]] | None = None) -> None:
        self._program = program
        leading = leading_names(program.interface)
        self._parameters = (*leading, *(argument.name for argument in program.interface.arguments))
        self._is_wide = any(kind.is_wide for function in program.functions for kind in _kinds(function))
        self._scope = ModuleScope((program.entry, *self._parameters))
        self._constants = ModuleConstants(self._scope, self._is_wide, weights)
        self._table = References(program, self._scope)
        self._definitions = Definitions(program, self._constants, self._table)

    def text(self) -> str:
        """Return the module."""
        scope = self._scope
        functions = [line for name in self._table.order for line in self._definitions.define(name)]
        entry_function = self._program.entry_function
        printer = self._definitions.printer(entry_function, self._parameters, entry_function.inputs)
        boundary = Boundary(self._program, self._constants, printer)
        entry = list(self._entry(boundary, printer))
        # From the last helper on, because one can need those above it.
        helpers = [scope.localized(code) for name, code in reversed(prelude_code().items()) if scope.uses(name)]
        stored = _weights(scope) if scope.uses("WEIGHTS") else []
        tables = [
            *stored,
            *self._bound(),
            *(boundary.units() if scope.uses("UNITS") else []),
            *self._constants.mesh_definitions,
            *self._arrays(),
        ]
        title = f'"""{self._program.entry}: a JAX function, written by brainir from its IR."""'
        top = [[title], *_import_blocks(scope.imports())]
        if not helpers:
            top.append(tables)
        text = "\n\n".join("\n".join(block) for block in top if block)
        defined = ["", "", *tables] if tables and helpers else []
        defined += [*boundary.class_lines, *functions, *entry]
        return "\n".join([text, *(f"\n\n{code}" for code in reversed(helpers)), *defined]) + "\n"

    def _arrays(self) -> list[str]:
        """Return the lines that define the constants of the module."""
        lines = self._constants.definitions
        if not (lines and any(isinstance(node, UseMesh) for each in self._program.functions for node in each.nodes)):
            return lines
        # What runs on automatic axes takes none that are on the explicit axes of a mesh around the module.
        no_mesh = f"{self._scope.use('jax')}.sharding.Mesh({self._scope.use('np')}.array(None), ())"
        return [f"with {self._scope.use('jax')}.set_mesh({no_mesh}):", *(f"    {line}" for line in lines)]

    def _bound(self) -> Iterator[str]:
        """Yield the tables that the caller fills with what the program only names."""
        names = {
            "EXTERNALS": external_names(self._program),
            "BATCHING_RULES": batching_rule_names(self._program),
            "PRIMITIVES": custom_call_names(self._program),
        }
        for table, wanted in names.items():
            if wanted:
                items = [pair(self._scope.plain(name), ("None",)) for name in wanted]
                yield from statement((f"{self._scope.use(table)} = ", *display(items, "{}")), 0)

    def _entry(self, boundary: Boundary, printer: FunctionPrinter) -> Iterator[str]:
        # The nodes come last here, because only they tell which checks are needed.
        unpacked = list(boundary.unpack())
        nodes = list(printer.body())
        packed = list(boundary.pack())
        yield from ("", "")
        yield from lines((f"def {self._program.entry}", *call((), boundary.parameters), ":"), 0)
        yield from entry_docstring(self._program)
        yield from self._setting_checks()
        yield from (*unpacked, *nodes, *packed)

    def _setting_checks(self) -> Iterator[str]:
        if self._is_wide or self._constants.has_python_numbers:
            yield from self._setting_check("jax_enable_x64", self._is_wide)
        nodes = (node for function in self._program.functions for node in function.nodes)
        drawn = {node.partitionable for node in nodes if isinstance(node, RandomBits | RandomGamma | RandomSplit)}
        if len(drawn) > 1:
            raise EmissionError(
                "the program draws random numbers under both values of jax_threefry_partitionable, and a module has "
                "one; lower it under one, or use to_callable"
            )
        for partitionable in drawn:
            yield from self._setting_check("jax_threefry_partitionable", partitionable)

    def _setting_check(self, name: str, value: bool) -> Iterator[str]:
        yield f"    if {'not ' if value else ''}{self._scope.use('jax')}.config.{name}:"
        reason = f'"set {name} to {value}, as it was for this program"'
        yield f"        raise {self._scope.use('RuntimeError')}({reason})"


def _kinds(function: Function) -> Iterator[TensorType]:
    """Yield the types of all values and literals of a function."""
    yield from map(TensorType.parse, function.value_types.values())
    for operand in (*function.outputs, *(operand for node in function.nodes for operand in node.inputs)):
        if is_literal(operand):
            yield literal_type(operand)


def _weights(scope: ModuleScope) -> list[str]:
    name, path = scope.use("WEIGHTS"), f'{scope.use("pathlib")}.Path(__file__).with_suffix(".npz")'
    return [f"with {scope.use('np')}.load({path}) as {name}:", f"    {name} = dict({name})"]


def _import_blocks(statements: Iterator[str]) -> list[list[str]]:
    """Return the imports of the standard library and those of jax and numpy."""
    blocks: list[list[str]] = [[], []]
    for line in statements:
        blocks[bool(re.match(r"(from|import) (jax|numpy)\b", line))].append(line)
    return blocks

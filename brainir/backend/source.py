"""Programs to Python source: one module that needs jax and numpy, and a person can read."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ..ir.errors import EmissionError
from ..ir.program import Function, Program
from ..ir.types import TensorType, is_literal, literal_type
from ..ir.verifier import verify
from .bindings import custom_call_names, external_names
from .boundary import Boundary, leading_names
from .expressions import CustomJvpOf, CustomVjpOf, FunctionOf, JitOf
from .hints import input_names, written_name
from .layout import Doc, call, commas, display, flat, lines, pair, statement
from .prelude import PRELUDE
from .printing import Callee, FunctionPrinter, callees
from .rules import expression_of
from .scope import WIDE, ModuleScope, unique

__all__ = ["save_source", "to_source"]

CustomOf: TypeAlias = CustomJvpOf | CustomVjpOf


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
        result are of the class of an argument, or of one that the module defines. The 64-bit setting of JAX
        must be the one that the program was lowered with, or the function says so.

    Raises
    ------
    VerificationError
        If the program breaks an invariant.
    EmissionError
        If it holds something that cannot be written: constants whose data was left out, fields of a result
        that a class cannot have.
    """
    verify(program)
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
    verify(program)
    path = Path(path)
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


@dataclass(frozen=True, slots=True)
class _Rule:
    """A derivative rule as values in, values out; what is written around it makes pytrees of them."""

    name: str
    inputs: list[str]
    body: list[str]
    outputs: list[Doc]
    note: str = ""


class _Module:
    """One generated module. It is the table in which functions look up each other."""

    def __init__(self, program: Program, weights: dict[str, np.ndarray[Any, Any]] | None = None) -> None:
        self._program = program
        leading = leading_names(program.interface)
        self._parameters = (*leading, *(argument.name for argument in program.interface.arguments))
        kinds = {kind.dtype for function in program.functions for kind in _kinds(function)}
        self._is_wide = bool(kinds & WIDE)
        self._scope = ModuleScope((program.entry, *self._parameters), self._is_wide, weights)
        self._references: dict[str, set[Callee]] = {function.name: set() for function in program.functions}
        self._roles: dict[str, list[CustomOf]] = {function.name: [] for function in program.functions}
        for function in program.functions:
            for node in function.nodes:
                for key in callees(expression_of(node, function.type_of)):
                    self._refer(key)
        self._order = self._definition_order()
        entry = {program.entry: f"{program.entry}_flat"}
        wanted = {name: entry.get(name) or written_name(program.function(name)) for name in self._order}
        self._names = {
            name: self._scope.new(name if wanted[name] in self._scope.taken else wanted[name]) for name in self._order
        }
        self._inputs = input_names(program)
        self._custom = {
            key: self._scope.new(f"{self._names[name]}_custom")
            for name in self._order
            for key in self._custom_keys(name)
            if self._decoration(name) != key
        }

    def _refer(self, key: Callee) -> None:
        if key not in self._references[key.function]:
            self._references[key.function].add(key)
            if isinstance(key, CustomOf):
                for rule in _rules(key):
                    self._roles[rule].append(key)

    def _definition_order(self) -> list[str]:
        """Return the functions to define before the entry, callees first; the entry too if it is called."""
        table = self._program.table
        done: dict[str, None] = {}
        path = [(self._program.entry, self._needed(table[self._program.entry]))]
        seen = {self._program.entry}
        while path:
            callee = next((callee for callee in path[-1][1] if callee not in seen), None)
            if callee is None:
                done[path.pop()[0]] = None
            else:
                seen.add(callee)
                path.append((callee, self._needed(table[callee])))
        entry = self._program.entry
        if not self._references[entry] and not self._roles[entry]:
            del done[entry]
        return list(done)

    def _needed(self, function: Function) -> Iterator[str]:
        """Yield what a function and its derivative rules, which are written below it, refer to."""
        for node in function.nodes:
            yield from node.callees()
        for key in self._custom_keys(function.name):
            yield from _rules(key)

    # The table of functions

    def callee(self, key: Callee) -> Doc:
        """See :class:`~brainir.backend.printing.FunctionTable`."""
        name = self._names[key.function]
        if isinstance(key, FunctionOf) or self._decoration(key.function) == key:
            return (name,)
        if isinstance(key, JitOf):
            return call((f"{self._scope.use('jax')}.jit",), [(name,)], self._jit_options(key))
        return (self._custom[key],)

    def returns_bare(self, function: str) -> bool:
        """See :class:`~brainir.backend.printing.FunctionTable`."""
        # What loops and branches call returns a tuple, as the carry is one.
        called_as_is = FunctionOf(function) in self._references[function]
        return len(self._program.function(function).outputs) == 1 and not called_as_is

    def result_types(self, function: str) -> list[TensorType]:
        """See :class:`~brainir.backend.printing.FunctionTable`."""
        return _signature(self._program.function(function))[1]

    def _decoration(self, function: str) -> JitOf | CustomJvpOf | CustomVjpOf | None:
        """Return what a function is always wrapped in, if it is, and in one thing only."""
        references = self._references[function]
        if len(references) != 1 or self._roles[function]:
            return None
        (key,) = references
        return None if isinstance(key, FunctionOf) else key

    def _is_only_rule(self, function: str) -> bool:
        return len(self._roles[function]) == 1 and not self._references[function]

    def _custom_keys(self, function: str) -> list[CustomOf]:
        return sorted((key for key in self._references[function] if isinstance(key, CustomOf)), key=repr)

    def _jit_options(self, key: JitOf) -> list[tuple[str, Doc]]:
        options = {"inline": key.inline, "keep_unused": key.keep_unused, "donate_argnums": key.donated}
        return [(name, self._scope.plain(value)) for name, value in options.items() if value]

    # The parts of the module

    def text(self) -> str:
        """Return the module."""
        scope = self._scope
        functions = [line for name in self._order for line in self._define(name)]
        printer = self._printer(self._program.entry_function, self._parameters, self._program.entry_function.inputs)
        boundary = Boundary(self._program, scope, printer)
        entry = list(self._entry(boundary, printer))
        # From the last helper on, because one can need those above it.
        helpers = [scope.localized(code) for name, code in reversed(PRELUDE.items()) if scope.uses(name)]
        stored = _weights(scope) if scope.uses("WEIGHTS") else []
        tables = [*stored, *self._bound(), *(boundary.units() if scope.uses("UNITS") else []), *scope.definitions()]
        top = [_title(self._program), *_import_blocks(scope.imports())]
        if not helpers:
            top.append(tables)
        text = "\n\n".join("\n".join(block) for block in top if block)
        defined = ["", "", *tables] if tables and helpers else []
        defined += [*boundary.class_lines, *functions, *entry]
        return "\n".join([text, *(f"\n{code.rstrip()}" for code in reversed(helpers)), *defined]) + "\n"

    def _bound(self) -> Iterator[str]:
        """Yield the tables that the caller fills with what the program only names."""
        names = {"EXTERNALS": external_names(self._program), "PRIMITIVES": custom_call_names(self._program)}
        for table, wanted in names.items():
            if wanted:
                items = [pair(self._scope.plain(name), ("None",)) for name in wanted]
                yield from statement((f"{self._scope.use(table)} = ", *display(items, "{}")), 0)

    def _printer(self, function: Function, reserved: Iterable[str] = (), arrays: Iterable[str] = ()) -> FunctionPrinter:
        names = self._inputs[function.name]
        return FunctionPrinter(function, self._scope, self, set(arrays), set(reserved), names)

    def _entry(self, boundary: Boundary, printer: FunctionPrinter) -> Iterator[str]:
        # The nodes come last here, because only they tell which checks are needed.
        unpacked = list(boundary.unpack())
        nodes = list(printer.body())
        packed = list(boundary.pack())
        yield from ("", "")
        yield from lines((f"def {self._program.entry}", *call((), boundary.parameters), ":"), 0)
        yield from boundary.docstring()
        yield from self._width_check()
        yield from (*unpacked, *nodes, *packed)

    def _width_check(self) -> Iterator[str]:
        if not self._is_wide and not self._scope.has_python_numbers:
            return
        setting = f"{self._scope.use('jax')}.config.jax_enable_x64"
        yield f"    if {'not ' if self._is_wide else ''}{setting}:"
        reason = f'"set jax_enable_x64 to {self._is_wide}, as it was for this program"'
        yield f"        raise {self._scope.use('RuntimeError')}({reason})"

    # Functions and their derivatives

    def _define(self, name: str) -> Iterator[str]:
        """Yield a function, what it is wrapped in, and its derivative rules."""
        decoration = self._decoration(name)
        local = self._names[name]
        if not self._is_only_rule(name):
            function = self._program.function(name)
            printer = self._printer(function)
            parameters = [(printer.name(value),) for value in function.inputs]
            body = list(printer.body())
            yield from ("", "", *self._decorator(decoration))
            yield from lines((f"def {local}", *call((), parameters), ":"), 0)
            yield from body
            yield from statement(("return ", *self._results(name, printer.outputs())), 4, printer.note)
        for key in self._custom_keys(name):
            if key != decoration:
                kind = "custom_jvp" if isinstance(key, CustomJvpOf) else "custom_vjp"
                yield from ("", "", f"{self._custom[key]} = {self._scope.use('jax')}.{kind}({local})")
            yield from self._jvp(key) if isinstance(key, CustomJvpOf) else self._vjp(key)

    def _decorator(self, key: JitOf | CustomOf | None) -> Iterator[str]:
        match key:
            case JitOf():
                jit, options = f"{self._scope.use('jax')}.jit", self._jit_options(key)
                partial = call((f"@{self._scope.use('functools')}.partial",), [(jit,)], options) if options else ()
                yield flat(partial) or f"@{jit}"
            case CustomJvpOf():
                yield f"@{self._scope.use('jax')}.custom_jvp"
            case CustomVjpOf():
                yield f"@{self._scope.use('jax')}.custom_vjp"

    def _results(self, function: str, values: list[Doc]) -> Doc:
        """Return values as the function returns them: one alone, several in a tuple."""
        if self.returns_bare(function):
            return values[0]
        return commas(values) if len(values) > 1 else display(values)

    def _rule(self, function: str, reserved: Sequence[str], arrays: Iterable[int]) -> _Rule:
        """Return a rule; if others use the function too, one that calls it."""
        rule = self._program.function(function)
        if self._is_only_rule(function):
            printer = self._printer(rule, reserved, [rule.inputs[index] for index in arrays])
            inputs = [printer.name(value) for value in rule.inputs]
            body = list(printer.body())
            return _Rule(self._names[function], inputs, body, printer.outputs(), printer.note)
        inputs = [unique(f"x{index}", self._scope.taken, reserved) for index in range(len(rule.inputs))]
        outputs: list[Doc] = [(unique(f"y{index}", self._scope.taken, reserved),) for index in range(len(rule.outputs))]
        called = call((self._names[function],), [(value,) for value in inputs])
        targets = (
            outputs[0] if self.returns_bare(function) else display(outputs) if len(outputs) == 1 else commas(outputs)
        )
        body = statement((*targets, " = ", *called) if outputs else called, 4)
        return _Rule(self._scope.new(f"{self._names[function]}_rule"), inputs, body, outputs)

    def _take(self, names: Sequence[str], kinds: Sequence[TensorType], given: str) -> Iterator[str]:
        """Yield the lines that take values out of a tuple, as arrays: a caller's numbers can be in it."""
        if not names:
            return
        targets = display([(name,) for name in names]) if len(names) == 1 else commas([(name,) for name in names])
        arrays = [name for name, kind in zip(names, kinds, strict=True) if name != "_" and kind.dtype != "float0"]
        convert = f"{self._scope.use('jnp')}.asarray"
        if len(arrays) == len(names):
            yield from statement((*targets, f" = {self._scope.use('map')}({convert}, {given})"), 4)
            return
        yield from statement((*targets, f" = {given}"), 4)
        yield from (f"    {name} = {convert}({name})" for name in arrays)

    def _jvp(self, key: CustomJvpOf) -> Iterator[str]:
        """Yield the rule of a ``jax.custom_jvp``; a value that cannot move has no tangent in the program."""
        function = self._program.function(key.function)
        if key.missing:
            name = self._scope.new(f"{self._names[key.function]}_rule")
            yield from ("", "", f"@{flat(self.callee(key))}.defjvp", f"def {name}(primals, tangents):")
            yield f"    raise {self._scope.use('NotImplementedError')}({key.missing!r})"
            return
        kinds, results = _signature(function)
        rule = self._rule(key.jvp, ("primals", "tangents"), range(len(self._program.function(key.jvp).inputs)))
        moving = iter(rule.inputs[len(kinds) :])
        tangents = [next(moving) if kind.is_inexact else "_" for kind in kinds]
        yield from ("", "", f"@{flat(self.callee(key))}.defjvp", f"def {rule.name}(primals, tangents):")
        yield from self._take(rule.inputs[: len(kinds)], kinds, "primals")
        if any(kind.is_inexact for kind in kinds):
            yield from self._take(tangents, kinds, "tangents")
        yield from rule.body
        values, given = rule.outputs[: len(results)], iter(rule.outputs[len(results) :])
        moved = [next(given) if kind.is_inexact else self._no_tangent(kind) for kind in results]
        parts = [values[0], moved[0]] if self.returns_bare(key.function) else [display(values), display(moved)]
        yield from statement(("return ", *commas(parts)), 4, rule.note)

    def _no_tangent(self, kind: TensorType) -> Doc:
        zero = (f"{self._scope.use('jax')}.dtypes.float0",)
        return call((f"{self._scope.use('np')}.zeros",), [self._scope.plain(kind.shape), zero])

    def _vjp(self, key: CustomVjpOf) -> Iterator[str]:
        """Yield the rules of a ``jax.custom_vjp``."""
        function = self._program.function(key.function)
        kinds, results = _signature(function)
        is_bare = self.returns_bare(key.function)
        forward = self._rule(key.fwd, (), range(len(kinds)))
        yield from ("", "")
        yield from lines((f"def {forward.name}", *call((), [(name,) for name in forward.inputs]), ":"), 0)
        inputs = flat(display([(name,) for name in forward.inputs]))
        yield from self._take(forward.inputs, kinds, inputs)
        yield from forward.body
        values, residuals = forward.outputs[: len(results)], forward.outputs[len(results) :]
        returned = commas([values[0] if is_bare else display(values), display(residuals)])
        yield from statement(("return ", *returned), 4, forward.note)

        count = len(residuals)
        rule = self._program.function(key.bwd)
        backward = self._rule(key.bwd, ("residuals", "cotangents"), range(count, len(rule.inputs)))
        moving = iter(backward.inputs[count:])
        cotangents = [next(moving) if kind.is_inexact else "_" for kind in results]
        yield from ("", "", f"def {backward.name}(residuals, cotangents):")
        if count:
            names: list[Doc] = [(name,) for name in backward.inputs[:count]]
            yield from statement((*(display(names) if count == 1 else commas(names)), " = residuals"), 4)
        if is_bare and results[0].is_inexact:
            yield f"    {cotangents[0]} = {self._scope.use('jnp')}.asarray(cotangents)"
        elif any(kind.is_inexact for kind in results):
            yield from self._take(cotangents, results, "cotangents")
        yield from backward.body
        given = iter(backward.outputs)
        gradients: list[Doc] = [next(given) if kind.is_inexact else ("None",) for kind in kinds]
        returned = commas(gradients) if len(gradients) > 1 else display(gradients)
        yield from statement(("return ", *returned), 4, backward.note)
        wrapped = flat(self.callee(key))
        yield from ("", "", f"{wrapped}.defvjp({forward.name}, {backward.name})")


def _rules(key: CustomOf) -> tuple[str, ...]:
    if isinstance(key, CustomVjpOf):
        return (key.fwd, key.bwd)
    return () if key.missing else (key.jvp,)


def _signature(function: Function) -> tuple[list[TensorType], list[TensorType]]:
    return [TensorType.parse(kind) for kind in function.types], [function.type_of(name) for name in function.outputs]


def _kinds(function: Function) -> Iterator[TensorType]:
    """Yield the types of all values and literals of a function."""
    yield from map(TensorType.parse, function.value_types.values())
    for operand in (*function.outputs, *(operand for node in function.nodes for operand in node.inputs)):
        if is_literal(operand):
            yield literal_type(operand)


def _weights(scope: ModuleScope) -> list[str]:
    name, path = scope.use("WEIGHTS"), f'{scope.use("pathlib")}.Path(__file__).with_suffix(".npz")'
    return [f"with {scope.use('np')}.load({path}) as {name}:", f"    {name} = dict({name})"]


def _title(program: Program) -> list[str]:
    return [f'"""{program.entry}: a JAX function, written by brainir from its IR."""']


def _import_blocks(statements: Iterator[str]) -> list[list[str]]:
    """Return the imports of the standard library and those of jax and numpy."""
    blocks: list[list[str]] = [[], []]
    for line in statements:
        blocks[bool(re.match(r"(from|import) (jax|numpy)\b", line))].append(line)
    return blocks

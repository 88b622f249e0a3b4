"""The functions of a generated module: what each is wrapped in, its body, and its derivative rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..ir.program import Function, Program
from ..ir.types import TensorType
from .constants import ModuleConstants
from .expressions import CustomJvpOf, CustomOf, CustomVjpOf, JitOf
from .layout import Doc, call, commas, display, flat, implied, lines, statement
from .model_names import input_names
from .printing import FunctionPrinter
from .references import References
from .scope import unique

__all__ = ["Definitions"]


@dataclass(frozen=True, slots=True)
class _Rule:
    """A derivative rule as values in, values out; what is written around it makes pytrees of them."""

    name: str
    inputs: list[str]
    body: list[str]
    outputs: list[Doc]
    note: str = ""


class Definitions:
    """Writes the functions of a module.

    Parameters
    ----------
    program : Program
    constants : ModuleConstants
    table : References
        What the functions know of each other.
    """

    def __init__(self, program: Program, constants: ModuleConstants, table: References) -> None:
        self._program = program
        self._constants = constants
        self._scope = constants.scope
        self._table = table
        self._inputs = input_names(program)

    def printer(self, function: Function, reserved: Iterable[str] = (), arrays: Iterable[str] = ()) -> FunctionPrinter:
        """Return what writes the body of a function."""
        names = self._inputs[function.name]
        return FunctionPrinter(function, self._constants, self._table, set(arrays), set(reserved), names)

    def define(self, name: str) -> Iterator[str]:
        """Yield a function, what it is wrapped in, and its derivative rules."""
        decoration = self._table.decoration(name)
        local = self._table.name(name)
        if not self._table.is_only_rule(name):
            function = self._program.function(name)
            printer = self.printer(function)
            parameters = [(printer.name(value),) for value in function.inputs]
            body = list(printer.body())
            yield from ("", "", *self._decorator(decoration))
            yield from lines((f"def {local}", *call((), parameters), ":"), 0)
            yield from body
            yield from statement(("return ", *self._results(name, printer.outputs())), 4, printer.note)
        for key in self._table.custom_keys(name):
            if key != decoration:
                kind = "custom_jvp" if isinstance(key, CustomJvpOf) else "custom_vjp"
                yield from ("", "", f"{flat(self._table.callee(key))} = {self._scope.use('jax')}.{kind}({local})")
            yield from self._jvp(key) if isinstance(key, CustomJvpOf) else self._vjp(key)

    def _decorator(self, key: JitOf | CustomOf | None) -> Iterator[str]:
        match key:
            case JitOf():
                jit, options = f"{self._scope.use('jax')}.jit", self._table.jit_options(key)
                partial = call((f"@{self._scope.use('functools')}.partial",), [(jit,)], options) if options else ()
                yield flat(partial) or f"@{jit}"
            case CustomJvpOf():
                yield f"@{self._scope.use('jax')}.custom_jvp"
            case CustomVjpOf():
                yield f"@{self._scope.use('jax')}.custom_vjp"

    def _results(self, function: str, values: list[Doc]) -> Doc:
        """Return values as the function returns them: one alone, several in a tuple."""
        if self._table.returns_bare(function):
            return values[0]
        return implied(display(values))

    def _rule(self, function: str, reserved: Sequence[str], arrays: Iterable[int]) -> _Rule:
        """Return a rule; if others use the function too, one that calls it."""
        rule = self._program.function(function)
        if self._table.is_only_rule(function):
            printer = self.printer(rule, reserved, [rule.inputs[index] for index in arrays])
            inputs = [printer.name(value) for value in rule.inputs]
            body = list(printer.body())
            return _Rule(self._table.name(function), inputs, body, printer.outputs(), printer.note)
        inputs = [unique(f"x{index}", self._scope.taken, reserved) for index in range(len(rule.inputs))]
        outputs: list[Doc] = [(unique(f"y{index}", self._scope.taken, reserved),) for index in range(len(rule.outputs))]
        called = call((self._table.name(function),), [(value,) for value in inputs])
        targets = outputs[0] if self._table.returns_bare(function) else implied(display(outputs))
        body = statement((*targets, " = ", *called) if outputs else called, 4)
        return _Rule(self._scope.new(f"{self._table.name(function)}_rule"), inputs, body, outputs)

    def _take(self, names: Sequence[str], kinds: Sequence[TensorType], given: str) -> Iterator[str]:
        """Yield the lines that take values out of a tuple, as arrays: a caller's numbers can be in it."""
        if not names:
            return
        targets = implied(display([(name,) for name in names]))
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
            name = self._scope.new(f"{self._table.name(key.function)}_rule")
            yield from ("", "", f"@{flat(self._table.callee(key))}.defjvp", f"def {name}(primals, tangents):")
            yield f"    raise {self._scope.use('NotImplementedError')}({key.missing!r})"
            return
        kinds, results = function.input_types, function.output_types
        rule = self._rule(key.jvp, ("primals", "tangents"), range(len(self._program.function(key.jvp).inputs)))
        moving = iter(rule.inputs[len(kinds) :])
        tangents = [next(moving) if kind.is_inexact else "_" for kind in kinds]
        yield from ("", "", f"@{flat(self._table.callee(key))}.defjvp", f"def {rule.name}(primals, tangents):")
        yield from self._take(rule.inputs[: len(kinds)], kinds, "primals")
        if any(kind.is_inexact for kind in kinds):
            yield from self._take(tangents, kinds, "tangents")
        yield from rule.body
        values, given = rule.outputs[: len(results)], iter(rule.outputs[len(results) :])
        moved = [next(given) if kind.is_inexact else self._constants.no_tangent(kind) for kind in results]
        parts = [values[0], moved[0]] if self._table.returns_bare(key.function) else [display(values), display(moved)]
        yield from statement(("return ", *commas(parts)), 4, rule.note)

    def _vjp(self, key: CustomVjpOf) -> Iterator[str]:
        """Yield the rules of a ``jax.custom_vjp``."""
        function = self._program.function(key.function)
        kinds, results = function.input_types, function.output_types
        is_bare = self._table.returns_bare(key.function)
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
            yield from statement((*implied(display(names)), " = residuals"), 4)
        if is_bare and results[0].is_inexact:
            yield f"    {cotangents[0]} = {self._scope.use('jnp')}.asarray(cotangents)"
        elif any(kind.is_inexact for kind in results):
            yield from self._take(cotangents, results, "cotangents")
        yield from backward.body
        given = iter(backward.outputs)
        gradients: list[Doc] = [next(given) if kind.is_inexact else ("None",) for kind in kinds]
        yield from statement(("return ", *implied(display(gradients))), 4, backward.note)
        wrapped = flat(self._table.callee(key))
        yield from ("", "", f"{wrapped}.defvjp({forward.name}, {backward.name})")

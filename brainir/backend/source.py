"""Programs to Python source: one module that needs jax and numpy, and a person can read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..ir.errors import EmissionError
from ..ir.program import Function, Program
from ..ir.sharing import reachable_functions
from ..ir.types import TensorType, is_literal, literal_type
from ..ir.verifier import verify
from .boundary import Boundary, leading_names
from .expressions import CustomJvpOf, CustomVjpOf, FunctionOf, JitOf
from .layout import Doc, call, commas, display, flat, lines, statement
from .printing import Callee, FunctionPrinter, callees
from .rules import expression_of
from .scope import WIDE, ModuleScope

__all__ = ["to_source"]

CustomOf = CustomJvpOf | CustomVjpOf

_HELPERS = {
    "_leaf": '''
def _leaf(value, kind, weak_type=False):
    """Return an argument as an array, checked against the type that the program was made for."""
    is_number = isinstance(value, (bool, int, float, complex)) and not weak_type
    array = jnp.asarray(value, dtype=kind[: kind.index("[")] if is_number else None)
    found = f"{array.dtype}{[*array.shape]}"
    if found != kind:
        raise TypeError(f"expected {kind}, got {found}")
    return array
''',
    "_expect": '''
def _expect(value, kind, size):
    """Refuse a container of another kind or size than the program was made for."""
    if not isinstance(value, kind) or len(value) != size:
        raise TypeError(f"expected a {kind.__name__} of {size} items, got {value!r:.200}")
''',
    "_array": '''
def _array(shape, dtype, text):
    """Return an array from the base64 text of its bytes."""
    return jnp.asarray(np.frombuffer(base64.b64decode(text), dtype=dtype).reshape(shape))
''',
    "_split": '''
def _split(values, index):
    """Return the first values and the others, such as the carry and the outputs of a step."""
    return values[:index], values[index:]
''',
    "_unit": '''
def _unit(text):
    """Return a unit as brainunit has it; nothing is imported, who has quantities has loaded it."""
    saiunit = sys.modules["saiunit"]
    unit = saiunit.parse_unit(text)
    if ((*unit.dim._dims,), unit.scale, unit.base, unit.factor) == UNITS[text]:
        return unit
    dimension, scale, base, factor = UNITS[text]
    dimension = saiunit.get_or_create_dimension([*dimension])
    return saiunit.Unit(dim=dimension, scale=scale, base=base, factor=factor)
''',
    "_mantissa": '''
def _mantissa(value, text, quantities):
    """Return a value as plain numbers in the unit that the program computes with."""
    if hasattr(value, "mantissa"):
        if not quantities:
            raise TypeError("expected plain numbers like the first value with a unit, got a quantity")
        return value.mantissa if value.unit == _unit(text) else value.to_decimal(_unit(text))
    if quantities and (any(UNITS[text][0]) or UNITS[text][1:] != (0.0, 10.0, 1.0)):
        raise TypeError(f"expected a quantity in {text} like the first value with a unit")
    return value
''',
    "_quantity": '''
def _quantity(array, text, quantities):
    """Return a result in the form in which the arguments came."""
    return sys.modules["saiunit"].Quantity(array, unit=_unit(text)) if quantities else array
''',
}


def to_source(program: Program) -> str:
    """Write a program as one Python module that imports only jax, numpy and the standard library.

    Parameters
    ----------
    program : Program

    Returns
    -------
    str
        A module that defines a function named ``program.entry`` with the arguments and results of
        ``to_callable(program)``. Values with a physical unit can also be passed as plain numbers in the unit that the
        docstring names; results then are plain numbers too. Namedtuples and dataclasses of the result are of the class
        of an argument, or of one that the module defines. The 64-bit setting of JAX must be the one that the program
        was lowered with, or the function says so.

    Raises
    ------
    VerificationError
        If the program breaks an invariant.
    EmissionError
        If it holds something that cannot be written: constants whose data was left out, fields of a result that a class
        cannot have.
    """
    verify(program)
    return _Module(program).text()


@dataclass(frozen=True, slots=True)
class _Rule:
    """A derivative rule: its values, between the pytrees of primals and tangents."""

    name: str
    inputs: list[str]
    body: list[str]
    outputs: list[Doc]


class _Module:
    """One generated module. It is the table that functions look up each other in."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._wide = any(kind.dtype in WIDE for function in program.functions for kind in _kinds(function))
        leading = leading_names(program.interface)
        self._parameters = (*leading, *(argument.name for argument in program.interface.arguments))
        self._scope = ModuleScope((program.entry, *self._parameters), self._wide)
        self._references: dict[str, set[Callee]] = {function.name: set() for function in program.functions}
        self._roles: dict[str, set[CustomOf]] = {function.name: set() for function in program.functions}
        for function in program.functions:
            for node in function.nodes:
                for key in callees(expression_of(node, function.type_of)):
                    self._references[key.function].add(key)
                    for rule in _rules(key):
                        self._roles[rule].add(key)  # type: ignore[arg-type]  # only custom functions have rules
        self._order = self._definition_order()
        self._names = {
            function.name: self._scope.new(
                function.name if function.name != program.entry else f"{program.entry}_flat"
            )
            for function in self._order
        }
        self._custom = {
            key: self._scope.new(f"{self._names[name]}_custom")
            for name in self._names
            for key in sorted(self._references[name], key=repr)
            if isinstance(key, CustomOf) and self._decoration(name) != key
        }

    def _definition_order(self) -> list[Function]:
        """Return the functions to define before the entry: callees first, each once; the entry if it is called."""
        table = self._program.table
        listed = reversed(reachable_functions(table, self._program.entry))
        entry = self._program.entry
        called = self._references[entry] or self._roles[entry]
        return [function for function in listed if function.name != entry or called]

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
        is_step = FunctionOf(function) in self._references[function]
        return len(self._program.function(function).outputs) == 1 and not is_step

    def _decoration(self, function: str) -> JitOf | CustomJvpOf | CustomVjpOf | None:
        """Return the one way in which a function is used, if there is one and it is not called as it is."""
        references = self._references[function]
        (key, *others) = references or (None,)
        return None if others or self._roles[function] or isinstance(key, FunctionOf) else key

    def _jit_options(self, key: JitOf) -> list[tuple[str, Doc]]:
        options = {"inline": key.inline, "keep_unused": key.keep_unused, "donate_argnums": key.donated}
        return [(name, self._scope.plain(value)) for name, value in options.items() if value]

    # Text

    def text(self) -> str:
        """Return the module."""
        functions = [line for function in self._order for line in self._define(function)]
        entry, classes = self._entry()
        helpers = [line for name, code in _HELPERS.items() if self._scope.uses(name) for line in self._helper(code)]
        definitions = self._scope.definitions()
        imports = list(self._scope.imports())
        standard = [line for line in imports if not re.match(r"(from|import) (jax|numpy)\b", line)]
        blocks = [
            *_docstring(self._program),
            *(["", *standard] if standard else []),
            *(["", *(line for line in imports if line not in standard)]),
            *(["", *self._units] if self._units else []),
            *helpers,
            *(["", "", *definitions] if definitions and helpers else ["", *definitions] if definitions else []),
            *classes,
            *functions,
            *entry,
        ]
        return "\n".join(blocks) + "\n"

    def _helper(self, code: str) -> list[str]:
        return ["", *self._scope.localized(code).rstrip("\n").split("\n")]

    def _printer(self, function: Function, reserved: Sequence[str] = (), arrays: Sequence[str] = ()) -> FunctionPrinter:
        return FunctionPrinter(function, self._scope, self, arrays, reserved)

    def _define(self, function: Function) -> Iterator[str]:
        """Yield a function, what it is wrapped in, and its derivative rules."""
        key = self._decoration(function.name)
        name = self._names[function.name]
        if not self._is_only_rule(function.name):
            printer = self._printer(function)
            parameters = [(printer.name(value),) for value in function.inputs]
            results = self._outputs(function.name, printer.outputs)
            yield from ("", "", *self._decorator(key))
            yield from lines((f"def {name}", *call((), parameters), ":"), 0)
            yield from printer.body()
            yield from statement(("return ", *results()), 4)
        for custom in sorted(self._references[function.name], key=repr):
            if isinstance(custom, CustomOf):
                if custom != key:
                    kind = "custom_jvp" if isinstance(custom, CustomJvpOf) else "custom_vjp"
                    yield from ("", "", f"{self._custom[custom]} = {self._scope.use('jax')}.{kind}({name})")
                wrapped = flat(self.callee(custom))
                rules = self._jvp if isinstance(custom, CustomJvpOf) else self._vjp
                yield from rules(custom, wrapped)  # type: ignore[arg-type]  # chosen by the type

"""Expressions as Python source, where Python's operators are used if they are exactly the same."""

from __future__ import annotations

import keyword
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from ..ir.errors import EmissionError
from ..ir.program import Function
from ..ir.types import is_literal
from .constants import ModuleConstants
from .expressions import (
    Apply,
    Attribute,
    BatchingRuleOf,
    CustomJvpOf,
    CustomVjpOf,
    DictOf,
    Expression,
    ExternalOf,
    FunctionOf,
    Item,
    JitOf,
    Join,
    Lambda,
    ListOf,
    Literal,
    MeshOf,
    Name,
    Operand,
    PrimitiveOf,
    ShardingOf,
    Splat,
    SplitAt,
    Tuple,
    Variable,
)
from .inlining import Pending
from .layout import Doc, call, display, flat, pair
from .operators import ATOM, OperatorOperand, operator_of
from .references import References
from .rules import gives_tuple
from .rules.parallel import spec_expression
from .scope import unique

__all__ = ["ExpressionPrinter"]

_DEFAULTS: dict[str, dict[str, object]] = {
    "lax.dot_general": {"precision": None, "preferred_element_type": None},
    "lax.slice": {"strides": None},
    "lax.scan": {"reverse": False, "unroll": 1},
    "prelude.scan": {"reverse": False, "unroll": 1},
    **{f"lax.cum{name}": {"reverse": False} for name in ("logsumexp", "max", "min", "prod", "sum")},
}
"""Keywords that are left out where they have their default."""


class ExpressionPrinter:
    """Writes expressions of one function, and gives its values names.

    Parameters
    ----------
    function : Function
    constants : ModuleConstants
    table : References
    arrays : collection of str
        Inputs of rank 0 that are JAX arrays whoever calls. Others can be plain numbers, with which Python's
        operators would compute in Python.
    reserved : collection of str
        Names that values do not take.
    names : mapping of str to str
        Better names than their own for some values.

    Attributes
    ----------
    inlined : dict of str to Pending
        Values that are written where they are used, in place of their names.
    """

    def __init__(
        self,
        function: Function,
        constants: ModuleConstants,
        table: References,
        arrays: Collection[str],
        reserved: Collection[str],
        names: Mapping[str, str],
    ) -> None:
        self._function = function
        self._scope = constants.scope
        self._module = constants
        self._table = table
        self._variables: dict[str, str] = {}
        self._arrays = {*arrays, *_results(function)}
        self._taken = set(reserved)
        self._wanted = names
        self._constants = {constant.name: constants.constant(constant) for constant in function.constants}
        self._names: dict[str, str] = {}
        self.inlined: dict[str, Pending] = {}

    def name(self, value: str, allowed: Collection[str] = ()) -> str:
        """Return the local name of a value, which may be one of the reserved names that are `allowed`."""
        if value not in self._names:
            wanted = self._wanted.get(value, value).replace(".", "_")
            if value in self._wanted and wanted not in self._taken:
                # Those of the entry's arguments are free in other functions.
                allowed = self._scope.arguments
            self._names[value] = self.new_name(wanted) if wanted not in allowed else wanted
            self._taken.add(self._names[value])
        return self._names[value]

    def new_name(self, wanted: str) -> str:
        """Return a local name for something that is not a value of the program."""
        name = unique(wanted, self._taken, self._scope.taken)
        self._taken.add(name)
        self._scope.locals.add(name)
        return name

    def operand(self, name: str, in_python: bool = False) -> Doc:
        """Return a value or literal."""
        if is_literal(name):
            return self._module.literal(name, in_python)
        if name in self.inlined:
            return self.inlined[name].doc
        return (self._constants.get(name) or self.name(name),)

    def value(self, expression: Expression) -> tuple[Doc, int]:
        """Return the one value of an expression, and how tightly its outermost operator binds."""
        match expression:
            case Apply(JitOf() | CustomJvpOf() | CustomVjpOf() as key, arguments):
                return call(self._table.callee(key), self.items(arguments)), ATOM
            case Apply(Name(name), arguments, keywords) if not keywords:
                return self._operator(name, arguments) or (self.doc(expression), ATOM)
        return self.doc(expression), ATOM

    def doc(self, expression: Expression) -> Doc:
        """Return an expression.

        Raises
        ------
        EmissionError
            If it cannot be written in Python.
        """
        match expression:
            case Operand(name, as_array=True) if is_literal(name):
                return (self._module.literal_array(name),)
            case Operand(name):
                return self.operand(name)
            case Variable(name):
                return (self._variables[name],)
            case Literal(value):
                return self._scope.plain(value)
            case FunctionOf() | JitOf() | CustomJvpOf() | CustomVjpOf():
                return self._table.callee(expression)
            case ExternalOf(name):
                return call((self._scope.use("_external"),), [self._scope.plain(name)])
            case BatchingRuleOf(name):
                return call((self._scope.use("_batching_rule"),), [self._scope.plain(name)])
            case PrimitiveOf(name):
                return call((self._scope.use("_primitive"),), [self._scope.plain(name)])
            case MeshOf(shape, is_abstract):
                made = self._scope.use("_abstract_mesh" if is_abstract else "_mesh")
                return call((made,), [(f"*{self._module.mesh(shape)}",)])
            case ShardingOf(sharding, is_abstract):
                options = [] if sharding.memory is None else [("memory_kind", self._scope.plain(sharding.memory))]
                spec = spec_expression(sharding)
                if is_abstract:
                    parts = [(name, self.doc(axes)) for name, axes in spec.keywords.items()]
                    entries = [(self._module.mesh(sharding.mesh),), *self.items(spec.arguments)]
                    return call((self._scope.use("_layout"),), entries, [*parts, *options])
                kind = (f"{self._scope.use('jax')}.sharding.NamedSharding",)
                return call(kind, [self.doc(MeshOf(sharding.mesh)), self.doc(spec)], options)
            case Name(dotted):
                return (self._scope.dotted(dotted),)
            case ListOf(items):
                return display(self.items(items), "[]")
            case DictOf(keys, items):
                values = zip(keys, self.items(items), strict=True)
                return display([pair(self._scope.plain(key), value) for key, value in values], "{}")
            case Apply():
                return self._call(expression)
            case Tuple(items):
                return display(self.items(items))
            case SplitAt(value, index):
                return call((self._scope.use("_split"),), [self.doc(value), (str(index),)])
            case Join(value):
                return call((self._scope.use("sum"),), [self.doc(value), ("()",)])
            case Item(value, index):
                return (*self._bound(value, ATOM), f"[{index}]")
            case Attribute(value, name):
                return (*self._bound(value, ATOM), f".{name}")
            case Lambda():
                return self._lambda(expression)
        raise EmissionError(f"{expression!r} cannot stand alone in Python")

    def items(self, items: Iterable[Expression]) -> list[Doc]:
        """Return several expressions, as they stand in a call or a tuple."""
        return [("*", *self.doc(item.value)) if isinstance(item, Splat) else self.doc(item) for item in items]

    def _lambda(self, expression: Lambda) -> Doc:
        outer = self._variables
        # All values have names of their own by now or later: a parameter hides none of them.
        values = {name.replace(".", "_") for name in self._function.value_types}
        inner = {name: unique(name, values, self._taken, self._scope.taken) for name in expression.parameters}
        self._variables = {**outer, **inner}
        try:
            return (f"lambda {', '.join(inner.values())}: ", *self.doc(expression.body))
        finally:
            self._variables = outer

    def _call(self, expression: Apply) -> Doc:
        function, arguments, keywords = expression.function, expression.arguments, expression.keywords
        if isinstance(function, JitOf | CustomJvpOf | CustomVjpOf | FunctionOf):
            result = call(self._table.callee(function), self.items(arguments))
            return display([result]) if self._table.returns_bare(function.function) else result
        name = function.dotted if isinstance(function, Name) else ""
        operator = None if keywords else self._operator(name, arguments)
        if operator is not None:
            return operator[0]
        defaults = _DEFAULTS.get(name, {})
        named = [
            (key, self._keyword(name, value))
            for key, value in keywords.items()
            if not (key in defaults and value == Literal(defaults[key]))  # type: ignore[arg-type]  # plain values
            if _is_keyword(key)
        ]
        items = self.items(arguments)
        if odd := [key for key in keywords if not _is_keyword(key)]:
            # Attributes of primitives and arguments of callbacks may have any name.
            items.append(("**", *self.doc(DictOf(tuple(odd), tuple([keywords[key] for key in odd])))))
        return call(self.doc(function), items, named)

    def _keyword(self, function: str, value: Expression) -> Doc:
        match value:
            case Apply(Name("jnp.dtype"), (Literal(str(dtype)),)) if not function.endswith(".bind"):
                return self._module.jax_dtype(dtype)
        return self.doc(value)

    def _bound(self, value: Expression, binding: int) -> Doc:
        """Return an operand, in parentheses if its outermost operator binds less tightly than that around it."""
        inlined = self.inlined.get(value.name) if isinstance(value, Operand) else None
        doc = self.doc(value)
        return doc if inlined is None or inlined.binding >= binding else (f"({flat(doc)})",)

    def _operator(self, name: str, arguments: Sequence[Expression]) -> tuple[Doc, int] | None:
        """Return a call as Python's operator, and how it binds, if on these operands it is exactly the same."""
        operands = [part.name for part in arguments if isinstance(part, Operand) and not part.as_array]
        if len(operands) != len(arguments):
            return None
        operator = operator_of(name, [self._for_operator(operand) for operand in operands])
        if operator is None:
            return None
        written: list[str] = []
        for position, operand in enumerate(operands):
            if is_literal(operand):
                number = self._module.python_number(operand)
                if number is None:
                    return None
                written.append(flat(number))
            else:
                text = flat(self._bound(Operand(operand), operator.binding_of_operand(position)))
                written.append(f"({text})" if position == 1 and text.startswith("-") else text)
        if len(written) == 1:
            return (operator.symbol, written[0]), operator.binding
        return (f"{written[0]} {operator.symbol} {written[1]}",), operator.binding

    def _for_operator(self, operand: str) -> OperatorOperand:
        kind, literal = self._function.type_of(operand), is_literal(operand)
        return OperatorOperand(kind, not literal and (operand in self._arrays or kind.ndim > 0), literal)


def _is_keyword(name: str) -> bool:
    """Whether an argument of this name can be written as ``name=value``, and is read back under the same name."""
    return name.isascii() and name.isidentifier() and not keyword.iskeyword(name)


def _results(function: Function) -> Iterator[str]:
    """Yield the values that are JAX arrays even if the inputs are plain numbers."""
    for node in function.nodes:
        if not gives_tuple(node) and node.op != "stop_gradient":
            yield from node.outputs

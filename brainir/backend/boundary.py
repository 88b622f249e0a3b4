"""The calling convention of a generated module: arguments to arrays, and arrays to results."""

from __future__ import annotations

from collections.abc import Iterator

from ..ir.errors import EmissionError
from ..ir.interface import Interface, Unit
from ..ir.model import PathKey, StatePath
from ..ir.program import Program
from ..ir.trees import (
    CustomTree,
    DataclassTree,
    DictTree,
    LeafTree,
    NamedTupleTree,
    NoneTree,
    SequenceTree,
    Tree,
    leaves,
)
from ..ir.types import TensorType
from .constants import ModuleConstants
from .entry_docstring import written_type
from .layout import Doc, call, commas, display, flat, implied, lines, pair, statement
from .printing import FunctionPrinter
from .result_classes import ResultClasses, dict_display
from .scope import unique

__all__ = ["Boundary", "leading_names"]

_LONG_KEY = 40
_LEADING = {"function": (), "step": ("params", "hidden"), "module": ("states",)}


def leading_names(interface: Interface) -> tuple[str, ...]:
    """Return the names of the parameters before the arguments."""
    arguments = {argument.name for argument in interface.arguments}
    return tuple(unique(name, arguments) for name in _LEADING[interface.kind])


class Boundary:
    """Writes what surrounds the nodes of the entry function.

    Parameters
    ----------
    program : Program
    constants : ModuleConstants
    printer : FunctionPrinter
        Of the entry function.
    """

    def __init__(self, program: Program, constants: ModuleConstants, printer: FunctionPrinter) -> None:
        self._program = program
        self._interface: Interface = program.interface
        self._constants = constants
        self._scope = constants.scope
        self._printer = printer
        self._leading = leading_names(self._interface)
        self._units = {unit.text: unit for unit in self._interface.units}
        self._given: dict[str, Doc] = {}
        self._classes = ResultClasses(self._scope)
        self._parts: dict[str, str] = {}
        self._origins: dict[int, Doc] = {}
        entry = program.entry_function
        self._types = entry.input_types
        trees = self._interface.trees()
        self._has_units = any(leaf.unit is not None for tree in trees for leaf in leaves(tree))
        self._quantities = printer.new_name("quantities") if self._has_units else ""

    @property
    def parameters(self) -> list[Doc]:
        """The parameters of the entry: first what is passed by position, then what is passed by keyword."""
        arguments = self._interface.arguments
        positional = [argument.name for argument in arguments if not argument.keyword]
        by_keyword = [argument.name for argument in arguments if argument.keyword]
        named = (*self._leading, *positional, *(["*"] if by_keyword else []), *by_keyword)
        return [(name,) for name in named]

    @property
    def class_lines(self) -> list[str]:
        """The classes of results that no argument brings along."""
        return self._classes.lines

    def units(self) -> list[str]:
        """Return the table of the units that leaves have."""
        if not self._has_units:
            return []
        items = [
            pair(self._scope.plain(unit.text), self._scope.plain(_unit_key(unit))) for unit in self._interface.units
        ]
        return lines((f"{self._scope.use('UNITS')} = ", *display(items, "{}")), 0)

    # Arguments

    def _inputs(self) -> Iterator[tuple[Doc, Tree, bool]]:
        """Yield each tree that comes in, how it is reached, and whether plain numbers always do."""
        interface = self._interface
        if interface.kind == "step":
            for name, tree in zip(self._leading, (interface.params, interface.hidden), strict=True):
                if tree is not None:
                    yield (name,), tree, False
        else:
            for state in interface.states:
                yield self._item((self._leading[0],), state.path), state.tree, False
        for argument in interface.arguments:
            yield (argument.name,), argument.tree, argument.plain

    def _item(self, value: Doc, key: PathKey | StatePath) -> Doc:
        if isinstance(key, tuple) and len(key) > 1:
            return (*value, *display([self._key(part) for part in key], "[]"))
        return (*value, *display([self._key(key)], "[]"))

    def _key(self, key: PathKey | StatePath) -> Doc:
        """Return a key of a dict; long texts, which brainstate makes of classes and arguments, get a name."""
        if isinstance(key, tuple):
            return display([self._key(part) for part in key])
        if isinstance(key, str) and len(key) > _LONG_KEY:
            return (self._constants.text(key),)
        return self._scope.plain(key)

    def unpack(self) -> Iterator[str]:
        """Yield the lines that take the arguments apart and check them."""
        names = iter(self._program.entry_function.inputs)
        kinds = iter(self._types)
        plain = {argument.name for argument in self._interface.arguments if isinstance(argument.tree, LeafTree)}
        found: list[tuple[Doc, LeafTree, bool]] = []
        if self._interface.kind == "module":
            yield from self._expect((self._leading[0],), "dict", len(self._interface.states))
        for value, tree, is_plain in self._inputs():
            yield from self._check(value, tree)
            found += [(inner, leaf, is_plain) for inner, leaf in self._leaves(value, tree)]
        if self._has_units:
            telling = [(value, leaf) for value, leaf, is_plain in found if leaf.unit is not None and not is_plain]
            yield from self._detect(telling)
        for value, leaf, is_plain in found:
            name = next(names)
            # An argument that is one array keeps its name.
            local = self._printer.name(name, plain & {flat(value)})
            yield from statement((f"{local} = ", *self._leaf(value, leaf, next(kinds), is_plain)), 4)

    def _check(self, value: Doc, tree: Tree) -> Iterator[str]:
        """Yield checks of the containers, outermost first."""
        match tree:
            case NoneTree():
                yield from lines(("if ", *value, " is not None:"), 4)
                yield f'        raise {self._scope.use("TypeError")}("expected None")'
            case SequenceTree(kind=kind):
                yield from self._expect(value, kind, len(tree.children))
            case DictTree():
                yield from self._expect(value, "dict", len(tree.children))
            case CustomTree():
                yield from self._open(value, tree)
        for inner, child in self._children(value, tree):
            yield from self._check(inner, child)

    def _expect(self, value: Doc, kind: str, size: int) -> Iterator[str]:
        check = call((self._scope.use("_expect"),), [value, (self._scope.use(kind),), (str(size),)])
        yield from statement(check, 4)

    def _open(self, value: Doc, tree: CustomTree) -> Iterator[str]:
        """Yield the line that names the parts of a container that only JAX can take apart."""
        name = self._parts[flat(value)] = self._printer.new_name("parts")
        self._origins.setdefault(tree.origin, value)
        expected = [value, self._scope.plain(tree.type), (str(len(tree.children)),)]
        yield from statement((f"{name} = ", *call((self._scope.use("_parts"),), expected)), 4)

    def _children(self, value: Doc, tree: Tree) -> Iterator[tuple[Doc, Tree]]:
        match tree:
            case SequenceTree(children=children):
                for index, child in enumerate(children):
                    yield self._item(value, index), child
            case DictTree(keys=keys, children=children):
                for key, child in zip(keys, children, strict=True):
                    yield self._item(value, key), child
            case NamedTupleTree(fields=fields, children=children) | DataclassTree(fields=fields, children=children):
                self._given.setdefault(tree.type, value)
                for field, child in zip(fields, children, strict=True):
                    yield (*value, f".{field}"), child
            case CustomTree(children=children):
                for index, child in enumerate(children):
                    yield self._item((self._parts[flat(value)],), index), child

    def _leaves(self, value: Doc, tree: Tree) -> Iterator[tuple[Doc, LeafTree]]:
        if isinstance(tree, LeafTree):
            yield value, tree
        for inner, child in self._children(value, tree):
            yield from self._leaves(inner, child)

    def _detect(self, given: list[tuple[Doc, LeafTree]]) -> Iterator[str]:
        """Yield the line that finds out whether the caller works with quantities."""
        telling = [value for value, leaf in given if not _is_unitless(self._units[leaf.unit or ""])]
        first = next(iter(telling or [value for value, _ in given]), None)
        if first is None:
            yield f'    {self._quantities} = "saiunit" in {self._scope.use("sys")}.modules'
        else:
            found = call((self._scope.use("hasattr"),), [first, ('"mantissa"',)])
            yield from statement((f"{self._quantities} = ", *found), 4)

    def _leaf(self, value: Doc, leaf: LeafTree, kind: TensorType, is_plain: bool) -> Doc:
        weak = [("weak_type", ("True",))] if kind.weak_type and kind.shape == () else []
        written = (f'"{written_type(kind)}"',)
        if leaf.unit is not None:
            mantissa = (self._scope.use("_mantissa"),)
            form = call((self._scope.use("hasattr"),), [value, ('"mantissa"',)]) if is_plain else (self._quantities,)
            return call(mantissa, [value, written, self._scope.plain(leaf.unit), form], weak)
        return value if kind.dtype == "float0" else call((self._scope.use("_leaf"),), [value, written], weak)

    # Results

    def pack(self) -> Iterator[str]:
        """Yield the lines that build the result and return it."""
        outputs = iter(self._printer.outputs())
        interface = self._interface
        if interface.kind == "function":
            yield from self._return([self._build(interface.result, outputs)])
            return
        if interface.kind == "step":
            if interface.hidden is None:
                raise EmissionError(f"program {self._program.entry!r} is a step without a tree for hidden")
            new = self._build(interface.hidden, outputs, (self._leading[1],))
        else:
            states = (self._leading[0],)
            items = []
            for state in interface.states:
                old = self._item(states, state.path)
                value = self._build(state.tree, outputs, old) if state.returned else old
                items.append(pair(self._key(state.path), value))
            name = self._printer.new_name("new_states")
            yield from statement((f"{name} = ", *display(items, "{}")), 4)
            new = (name,)
        yield from self._return([new, self._build(interface.result, outputs)])

    def _return(self, values: list[Doc]) -> Iterator[str]:
        returned = implied(values[0]) if len(values) == 1 else commas(values)
        yield from statement(("return ", *returned), 4, self._printer.note)

    def _build(self, tree: Tree, outputs: Iterator[Doc], given: Doc | None = None) -> Doc:
        """Return the value of a tree; classes are those of the value that was `given` for it, if any."""
        inner = [value for value, _ in self._children(given, tree)] if given is not None else None

        def children(trees: tuple[Tree, ...]) -> list[Doc]:
            return [
                self._build(child, outputs, inner[index] if inner is not None else None)
                for index, child in enumerate(trees)
            ]

        match tree:
            case LeafTree(unit=None):
                return next(outputs)
            case LeafTree(unit=unit):
                quantity = (self._scope.use("_quantity"),)
                return call(quantity, [next(outputs), self._scope.plain(unit), (self._quantities,)])
            case NoneTree():
                return ("None",)
            case SequenceTree(kind=kind, children=parts):
                return display(children(parts), "()" if kind == "tuple" else "[]")
            case DictTree(kind=kind, keys=keys, children=parts):
                pairs = [*zip(map(self._key, keys), children(parts), strict=True)]
                return dict_display(self._scope, pairs, ordered=kind == "ordered_dict")
            case NamedTupleTree(children=parts):
                return call(self._class(tree, given), children(parts))
            case CustomTree(origin=origin, children=parts):
                if origin not in self._origins:
                    return display(children(parts))
                rebuilt = [self._origins[origin], display(children(parts), "[]")]
                return call((self._scope.use("_like"),), rebuilt)
            case DataclassTree(fields=fields, children=parts):
                static = [(name, self._classes.static(value)) for name, value in tree.static]
                return call(self._class(tree, given), [], [*zip(fields, children(parts), strict=True), *static])

    def _class(self, tree: NamedTupleTree | DataclassTree, given: Doc | None) -> Doc:
        """Return the class of the value that came in, of an argument of that class, or one defined here."""
        given = given or self._given.get(tree.type)
        return call((self._scope.use("type"),), [given]) if given is not None else self._classes.like(tree)


def _unit_key(unit: Unit) -> tuple[object, ...]:
    return unit.dimension, unit.scale, unit.base, unit.factor


def _is_unitless(unit: Unit) -> bool:
    return not any(unit.dimension) and unit.scale == 0 and unit.factor == 1

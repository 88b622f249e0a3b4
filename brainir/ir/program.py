"""Functions and programs."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from .constant import Constant
from .errors import BrainIRError, VerificationError
from .interface import Interface, State
from .model import Model
from .node import Node
from .ops import AnyNode
from .trees import leaf_count
from .types import TensorType, is_literal, literal_type
from .wording import counted

__all__ = ["SCHEMA_VERSION", "Function", "Program", "Value", "require_program"]

SCHEMA_VERSION: Final = 1
"""Version of the stored form that this release writes."""

_MOST_RENAMED = 16


@dataclass(frozen=True, slots=True, repr=False)
class Value:
    """An SSA value seen from outside its function: a name and a type.

    Parameters
    ----------
    name : str
    type : str
        As :class:`~brainir.ir.types.TensorType` writes it.
    """

    name: str
    type: str

    @property
    def aval(self) -> TensorType:
        """Element type and shape."""
        return TensorType.parse(self.type)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the value."""
        return self.aval.shape

    @property
    def dtype(self) -> str:
        """Standard name of the element type, such as ``"float32"``."""
        return self.aval.dtype

    def __repr__(self) -> str:
        return f"{self.name}:{self.type}"

    __str__ = __repr__


@functools.lru_cache(maxsize=1 << 12)
def _shared(kinds: tuple[TensorType, ...]) -> tuple[TensorType, ...]:
    # Comparing equal signatures then takes no time, however long they are.
    return kinds


class Function(Model):
    """A list of nodes in order, from inputs to outputs.

    Parameters
    ----------
    name : str
        A Python identifier, unique in the program.
    inputs, types : tuple of str
        Names of the parameters and their types.
    constants : tuple of Constant
    nodes : tuple of Node
        Each uses only inputs, constants and results of earlier nodes.
    outputs : tuple of str
        Names of values, or literals.
    """

    name: str
    inputs: tuple[str, ...]
    types: tuple[str, ...]
    constants: tuple[Constant, ...] = ()
    nodes: tuple[AnyNode, ...] = ()
    outputs: tuple[str, ...]

    @classmethod
    def of_nodes(cls, nodes: tuple[Node, ...], fields: dict[str, Any]) -> Function:
        """Make a function of nodes that were checked when they were made, and check the other fields only.

        Raises
        ------
        pydantic.ValidationError
            If a name is not a field or a value does not fit it.
        """
        function = cls.checked(fields)
        function.__dict__["nodes"] = nodes
        function.__pydantic_fields_set__.add("nodes")
        return function

    def named(self, name: str) -> Function:
        """Return the function under another name; itself if that is its name."""
        return self._with_names(name, self.callees)

    def with_callees(self, names: Mapping[str, str]) -> Function:
        """Return the function with its references renamed; itself if that changes nothing."""
        return self._with_names(self.name, tuple([names.get(name, name) for name in self.callees]))

    def renamed(self, names: Mapping[str, str]) -> Function:
        """Return the function under another name and with its references renamed; itself if that changes nothing."""
        callees = tuple([names.get(name, name) for name in self.callees])
        return self._with_names(names.get(self.name, self.name), callees)

    def _with_names(self, name: str, callees: tuple[str, ...]) -> Function:
        """Return the function under another name and with other names for the functions that it refers to."""
        if callees == self.callees and name == self.name:
            return self
        known = self._renamed.get((name, callees))
        if known is None:
            names = dict(zip(self.callees, callees, strict=True))
            nodes = [node.with_callees(names) if node.refers else node for node in self.nodes]
            if len(self._renamed) >= _MOST_RENAMED:
                self._renamed.clear()
            fields = {field: getattr(self, field) for field in ("inputs", "types", "constants", "outputs")}
            known = self._renamed[name, callees] = self.of_nodes(tuple(nodes), {"name": name, **fields})
        return known

    @functools.cached_property
    def _renamed(self) -> dict[tuple[str, tuple[str, ...]], Function]:
        # What is worked out of a function, such as that it is well formed, is kept with it under its other names too.
        return {}

    @functools.cached_property
    def callees(self) -> tuple[str, ...]:
        """The functions that its nodes refer to, derivative rules included, in order of first reference."""
        names = (name for node in self.nodes if node.refers for name in node.callees())
        return tuple(dict.fromkeys(names))

    @functools.cached_property
    def value_types(self) -> dict[str, str]:
        """The type of every value that the function defines, as text."""
        types = dict(zip(self.inputs, self.types, strict=False))
        types.update((constant.name, constant.type) for constant in self.constants)
        made = {name: kind for node in self.nodes for name, kind in zip(node.outputs, node.types, strict=False)}
        return types | made

    def type_of(self, operand: str) -> TensorType:
        """Return the type of a value or literal.

        Raises
        ------
        KeyError
            If the function defines no such value.
        """
        return literal_type(operand) if is_literal(operand) else TensorType.parse(self.value_types[operand])

    @functools.cached_property
    def _values(self) -> dict[str, Value]:
        return {}

    def value(self, operand: str) -> Value:
        """Return name and type of a value or literal."""
        found = self._values.get(operand)
        if found is None:
            text = self.value_types.get(operand) or str(self.type_of(operand))
            found = self._values[operand] = Value(operand, text)
        return found

    @functools.cached_property
    def input_types(self) -> tuple[TensorType, ...]:
        """Types of the inputs."""
        return tuple(map(TensorType.parse, self.types))

    @functools.cached_property
    def output_types(self) -> tuple[TensorType, ...]:
        """Types of the outputs."""
        return tuple(map(self.type_of, self.outputs))

    @functools.cached_property
    def signature(self) -> tuple[tuple[TensorType, ...], tuple[TensorType, ...]]:
        """Types of the inputs and of the outputs, without weak types."""
        kinds = self.input_types, self.output_types
        inputs, outputs = (tuple([kind.strong for kind in part]) for part in kinds)
        return _shared(inputs), _shared(outputs)

    @functools.cached_property
    def producers(self) -> dict[str, Node]:
        """The node behind each value that a node defines."""
        return {name: node for node in self.nodes for name in node.outputs}

    @functools.cached_property
    def constant_table(self) -> dict[str, Constant]:
        """The constants by name."""
        return {constant.name: constant for constant in self.constants}

    @functools.cached_property
    def places(self) -> dict[str, int]:
        """The place, in `nodes`, of the node behind each value that a node defines."""
        return {name: place for place, node in enumerate(self.nodes) for name in node.outputs}

    @functools.cached_property
    def users(self) -> dict[str, tuple[Node, ...]]:
        """The nodes that use each value, in order, each once."""
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for operand in dict.fromkeys(node.inputs):
                if not is_literal(operand):
                    users.setdefault(operand, []).append(node)
        return {name: tuple(nodes) for name, nodes in users.items()}

    def __str__(self) -> str:
        from .printer import format_function

        return format_function(self)


class Program(Model):
    """A typed, serializable JAX program: a table of functions, one of them the entry, and its interface.

    Parameters
    ----------
    format : {"brainir"}
    version : int
        Version of the stored form.
    entry : str
        Name of the entry function.
    interface : Interface
    functions : tuple of Function
        The entry first; functions that are equal are stored once.
    metadata : tuple of pairs of str
        Free notes; they do not count for :func:`~brainir.ir.canonical.fingerprint`.
    """

    format: Literal["brainir"] = "brainir"
    version: Literal[1] = SCHEMA_VERSION
    entry: str
    interface: Interface
    functions: tuple[Function, ...]
    metadata: tuple[tuple[str, str], ...] = ()

    @functools.cached_property
    def table(self) -> dict[str, Function]:
        """The functions by name."""
        return {function.name: function for function in self.functions}

    def function(self, name: str) -> Function:
        """Return a function of the table.

        Raises
        ------
        BrainIRError
            If the program has no such function.
        """
        try:
            return self.table[name]
        except KeyError:
            known = ", ".join(self.table)
            raise BrainIRError(f"the program has no function {name!r}; it has {known}") from None

    @property
    def entry_function(self) -> Function:
        """The entry."""
        return self.function(self.entry)

    def with_entry(self, entry: Function, interface: Interface | None = None) -> Program:
        """Return the program with another function in place of the entry, and perhaps another interface."""
        functions = tuple([entry if each.name == self.entry else each for each in self.functions])
        return self.replace(entry=entry.name, interface=interface or self.interface, functions=functions)

    def state_inputs(self) -> Iterator[tuple[State, tuple[Value, ...]]]:
        """Yield each state with the entry inputs that hold its old value."""
        entry = self.entry_function
        values = map(entry.value, entry.inputs)
        for state in self.interface.states:
            yield state, tuple(itertools.islice(values, leaf_count(state.tree)))

    def state_outputs(self) -> Iterator[tuple[State, tuple[Value, ...]]]:
        """Yield each state with the entry outputs that hold its new value; its inputs where it stays as it is."""
        entry = self.entry_function
        values = map(entry.value, entry.outputs)
        for state, old in self.state_inputs():
            yield state, tuple(itertools.islice(values, len(old))) if state.returned else old

    def node_count(self) -> int:
        """Return the number of nodes in all functions."""
        return sum(len(function.nodes) for function in self.functions)

    def constant_bytes(self) -> int:
        """Return the bytes that all constants take."""
        kinds = (TensorType.parse(constant.type) for function in self.functions for constant in function.constants)
        return sum(kind.nbytes for kind in kinds)

    def __str__(self) -> str:
        from .printer import format_program

        return format_program(self)

    def __repr__(self) -> str:
        size = f"{counted(len(self.functions), 'function')}, {counted(self.node_count(), 'node')}"
        return f"<brainir.Program {self.entry}: {size}>"

    def _repr_html_(self) -> str:
        from .printer import format_html

        return format_html(self)


def require_program(*given: object) -> None:
    """Refuse what is no program, such as a module or a path, before it fails somewhere inside.

    Raises
    ------
    VerificationError
        With what makes programs.
    """
    for each in given:
        if not isinstance(each, Program):
            raise VerificationError(
                f"not a brainir.Program but {type(each).__name__}; brainir.lower makes one, brainir.load reads one"
            )

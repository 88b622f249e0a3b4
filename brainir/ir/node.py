"""The base of all node schemas, and the traits that analyses ask for instead of operation names."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self, get_args

from .model import Model, refers_to_functions

__all__ = ["Node", "Traits"]

_set = object.__setattr__  # the models are frozen
_LINE = re.compile(r":[0-9]+(?= \(|$)")


@dataclass(frozen=True, slots=True)
class Traits:
    """What an operation does, as far as analyses need to know.

    Parameters
    ----------
    elementwise : bool
        Element k of each result depends on element k of each operand only. Scalars, and axes of length one where
        another operand is longer, are repeated.
    structural : bool
        Elements are moved, repeated or dropped; no arithmetic.
    linear : tuple of int
        The operands in which the result is linear, the others held fixed, each taken alone.
    contraction : bool
        Products of elements of two operands are summed over shared axes.
    reduction : bool
        Elements of one operand are combined along axes.
    control : bool
        Runs functions of the program's table.
    random : bool
        Draws random bits or handles PRNG keys.
    effectful : bool
        Must run, in order, even if nothing uses its results.
    blocks_gradient : bool
        The derivative with respect to every operand is zero by definition.
    flat : bool
        A function of floating point numbers whose derivative is zero wherever it exists, such as rounding.
    """

    elementwise: bool = False
    structural: bool = False
    linear: tuple[int, ...] = ()
    contraction: bool = False
    reduction: bool = False
    control: bool = False
    random: bool = False
    effectful: bool = False
    blocks_gradient: bool = False
    flat: bool = False


class Node(Model):
    """One operation of a function: operands, results with their types, and typed attributes.

    Parameters
    ----------
    op : str
        Name of the operation; it selects the schema.
    inputs : tuple of str
        Operands: names of values defined before, or scalar literals such as ``0.3:f32``.
    outputs : tuple of str
        Names of the results, new in this function.
    types : tuple of str
        Types of the results, as :class:`~brainir.ir.types.TensorType` writes them.
    scope : str
        Name scopes around the operation, separated by ``/``.
    source : str
        The model's line, ``file.py:12 (function)``, or empty.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: tuple[str, ...]
    scope: str = ""
    source: str = ""

    refers: ClassVar[bool] = False
    """Whether nodes of this schema refer to functions."""

    family_traits: ClassVar[Traits] = Traits()
    op_traits: ClassVar[dict[str, Traits]] = {}

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls.refers = bool(cls.reference_names())

    @property
    def place(self) -> str:
        """The model's file and function, without the number of the line, which an edit further up changes."""
        return _LINE.sub("", self.source)

    @property
    def traits(self) -> Traits:
        """What this operation does."""
        return self.op_traits.get(self.op, self.family_traits)

    @classmethod
    def ops(cls) -> tuple[str, ...]:
        """Names of the operations that this schema covers."""
        names: tuple[str, ...] = get_args(cls.model_fields["op"].annotation)
        return names

    @classmethod
    @functools.cache
    def attribute_names(cls) -> tuple[str, ...]:
        """Names of the typed attributes, in the order of their declaration."""
        return tuple(name for name in cls.model_fields if name not in Node.model_fields)

    @classmethod
    @functools.cache
    def reference_names(cls) -> tuple[str, ...]:
        """Names of the attributes that refer to functions, one name or a tuple of names each."""
        fields = ((name, cls.model_fields[name]) for name in cls.attribute_names())
        return tuple(name for name, info in fields if refers_to_functions(info.annotation, info.metadata))

    @classmethod
    def rule_names(cls) -> tuple[str, ...]:
        """Names of the references that are derivative rules: they say how to differentiate, not what to compute."""
        return ()

    def attributes(self) -> dict[str, Any]:
        """Return the typed attributes by name."""
        return {name: getattr(self, name) for name in self.attribute_names()}

    def references(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield the attributes that refer to functions, each with the names of these functions."""
        for attribute in self.reference_names():
            value = getattr(self, attribute)
            yield attribute, (value,) if isinstance(value, str) else value or ()

    def callees(self) -> Iterator[str]:
        """Yield the names of the functions that this node refers to, derivative rules included."""
        for _, names in self.references():
            yield from names

    def runs(self) -> Iterator[str]:
        """Yield the names of the functions that this node runs: those that it refers to but derivative rules."""
        rules = self.rule_names()
        for attribute, names in self.references():
            if attribute not in rules:
                yield from names

    def placed(
        self, inputs: tuple[str, ...], outputs: tuple[str, ...], types: tuple[str, ...], scope: str, source: str
    ) -> Self:
        """Return a node of the same operation and attributes at another place, unchecked."""
        return self._with(inputs=inputs, outputs=outputs, types=types, scope=scope, source=source)

    def _with(self, **changes: Any) -> Self:
        """Return a copy with some fields changed.

        Unlike :meth:`replace` it checks nothing, in a fraction of the time: the other fields were checked when this
        node was made.
        """
        copied = self.__new__(type(self))
        # All that a model of pydantic consists of.
        _set(copied, "__dict__", self.__dict__ | changes)
        _set(copied, "__pydantic_fields_set__", self.__pydantic_fields_set__)
        _set(copied, "__pydantic_extra__", None)
        _set(copied, "__pydantic_private__", None)
        return copied

    def with_callees(self, names: Mapping[str, str]) -> Self:
        """Return the node with its function references renamed; itself if that changes nothing."""
        changes: dict[str, Any] = {}
        for attribute in self.reference_names():
            value = getattr(self, attribute)
            if value is not None:
                new = (
                    names.get(value, value)
                    if isinstance(value, str)
                    else tuple(names.get(name, name) for name in value)
                )
                if new != value:
                    changes[attribute] = new
        return self._with(**changes) if changes else self

    def __str__(self) -> str:
        from .printer import format_node

        return format_node(self)

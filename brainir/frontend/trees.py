"""Python values to the pytree structures of an interface, with physical units."""

from __future__ import annotations

import operator
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, cast

import jax
import numpy as np

from ..ir.errors import LoweringError
from ..ir.interface import (
    Aux,
    CustomTree,
    DataclassTree,
    DictTree,
    LeafTree,
    NamedTupleTree,
    NoneTree,
    SequenceTree,
    Tree,
    Unit,
)
from ..ir.model import PathKey
from .containers import NotDataError, class_name, plain_fields, stored_aux, stored_fields

__all__ = ["TreeReader"]


_LEAF = LeafTree()
_LEAVES = frozenset((bool, int, float, complex, np.ndarray, jax.core.ShapedArray, jax.ShapeDtypeStruct))

_ENTRIES = ("name", "key", "idx")
"""Where entries of JAX's paths hold the name of an attribute, a key, or a number."""


class TreeReader:
    """Reads pytrees of one interface and gathers the units that their leaves name."""

    def __init__(self) -> None:
        self._units: dict[str, Unit] = {}
        self._origins: list[Any] = []
        self._aux: dict[int, Aux] = {}
        self._is_result = False

    @property
    def units(self) -> tuple[Unit, ...]:
        """Every unit met so far, sorted by text."""
        return tuple(self._units[text] for text in sorted(self._units))

    @property
    def has_custom(self) -> bool:
        """Whether a container was met of which only the arrays can be stored."""
        return bool(self._origins)

    def read_result(self, value: Any, where: str) -> Tree:
        """Return the structure of what is made of all that was read before.

        A container that nothing is like that was read before is stored with what else it is made of.

        Raises
        ------
        LoweringError
            If that is no data, such as a function.
        """
        self._is_result = True
        try:
            return self.read(value, where)
        finally:
            self._is_result = False

    def read(self, value: Any, where: str) -> Tree:
        """Return the structure of a pytree; anything that is not a container is a leaf.

        Raises
        ------
        LoweringError
            If a container cannot be stored, naming `where` it is.
        """
        if _is_leaf(value):
            return _LEAF
        if value is None:
            return NoneTree()
        if is_quantity(value):
            if len(jax.tree.leaves(value)) != 1:
                raise LoweringError(f"{where}: a quantity of several arrays; make a pytree of quantities instead")
            return LeafTree(unit=self._unit(value.unit))
        if isinstance(value, tuple) and hasattr(value, "_fields") and _holds(value, value):
            return NamedTupleTree(
                type=class_name(type(value)),
                fields=tuple(value._fields),
                children=self._children(value._fields, value, where),
            )
        if type(value) in (tuple, list):
            kind: Literal["tuple", "list"] = "tuple" if type(value) is tuple else "list"
            return SequenceTree(kind=kind, children=self._children(range(len(value)), value, where))
        if type(value) in (dict, OrderedDict):
            return self._dict(value, where)
        if jax.tree_util.all_leaves([value]):
            return _LEAF
        return self._registered(value, where)

    def _children(self, keys: Any, values: Any, where: str) -> tuple[Tree, ...]:
        return tuple(
            [
                _LEAF if _is_leaf(value) else self.read(value, f"{where}[{key!r}]")
                for key, value in zip(keys, values, strict=True)
            ]
        )

    def _dict(self, value: dict[Any, Any], where: str) -> Tree:
        odd = [key for key in value if not _is_key(key)]
        if odd:
            raise LoweringError(f"{where}: dict keys must be str, int, or tuples of these to be stored, not {odd[0]!r}")
        ordered = type(value) is OrderedDict
        try:
            keys = tuple(value) if ordered else tuple(sorted(value))
        except TypeError as error:
            raise LoweringError(f"{where}: JAX sorts the keys of a dict, and cannot compare these: {error}") from None
        children = self._children(keys, [value[key] for key in keys], where)
        return DictTree(kind="ordered_dict" if ordered else "dict", keys=keys, children=children)

    def _registered(self, value: Any, where: str) -> Tree:
        """Return the structure of a container of a class that is registered with JAX."""
        entries, origin = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda part: part is not value)
        keys = _keys([path[0] for path, _ in entries])
        children = self._children(keys, [part for _, part in entries], where)
        name, fields = class_name(type(value)), tuple(map(str, keys))
        static = plain_fields(value, keys)
        if static is not None:
            return DataclassTree(type=name, fields=fields, children=children, static=static)
        if origin not in self._origins:
            if self._is_result:
                try:
                    held = stored_fields(value, keys, origin)
                    if held is not None:
                        return DataclassTree(type=name, fields=fields, children=children, static=held)
                    self._aux[len(self._origins)] = stored_aux(origin)
                except NotDataError as error:
                    raise LoweringError(
                        f"{where}: besides its arrays this {name} holds {error}, which a file cannot hold, and no "
                        "argument is like it; return its arrays in a dict, list, tuple, namedtuple or dataclass, or "
                        "take one that is like it as an argument"
                    ) from None
            self._origins.append(origin)
        number = self._origins.index(origin)
        return CustomTree(type=name, keys=keys, children=children, origin=number, aux=self._aux.get(number))

    def _unit(self, unit: Any) -> str:
        text = str(unit)
        stored = Unit(
            text=text,
            dimension=cast(Any, tuple(float(exponent) for exponent in unit.dim._dims)),
            scale=float(unit.scale),
            base=float(unit.base),
            factor=float(unit.factor),
        )
        if self._units.setdefault(text, stored) != stored:
            raise LoweringError(f"two different units are both written {text!r}: {self._units[text]!r} and {stored!r}")
        return text


def _is_leaf(value: Any) -> bool:
    """Whether a value is an array or number of a kind that no one can register as a container."""
    return type(value) in _LEAVES or isinstance(value, jax.Array)


def _holds(value: Any, parts: Sequence[Any]) -> bool:
    """Whether JAX takes these for the parts of a container: a class can be registered with others than its fields."""
    found = jax.tree.leaves(value, is_leaf=lambda part: part is not value)
    return len(found) == len(parts) and all(map(operator.is_, found, parts))


def _keys(entries: Sequence[Any]) -> tuple[PathKey, ...]:
    """Return the names of the parts of a container as JAX has them; numbers where these are no names."""
    named = [getattr(entry, name) for entry in entries for name in _ENTRIES if hasattr(entry, name)]
    told = len({*map(str, named)}) == len(entries) and all(type(key) in (str, int) for key in named)
    return tuple(named) if told else tuple(range(len(entries)))


def is_quantity(value: Any) -> bool:
    """Whether a value is a brainunit quantity."""
    saiunit = sys.modules.get("saiunit")
    return saiunit is not None and isinstance(value, saiunit.Quantity)


def _is_key(key: Any) -> bool:
    """Whether a key of a dict is a text, a number, or a path of these, such as that of a state."""
    return type(key) in (str, int) or (type(key) is tuple and all(type(part) in (str, int) for part in key))

"""Python values to the pytree structures of an interface, with physical units."""

from __future__ import annotations

import operator
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

import jax
import numpy as np

from ..ir.errors import LoweringError
from ..ir.interface import Unit
from ..ir.model import PathKey
from ..ir.trees import (
    DEEPEST_TREE,
    Aux,
    CustomTree,
    DataclassTree,
    DictTree,
    LeafTree,
    NamedTupleTree,
    NoneTree,
    SequenceTree,
    Static,
    Tree,
    with_units,
)
from .containers import NotDataError, class_name, scalar_fields, stored_aux, stored_fields

__all__ = ["ResultReader", "TreeReader"]

_Path: TypeAlias = tuple[Any, ...]
"""What is read, as a text, and the keys from there."""

_Fields: TypeAlias = tuple[tuple[str, Static], ...]

_LEAF = LeafTree()
_LEAVES = frozenset((bool, int, float, complex, np.ndarray, jax.core.ShapedArray, jax.ShapeDtypeStruct))

_ENTRIES = ("name", "key", "idx")
"""Where entries of JAX's paths hold the name of an attribute, a key, or a number."""


class TreeReader:
    """Reads pytrees that a program takes, and gathers the units that their leaves name.

    A container whose class is registered with JAX is stored whole if it is a dataclass of arrays and scalars. Of any
    other, an interface has the parts with arrays; what else it is made of is there again with every argument.
    """

    def __init__(self) -> None:
        self._units: dict[str, Unit] = {}
        self._origins: list[Any] = []
        self._aux: list[Aux | None] = []

    @property
    def units(self) -> tuple[Unit, ...]:
        """Every unit met so far, sorted by text."""
        return tuple(self._units[text] for text in sorted(self._units))

    def is_same(self, first: Tree, second: Tree) -> bool:
        """Whether two structures that were read are equal; ``nA / s`` and ``pA / ms`` are one unit."""
        if first == second:
            return True
        numbers = {text: unit.replace(text="") for text, unit in self._units.items()}
        spelling = {text: next(other for other in numbers if numbers[other] == numbers[text]) for text in numbers}
        return with_units(first, spelling) == with_units(second, spelling)

    def read(self, value: Any, where: str) -> Tree:
        """Return the structure of a pytree; anything that is not a container is a leaf.

        Raises
        ------
        LoweringError
            If a container cannot be stored, naming `where` it is.
        """
        return self._read(value, (where,))

    def _read(self, value: Any, path: _Path) -> Tree:
        if _is_leaf(value):
            return _LEAF
        if value is None:
            return NoneTree()
        if is_quantity(value):
            if len(jax.tree.leaves(value)) != 1:
                raise LoweringError(f"{_at(path)}: a quantity of several arrays; make a pytree of quantities instead")
            return LeafTree(unit=self._unit(value.unit))
        if isinstance(value, tuple) and hasattr(value, "_fields") and _holds(value, value):
            return NamedTupleTree(
                type=class_name(type(value)),
                fields=tuple(value._fields),
                children=self._children(value._fields, value, path),
            )
        if type(value) in (tuple, list):
            kind: Literal["tuple", "list"] = "tuple" if type(value) is tuple else "list"
            return SequenceTree(kind=kind, children=self._children(range(len(value)), value, path))
        if type(value) in (dict, OrderedDict):
            return self._dict(value, path)
        if jax.tree_util.all_leaves([value]):
            return _LEAF
        return self._registered(value, path)

    def _children(self, keys: Sequence[Any], values: Sequence[Any], path: _Path) -> tuple[Tree, ...]:
        if len(path) >= DEEPEST_TREE and len(keys):
            raise LoweringError(f"{path[0]}: it nests more than {DEEPEST_TREE} levels deep; flatten it")
        return tuple(
            [
                _LEAF if _is_leaf(value) else self._read(value, (*path, key))
                for key, value in zip(keys, values, strict=True)
            ]
        )

    def _dict(self, value: dict[Any, Any], path: _Path) -> Tree:
        odd = [key for key in value if not _is_key(key)]
        if odd:
            raise LoweringError(
                f"{_at(path)}: dict keys must be str, int, or tuples of these to be stored, not {odd[0]!r}; use such "
                "keys, or leave the dict out, as that of an error of jax.experimental.checkify"
            )
        ordered = type(value) is OrderedDict
        try:
            keys = tuple(value) if ordered else tuple(sorted(value))
        except TypeError as error:
            raise LoweringError(
                f"{_at(path)}: JAX sorts the keys of a dict, and cannot compare these: {error}"
            ) from None
        children = self._children(keys, [value[key] for key in keys], path)
        return DictTree(kind="ordered_dict" if ordered else "dict", keys=keys, children=children)

    def _registered(self, value: Any, path: _Path) -> Tree:
        """Return the structure of a container of a class that is registered with JAX."""
        entries, origin = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda part: part is not value)
        keys = _keys([entry[0] for entry, _ in entries])
        children = self._children(keys, [part for _, part in entries], path)
        held = self._held(value, keys, origin, path)
        if isinstance(held, tuple):
            fields = tuple(map(str, keys))
            return DataclassTree(type=class_name(type(value)), fields=fields, children=children, static=held)
        if origin not in self._origins:
            self._origins.append(origin)
            self._aux.append(held)
        number = self._origins.index(origin)
        return CustomTree(
            type=class_name(type(value)), keys=keys, children=children, origin=number, aux=self._aux[number]
        )

    def _held(self, value: Any, keys: Sequence[PathKey], origin: Any, path: _Path) -> _Fields | Aux | None:
        """Return what is stored of a container besides its parts: its other fields, if it is made of fields."""
        return scalar_fields(value, keys)

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


class ResultReader(TreeReader):
    """Reads pytrees that are made of those that were read before.

    A container that none of those is like is stored with all that it is made of.

    Parameters
    ----------
    taken : TreeReader
        What read the arguments and states; it knows the units of the results, too.
    """

    def __init__(self, taken: TreeReader) -> None:
        self._units, self._origins, self._aux = taken._units, taken._origins, taken._aux

    def _held(self, value: Any, keys: Sequence[PathKey], origin: Any, path: _Path) -> _Fields | Aux | None:
        plain = scalar_fields(value, keys)
        if plain is not None or origin in self._origins:
            return plain
        try:
            fields = stored_fields(value, keys, origin)
            return stored_aux(origin) if fields is None else fields
        except NotDataError as error:
            raise LoweringError(
                f"{_at(path)}: besides its arrays this {class_name(type(value))} holds {error}, which a file cannot "
                "hold, and no argument is like it; return its arrays in a dict, list, tuple, namedtuple or dataclass, "
                "or take one that is like it as an argument"
            ) from None


def _at(path: _Path) -> str:
    """Write where something is: in what, and the keys that lead to it."""
    root, *keys = path
    return f"{root}{''.join(f'[{key!r}]' for key in keys)}"


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

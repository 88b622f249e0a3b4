"""Python values to the pytree structures of an interface, with physical units."""

from __future__ import annotations

import dataclasses
import operator
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Literal, cast

import jax
import numpy as np

from ..ir.errors import LoweringError
from ..ir.interface import (
    DataclassTree,
    DictTree,
    LeafTree,
    NamedTupleTree,
    NoneTree,
    SequenceTree,
    Tree,
    Unit,
)

__all__ = ["TreeReader"]


_LEAF = LeafTree()
_LEAVES = frozenset((bool, int, float, complex, np.ndarray, jax.core.ShapedArray, jax.ShapeDtypeStruct))


class TreeReader:
    """Reads pytrees of one interface and gathers the units that their leaves name."""

    def __init__(self) -> None:
        self._units: dict[str, Unit] = {}

    @property
    def units(self) -> tuple[Unit, ...]:
        """Every unit met so far, sorted by text."""
        return tuple(self._units[text] for text in sorted(self._units))

    def read(self, value: Any, where: str) -> Tree:
        """Return the structure of a pytree; anything that is not a container is a leaf.

        Raises
        ------
        LoweringError
            If a container is of a kind that cannot be stored, naming `where` it is.
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
                type=_class_name(value),
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
        if dataclasses.is_dataclass(value):
            return self._dataclass(value, where)
        raise _of_its_own_kind(value, where)

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

    def _dataclass(self, value: Any, where: str) -> Tree:
        entries, _ = jax.tree_util.tree_flatten_with_path(value, is_leaf=lambda part: part is not value)
        names = tuple(str(getattr(path[0], "name", path[0])) for path, _ in entries)
        fields = [field.name for field in dataclasses.fields(value)]
        if not {*names} <= {*fields}:
            raise _of_its_own_kind(value, where)
        static = tuple((name, getattr(value, name)) for name in fields if name not in names)
        odd = [name for name, item in static if not isinstance(item, bool | int | float | str | None)]
        if odd:
            raise LoweringError(f"{where}.{odd[0]}: a static field must be a number, text, bool or None to be stored")
        children = self._children(names, [part for _, part in entries], where)
        return DataclassTree(type=_class_name(value), fields=names, children=children, static=static)

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


def _of_its_own_kind(value: Any, where: str) -> LoweringError:
    return LoweringError(
        f"{where}: {type(value).__module__}.{type(value).__qualname__} is a pytree of its own kind, which a file "
        "cannot hold; pass a dict, list, tuple, namedtuple or registered dataclass of arrays instead"
    )


def is_quantity(value: Any) -> bool:
    """Whether a value is a brainunit quantity."""
    saiunit = sys.modules.get("saiunit")
    return saiunit is not None and isinstance(value, saiunit.Quantity)


def _is_key(key: Any) -> bool:
    """Whether a key of a dict is a text, a number, or a path of these, such as that of a state."""
    return type(key) in (str, int) or (type(key) is tuple and all(type(part) in (str, int) for part in key))


def _class_name(value: Any) -> str:
    return f"{type(value).__module__}:{type(value).__qualname__}"

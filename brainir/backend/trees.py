"""Pytree structures of an interface applied to Python values: taking leaves out and putting them back.

Classes that a file names are used only if an argument is of them or the caller has imported them; otherwise a class
with the same name and fields stands in. Nothing is imported because a file says so.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import sys
from collections import OrderedDict, namedtuple
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax

from ..ir.errors import EmissionError
from ..ir.interface import Unit
from ..ir.trees import (
    ClassName,
    CustomTree,
    DataclassTree,
    DictTree,
    LeafTree,
    NamedTupleTree,
    NoneTree,
    SequenceTree,
    Static,
    StaticDict,
    Tree,
)

__all__ = ["Origins", "TreeBuilder"]


@dataclasses.dataclass
class Origins:
    """What containers in the arguments of a call are made of besides their parts, for the results that are like them.

    Parameters
    ----------
    custom : dict
        Of custom containers: what JAX makes one of, by the number that it has in the interface.
    classes : dict
        Of namedtuples and dataclasses: the class, by the name that it has in the interface. A class that was defined
        in a function cannot be found by its name.
    """

    custom: dict[int, Any] = dataclasses.field(default_factory=dict)
    classes: dict[str, type] = dataclasses.field(default_factory=dict)


class TreeBuilder:
    """Flattens and unflattens values of one interface.

    Where brainunit is not installed there are no quantities: a value is a number in the unit that its leaf has.

    Parameters
    ----------
    units : sequence of Unit
        The units that leaves name.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        self._units = {unit.text: unit for unit in units}

    @functools.cached_property
    def _saiunit(self) -> Any:
        """The package of units; None where it is not installed, so that all values are numbers in their units."""
        try:
            return importlib.import_module("saiunit")
        except ImportError:
            return None

    @functools.cache  # noqa: B019  # one builder for each emitted function; both live as long
    def _unit(self, text: str) -> Any:
        stored, saiunit = self._units[text], self._saiunit
        try:
            unit = saiunit.parse_unit(text)
        except ValueError:
            # The text is of another version of brainunit, or of a unit that was registered; the numbers say it all.
            unit = None
        numbers = (*stored.dimension, stored.scale, stored.base, stored.factor)
        if unit is not None and (*unit.dim._dims, unit.scale, unit.base, unit.factor) == numbers:
            return unit
        dimension = saiunit.get_or_create_dimension(list(stored.dimension))
        try:
            return saiunit.Unit(dim=dimension, scale=stored.scale, base=stored.base, factor=stored.factor)
        except ValueError as error:
            raise EmissionError(f"brainunit cannot represent the unit {stored!r}: {error}") from error

    def flatten(
        self, tree: Tree, value: Any, where: str, origins: Origins, *, plain: bool = False
    ) -> Iterator[tuple[Any, str]]:
        """Yield each leaf of `value` with its place, checking the structure and converting units.

        With `plain`, numbers without a unit are taken in the unit that the leaf has. What custom containers are made
        of, and the classes of others, are put into `origins`. A tuple of its parts stands for a custom container, where
        its class is not installed.

        Raises
        ------
        EmissionError
            If the structure is another, or a unit has another dimension, naming the place.
        """
        match tree:
            case LeafTree(unit=unit):
                yield self._mantissa(value, unit, where, plain), where
            case NoneTree():
                if value is not None:
                    raise EmissionError(f"{where} must be None, not {_kind(value)}")
            case SequenceTree(kind=kind, children=children):
                if type(value) not in ((tuple,) if kind == "tuple" else (list,)) or len(value) != len(children):
                    raise EmissionError(f"{where} must be a {kind} of {len(children)} items, not {_kind(value)}")
                for index, child in enumerate(children):
                    yield from self.flatten(child, value[index], f"{where}[{index}]", origins, plain=plain)
            case DictTree(keys=keys, children=children):
                if not isinstance(value, Mapping) or set(value) != set(keys):
                    raise EmissionError(f"{where} must be a dict with keys {list(keys)}, not {_kind(value)}")
                for key, child in zip(keys, children, strict=True):
                    yield from self.flatten(child, value[key], f"{where}[{key!r}]", origins, plain=plain)
            case NamedTupleTree(fields=fields, children=children) | DataclassTree(fields=fields, children=children):
                if not all(hasattr(value, field) for field in fields):
                    raise EmissionError(f"{where} must have the fields {list(fields)}, not be {_kind(value)}")
                if _class_name(value) == tree.type:
                    origins.classes[tree.type] = type(value)
                for field, child in zip(fields, children, strict=True):
                    yield from self.flatten(child, getattr(value, field), f"{where}.{field}", origins, plain=plain)
            case CustomTree(keys=keys, children=children):
                parts, origin = jax.tree.flatten(value, is_leaf=lambda part: part is not value)
                if not (type(value) is tuple or _class_name(value) == tree.type) or len(parts) != len(children):
                    raise EmissionError(
                        f"{where} must be a {tree.type} with {list(keys)}, or a tuple of these, not {_kind(value)}"
                    )
                origins.custom[tree.origin] = origin
                for key, part, child in zip(keys, parts, children, strict=True):
                    yield from self.flatten(child, part, f"{where}[{key!r}]", origins, plain=plain)

    def _mantissa(self, value: Any, unit: str | None, where: str, plain: bool) -> Any:
        quantity = getattr(sys.modules.get("saiunit"), "Quantity", None)
        given = quantity is not None and isinstance(value, quantity)
        if unit is None:
            if given and not value.unit.is_unitless:
                raise EmissionError(f"{where} must be a plain array, not a quantity in {value.unit}")
            return value.mantissa if given else value
        if self._saiunit is None:
            return value
        wanted = self._unit(unit)
        if not given:
            if wanted.is_unitless or plain:
                return value
            raise EmissionError(
                f"{where} must be a quantity in {unit}, not {_kind(value)}; for a number in this unit, give "
                f"value * brainunit.parse_unit({unit!r})"
            )
        if value.unit == wanted:
            return value.mantissa
        if value.unit.dim != wanted.dim:
            raise EmissionError(f"{where} must be a quantity in {unit}, not in {value.unit}")
        return value.to_decimal(wanted)

    def unflatten(self, tree: Tree, leaves: Iterator[Any], origins: Origins) -> Any:
        """Build a value from its leaves, and from what custom containers of the arguments are made of.

        Tuples of their parts stand for those that neither an argument is like nor a class that the caller has imported.
        """

        def built(children: Sequence[Tree]) -> list[Any]:
            return [self.unflatten(child, leaves, origins) for child in children]

        match tree:
            case LeafTree(unit=unit) if unit is None or self._saiunit is None:
                return next(leaves)
            case LeafTree(unit=unit):
                return self._saiunit.Quantity(next(leaves), unit=self._unit(unit or ""))
            case NoneTree():
                return None
            case SequenceTree(kind=kind):
                items = built(tree.children)
                return tuple(items) if kind == "tuple" else items
            case DictTree(kind=kind, keys=keys):
                pairs = zip(keys, built(tree.children), strict=True)
                return OrderedDict(pairs) if kind == "ordered_dict" else dict(pairs)
            case NamedTupleTree():
                parts = built(tree.children)
                return _namedtuple_class(tree, _class_of(tree, origins))(*parts)
            case CustomTree(origin=origin):
                parts = built(tree.children)
                made_of = origins.custom.get(origin) or _registered(tree)
                return tuple(parts) if made_of is None else made_of.unflatten(parts)
            case DataclassTree():
                fields = dict(zip(tree.fields, built(tree.children), strict=True))
                static = {name: _restored(value) for name, value in tree.static}
                return _dataclass(_dataclass_class(tree, _class_of(tree, origins)), {**fields, **static})


def _kind(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with keys {list(value)}"
    if isinstance(value, tuple | list):
        return f"a {type(value).__name__} of {len(value)} items"
    return f"of type {type(value).__name__}"


def _class_name(value: Any) -> str:
    return f"{type(value).__module__}:{type(value).__qualname__}"


def _imported(name: str) -> Any:
    """Return what ``module:qualified.name`` means if the module is imported already, else None."""
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None


def _restored(value: Static) -> Any:
    """Return what a container holds besides arrays; an empty class stands for one that is not imported."""
    if isinstance(value, ClassName):
        return _imported(value.type) or type(_last(value.type), (), {})
    if isinstance(value, StaticDict):
        items = [(key, _restored(held)) for key, held in value.items]
        return OrderedDict(items) if value.ordered else dict(items)
    return tuple(map(_restored, value)) if isinstance(value, tuple) else value


def _last(name: str) -> str:
    """Return the name of a class without what it is in."""
    return name.rpartition(".")[2].rpartition(":")[2]


def _registered(tree: CustomTree) -> Any:
    """Return what JAX makes a container with an aux of, if its class is imported and registered; else None."""
    found = _imported(tree.type)
    if found is None or tree.aux is None:
        return None
    own = found, _restored(tree.aux.value)
    leaf = jax.tree.structure(0)
    try:
        return jax.tree_util.PyTreeDef.from_node_data_and_children(
            jax.tree_util.default_registry, own, [leaf] * len(tree.children)
        )
    except RuntimeError:  # not registered
        return None


def _dataclass(made: Any, values: dict[str, Any]) -> Any:
    """Make a dataclass of all its fields, if its own `__init__` takes something else, as JAX does it."""
    own = vars(made).get("__dataclass_params__")
    if own is not None and own.init and all(field.init for field in dataclasses.fields(made)):
        return made(**values)
    blank = object.__new__(made)
    for name, value in values.items():
        object.__setattr__(blank, name, value)
    parts, origin = jax.tree.flatten(blank, is_leaf=lambda part: part is not blank)
    return jax.tree.unflatten(origin, parts)


def _class_of(tree: NamedTupleTree | DataclassTree, origins: Origins) -> Any:
    """Return the class that an argument like this has, or else the imported one of the name, if there is one."""
    return origins.classes.get(tree.type) or _imported(tree.type)


def _namedtuple_class(tree: NamedTupleTree, found: Any) -> Any:
    if found is not None and issubclass(found, tuple) and getattr(found, "_fields", None) == tree.fields:
        return found
    return _namedtuple_like(tree.type, tree.fields)


def _dataclass_class(tree: DataclassTree, found: Any) -> Any:
    static = tuple(name for name, _ in tree.static)
    if dataclasses.is_dataclass(found) and {*tree.fields, *static} <= {part.name for part in dataclasses.fields(found)}:
        return found
    return _dataclass_like(tree.type, tree.fields, static)


@functools.cache
def _namedtuple_like(name: str, fields: tuple[str, ...]) -> Any:
    """Make the class that stands in for a namedtuple, once for all values of it."""
    return namedtuple(_last(name), fields)


@functools.cache
def _dataclass_like(name: str, fields: tuple[str, ...], static: tuple[str, ...]) -> Any:
    """Make the class that stands in for a dataclass, once for all values of it."""
    made = dataclasses.make_dataclass(_last(name), [*fields, *static], frozen=True)
    return jax.tree_util.register_dataclass(made, data_fields=fields, meta_fields=static)

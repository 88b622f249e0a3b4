"""What a container of a registered class is made of besides its parts with arrays, as far as a file can hold it."""

from __future__ import annotations

import dataclasses
import sys
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, get_args

import jax

from ..ir.model import PathKey
from ..ir.trees import Aux, ClassName, Scalar, Static, StaticDict

__all__ = ["NotDataError", "class_name", "scalar_fields", "stored_aux", "stored_fields"]

_DEEPEST = 3


class NotDataError(Exception):
    """Something that a file cannot hold; the text says what."""


def class_name(found: type) -> str:
    """Return ``module:qualified.name`` of a class."""
    return f"{found.__module__}:{found.__qualname__}"


def scalar_fields(value: Any, parts: Sequence[PathKey]) -> tuple[tuple[str, Scalar], ...] | None:
    """Return the fields of a dataclass that are no parts, if its class makes it of these and the parts.

    None if it does not, or if one is something else than a number, text, bool or None.
    """
    others = _other_fields(value, parts)
    own = vars(type(value)).get("__dataclass_params__")
    if others is None or own is None or not own.init:
        return None
    fields = dataclasses.fields(value)
    is_whole = all(field.init for field in fields) and len(fields) == len(parts) + len(others)
    return tuple(others.items()) if is_whole and all(isinstance(held, Scalar) for held in others.values()) else None


def stored_fields(value: Any, parts: Sequence[PathKey], origin: Any) -> tuple[tuple[str, Static], ...] | None:
    """Return the fields of a dataclass that are no parts; None if JAX makes the container of something else.

    Parameters
    ----------
    value
    parts : sequence of str and int
        The fields that are parts.
    origin : PyTreeDef
        The structure of the container alone.

    Raises
    ------
    NotDataError
        If a field is no data.
    """
    others = _other_fields(value, parts)
    if others is None:
        return None
    copy = object.__new__(type(value))
    for name in (*map(str, parts), *others):
        object.__setattr__(copy, name, getattr(value, name))
    try:
        same = jax.tree.structure(copy, is_leaf=lambda part: part is not copy) == origin
    except (AttributeError, TypeError):  # its class keeps something else that JAX makes it of
        return None
    return tuple((name, _stored(held, f" in {name!r}")) for name, held in others.items()) if same else None


def _other_fields(value: Any, parts: Sequence[PathKey]) -> dict[str, Any] | None:
    """Return the fields of a dataclass that are set and no parts; None if it is none, or if parts are no fields."""
    if not dataclasses.is_dataclass(value):
        return None
    names = [field.name for field in dataclasses.fields(value) if hasattr(value, field.name)]
    if not {*parts} <= {*names}:
        return None
    return {name: getattr(value, name) for name in names if name not in parts}


def stored_aux(origin: Any) -> Aux:
    """Return what the class of a container gives JAX besides its parts.

    Raises
    ------
    NotDataError
        If that is no data.
    """
    return Aux(value=_stored(origin.node_data()[1]))


def _stored(value: Any, where: str = "", depth: int = 0) -> Any:
    # A class of its own, such as a member of an enum that is a number, does not come back.
    if type(value) in get_args(Scalar):
        return value
    if type(value) is tuple and depth < _DEEPEST:
        return tuple([_stored(item, where, depth + 1) for item in value])
    if type(value) in (dict, OrderedDict) and all(type(key) is str for key in value):
        items = tuple([(key, _stored(held, where)) for key, held in value.items()])
        return StaticDict(items=items, ordered=type(value) is OrderedDict)
    if isinstance(value, type) and _is_at(value, value.__module__, value.__qualname__):
        return ClassName(type=class_name(value))
    if callable(value) and hasattr(value, "__qualname__"):
        raise NotDataError(f"the function {value.__qualname__}{where}")
    raise NotDataError(f"a value of type {type(value).__qualname__}{where}")


def _is_at(value: Any, module: str, path: str) -> bool:
    """Whether this is what a module has under a name."""
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found is value

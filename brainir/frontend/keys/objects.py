"""What Python's functions, classes and objects are made of, as far as what they do depends on it."""

from __future__ import annotations

import dataclasses
import dis
import functools
import inspect
import struct
import sys
import types
import typing
from typing import Any

import numpy as np

from .wrapped import UnknownBehaviourError, is_pure

__all__ = [
    "attributes",
    "global_paths",
    "is_annotation",
    "is_compared_by_fields",
    "is_importable",
    "is_of_pure_module",
    "members",
    "noted_results",
]


class _Pair(typing.NamedTuple):
    first: int
    second: int


_NOTES = frozenset(
    [
        "__abstractmethods__",
        "__annotate__",
        "__annotate_func__",
        "__annotations__",
        "__annotations_cache__",
        "__dict__",
        "__doc__",
        "__firstlineno__",
        "__module__",
        "__orig_bases__",
        "__parameters__",
        "__qualname__",
        "__slotnames__",
        "__static_attributes__",
        "__weakref__",
        "_abc_impl",
    ]
)
"""What Python keeps in a class that changes nothing of what its objects do."""

_PLACES = (types.MemberDescriptorType, types.GetSetDescriptorType, type(vars(_Pair)["first"]))
"""Descriptors that say where in an object an attribute is."""

_HEAP_TYPE = 1 << 9
"""Flag of classes that are made while Python runs."""

_POINTER = struct.calcsize("P")
_OWN_COPIES = frozenset(("__getnewargs__", "__getnewargs_ex__", "__reduce__", "__reduce_ex__"))

_BUILTIN_METHODS = (types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType)

_BUILTIN = (
    types.FunctionType,
    types.BuiltinFunctionType,
    type,
    np.ufunc,
    type(is_pure),  # of functools.lru_cache
)
"""Kinds of callables that do nothing but what was defined."""


def is_importable(value: Any) -> bool:
    """Whether a class or function is what its module has under its name, and so is there for good."""
    if isinstance(value, types.BuiltinFunctionType) and not isinstance(value.__self__, types.ModuleType | None):
        return False
    if not callable(value):
        return False
    if isinstance(value, type) and not value.__flags__ & _HEAP_TYPE:
        return True  # a class of Python itself, which nobody can change
    module = getattr(value, "__module__", None) or ("numpy" if isinstance(value, np.ufunc) else "")
    if not isinstance(module, str) or (not is_pure(module) and _can_change(value)):
        return False
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    # That of jax.Array has the module in it where it is compiled, which is another one.
    return isinstance(name, str) and getattr(sys.modules.get(module), name.rpartition(".")[2], None) is value


def _can_change(value: Any) -> bool:
    """Whether what a callable of a model does depends on what it holds: on members, or on attributes."""
    return isinstance(value, type) or not (isinstance(value, _BUILTIN) or type(value).__name__ == "PjitFunction")


def is_of_pure_module(function: types.FunctionType) -> bool:
    """Whether such a module has a function under its name, whatever it was wrapped in."""
    return is_pure(function.__module__) and is_importable(function)


def is_annotation(value: Any) -> bool:
    """Whether a value is a type with arguments, such as ``int | None``."""
    return type(value).__module__ in ("types", "typing") and typing.get_origin(value) is not None


def is_compared_by_fields(kind: type) -> bool:
    """Whether a class says that its objects are equal where their fields are, which do not change."""
    params = getattr(kind, "__dataclass_params__", None)
    return bool(params and params.frozen and params.eq)


def noted_results(value: Any) -> tuple[Any, Any] | None:
    """Return what Equinox notes in a parameter of its primitives: how results make a tree, and its static leaves.

    None for anything else. Each use of a primitive writes its note into a new object, which equals itself only, though
    its type and the other parameters say it all.
    """
    kind = type(value)
    if (kind.__module__, kind.__qualname__) != ("equinox.internal._primitive", "Flatten") or not value.called():
        return None
    structure, static = value.get()
    return structure, static


def members(kind: type) -> dict[str, Any]:
    """Return what a class defines, by name, and functions for what is around them."""
    return {name: _member(value) for name, value in vars(kind).items() if name not in _NOTES}


def _member(value: Any) -> Any:
    if isinstance(value, staticmethod | classmethod):
        return type(value).__name__, value.__func__
    if isinstance(value, property):
        return "property", value.fget, value.fset, value.fdel
    if isinstance(value, functools.cached_property):
        return "cached_property", value.attrname, value.func
    if isinstance(value, _PLACES):
        return type(value).__name__, getattr(value, "__name__", "")
    if isinstance(value, _BUILTIN_METHODS):
        return type(value).__name__, value.__objclass__, value.__name__
    return value


def attributes(value: Any) -> Any:
    """Return all that an object holds.

    Raises
    ------
    UnknownBehaviourError
        If its class is not written in Python, or says itself what its objects hold.
    """
    kind = type(value)
    if isinstance(value, inspect.Signature):
        return list(value.parameters.values())
    if isinstance(value, inspect.Parameter):
        return value.name, int(value.kind), value.default
    if isinstance(value, dataclasses.Field):
        return [getattr(value, name) for name in value.__slots__ if name not in ("type", "_field_type")]
    if kind is types.SimpleNamespace:
        return vars(value)
    slots = _slots(kind)
    if slots is None:
        raise UnknownBehaviourError(kind.__name__)
    held = {name: getattr(value, name) for name in slots if hasattr(value, name)}
    return held, dict(getattr(value, "__dict__", {}))


def _slots(kind: type) -> tuple[str, ...] | None:
    """Return the attributes of objects of a class that are not in a dict; None if they may hold more than attributes.

    That is so of classes that are not written in Python, and of those that are copied or pickled in a way of their own.
    """
    slots: list[str] = []
    for base in kind.__mro__[:-1]:
        held = vars(base)
        is_python = base.__flags__ & _HEAP_TYPE and not isinstance(held.get("__new__"), types.BuiltinFunctionType)
        if not is_python or not _OWN_COPIES.isdisjoint(held) or _has_own_state(held):
            return None
        found = [name for name, place in held.items() if isinstance(place, types.MemberDescriptorType)]
        slots += found
    # A dict and a list of weak references come on top.
    most = object.__basicsize__ + _POINTER * (len(slots) + 2)
    return tuple(slots) if kind.__basicsize__ <= most and not kind.__itemsize__ else None


def _has_own_state(held: Any) -> bool:
    state = held.get("__getstate__")
    return state is not None and getattr(state, "__module__", "") != "dataclasses"


@functools.lru_cache(maxsize=1 << 12)
def global_paths(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
    """Return the global names that code uses, each with the attributes that are taken of it.

    Raises
    ------
    UnknownBehaviourError
        If it imports modules.
    """
    found: dict[tuple[str, ...], None] = {}
    path: list[str] = []
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_ATTR", "LOAD_METHOD") and path:
            path.append(step.argval)
            continue
        if path:
            found[tuple(path)] = None
        path = [step.argval] if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") else []
        if step.opname == "IMPORT_NAME" and not is_pure(step.argval):
            raise UnknownBehaviourError(f"an import of {step.argval}")
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            found.update(dict.fromkeys(global_paths(inner)))
    return tuple(found)

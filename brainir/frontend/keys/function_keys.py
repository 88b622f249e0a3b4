"""What a Python function computes, as a key: functions with equal keys trace to the same.

A key holds the code, the values that the function closes over, its defaults, and what it finds in the namespace of its
module: numbers and small arrays by their bits, functions in turn, objects by their class and attributes, classes by
their members. It holds no array of size and no object of a model, so it keeps nothing alive. Packages that JAX programs
are written in, such as ``jax.numpy``, are taken as they are.
"""

from __future__ import annotations

import builtins
import dataclasses
import enum
import functools
import types
import typing
from collections.abc import Callable, Hashable, Mapping, Set
from typing import Any, ClassVar, TypeAlias

import jax
import numpy as np
from jax.extend import core
from jax.extend.linear_util import WrappedFun

from ..foreign.implementations import primitive_functions
from .jaxprs import JaxprWalk
from .key import Only, Same
from .objects import (
    attributes,
    global_paths,
    is_annotation,
    is_compared_by_fields,
    is_importable,
    is_of_pure_module,
    members,
)
from .wrapped import (
    EXACT,
    UnknownBehaviourError,
    around_functions,
    closure,
    has_pure_code,
    is_compared_by_jax,
    is_jax_object,
    is_jitted_for_good,
    is_lifted_with_another,
    is_pure,
    jitted,
    unwrapped_rule,
    without_notes,
)

__all__ = ["FunctionKeys", "Kinds", "Reader"]

Reader: TypeAlias = Callable[[Any, Any], Hashable]
"""Returns, with what makes keys, the key of a value of one type."""

Kinds: TypeAlias = tuple[tuple[Callable[[Any], Any], Reader], ...]
"""Tests of values, and how to read those for which a test holds."""

_READING = frozenset(("__import__", "eval", "exec", "globals", "input", "open"))
"""Builtins that depend on more than their arguments."""

_CHANGING = frozenset((list, dict, set, types.MappingProxyType))
_ARRAYS = (np.ndarray, np.generic, jax.Array)
_MOST_BYTES = 1 << 12


_RULE_FIELDS = (
    "fun",
    "jvp",
    "fwd",
    "bwd",
    "nondiff_argnums",
    "nondiff_argnames",
    "symbolic_zeros",
    "optimize_remat",
    "with_accums",
    "with_logs",
    "generic_batching",
    "remat_rules",
)
"""What a function with its own rules is made of, in one JAX version or another."""


def _is(*kinds: type) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, kinds)


def _is_called(name: str) -> Callable[[Any], bool]:
    return lambda value: type(value).__name__ == name


def _is_of_pure_code(function: types.FunctionType) -> bool:
    """Whether a function of a pure module is not made where another one runs, and so is there for good."""
    return has_pure_code(function) and "<locals>" not in function.__code__.co_qualname


def _is_method_of_builtin(value: Any) -> bool:
    return isinstance(value, types.BuiltinMethodType) and not isinstance(value.__self__, types.ModuleType | None)


def _is_array(value: Any) -> bool:
    return isinstance(value, _ARRAYS) and not isinstance(value, jax.core.Tracer)


def _is_namedtuple(value: Any) -> bool:
    return isinstance(value, tuple) and hasattr(value, "_fields")


def _is_pure_module(value: Any) -> bool:
    return isinstance(value, types.ModuleType) and is_pure(value.__name__)


class FunctionKeys(JaxprWalk):
    """Makes keys of functions, and of what these use."""

    def _of(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in EXACT:
            return kind, value
        self._changes |= kind in _CHANGING
        read = self._readers.get(kind)
        return self._object(value) if read is None else read(self, value)

    def _object(self, value: Any) -> Hashable:
        """Return the key of a value of a type that has no reader of its own."""
        return next(read for is_such, read in self._kinds if is_such(value))(self, value)

    def _itself(self, value: Any) -> Hashable:
        return Same(value)

    def _compared(self, value: Any) -> Hashable:
        return type(value), value

    def _number(self, value: float | complex) -> Hashable:
        return type(value), repr(value)

    def _sequence(self, value: tuple[Any, ...] | list[Any]) -> Hashable:
        return type(value), tuple([(type(item), item) if type(item) in EXACT else self._of(item) for item in value])

    def _dict(self, value: Mapping[Any, Any]) -> Hashable:
        return type(value), tuple([(self._of(name), self._of(item)) for name, item in value.items()])

    def _set(self, value: Set[Any]) -> Hashable:
        return type(value), frozenset(map(self._of, value))

    def _method(self, value: types.MethodType) -> Hashable:
        return type(value), self._of(value.__func__), self._of(value.__self__)

    def _builtin_method(self, value: types.BuiltinMethodType) -> Hashable:
        return type(value), value.__name__, self._of(value.__self__)

    def _partial(self, value: functools.partial[Any]) -> Hashable:
        return functools.partial, self._of(value.func), self._of(value.args), self._of(value.keywords)

    def _namedtuple(self, value: tuple[Any, ...]) -> Hashable:
        return self._of(type(value)), tuple([self._of(item) for item in value])

    def _member(self, value: enum.Enum) -> Hashable:
        return Same(type(value)), value.name

    def _annotation(self, value: Any) -> Hashable:
        return type(value), self._of(typing.get_origin(value)), self._of(typing.get_args(value))

    def _axis_data(self, value: Any) -> Hashable:
        fields = dataclasses.fields(value)
        return type(value).__name__, tuple([self._of(getattr(value, field.name)) for field in fields])

    def _around(self, value: Any) -> Hashable:
        return type(value).__name__, self._of(around_functions(value))

    def _with_rules(self, value: Any) -> Hashable:
        """Return the key of a function with derivative rules, which can be given others."""
        self._changes = True
        held = vars(value)
        return type(value).__name__, tuple([(name, self._of(held[name])) for name in _RULE_FIELDS if name in held])

    def _stand_in(self, value: Any) -> Hashable:
        """Return the key of what stands for something by being itself."""
        return self._part(Same(value))

    def _for_good(self, value: Any) -> Hashable:
        """Return the key of what its module has under its name."""
        # What a function of a model returned before can be forgotten, by jax.clear_caches or by cache_clear.
        inner = getattr(value, "__wrapped__", None)
        known = isinstance(inner, types.FunctionType) and not has_pure_code(inner)
        self._changes |= not is_pure(getattr(value, "__module__", None))
        return (Same(value), self._of(inner)) if known else Same(value)

    def _walk(self, function: types.FunctionType) -> Hashable:
        if _is_of_pure_code(function):
            return Same(function)
        return self._once(function, self._function)

    def _of_parts(self, value: Any) -> Hashable:
        """Return the key of an object that does not compare."""
        if is_jax_object(value):
            raise UnknownBehaviourError(type(value).__name__)
        return self._once(value, self._instance)

    def _jitted(self, value: Any) -> Hashable:
        """Return the key of what JAX traces once: if it can change, it may be another one now than when JAX did."""
        changed, self._changes = self._changes, False
        key = self._of(jitted(value))
        one = Only(value) if self._changes else None
        self._changes |= changed
        return type(value).__name__, (one, key)

    def _class(self, value: type) -> Hashable:
        return self._for_good(value) if is_importable(value) else self._once(value, self._members)

    def _members(self, value: type) -> Hashable:
        """Return the key of a class that is not there for good, which is what it is made of."""
        self._changes = True
        named = value.__module__, value.__qualname__
        return self._of(type(value)), named, self._of(value.__bases__), self._of(tuple(members(value).items()))

    def _instance(self, value: Any) -> Hashable:
        """Return the key of an object, which is its class and its attributes."""
        held = self._of(attributes(value))
        self._changes = True
        key = self._of(type(value)), held
        return key if is_compared_by_fields(type(value)) else self._part(key)

    def _tree(self, tree: Any) -> Hashable:
        """Return the key of how a tree is built, in which static parts are what they are and not what they equal."""
        node, children = tree.node_data(), tree.children()
        if node is None:
            return int(tree.num_leaves)
        kind, static = node
        return self._of(kind), self._of(static), tuple(map(self._tree, children))

    def _wrapped(self, value: Any) -> Hashable:
        """Return the key of a function that JAX transforms when it traces it."""
        value, rule, avals, kept = unwrapped_rule(value)
        if rule is not None:
            return "rule", self._of(rule), self._of(avals), kept
        transforms = [
            (self._of(change), self._of(without_notes(static)))
            for change, static in value.transforms
            if not is_lifted_with_another(change)
        ]
        return "wrapped", self._of(value.f), tuple(transforms), self._of(value.params)

    def _array(self, value: Any) -> Hashable:
        self._changes |= isinstance(value, np.ndarray)
        if not isinstance(value.dtype, np.dtype) or value.dtype.hasobject or value.nbytes > _MOST_BYTES:
            raise UnknownBehaviourError(f"an array of {value.dtype}{value.shape}")
        return type(value), value.dtype, value.shape, getattr(value, "weak_type", False), np.asarray(value).tobytes()

    def _primitive(self, primitive: Any) -> Hashable:
        return self._once(primitive, self._computed)

    def _computed(self, primitive: Any) -> Hashable:
        """Return the key of a primitive, which stands for what it computes and for its rules."""
        self._changes = True
        return Same(primitive), tuple(map(self._of, primitive_functions(primitive)))

    def _function(self, function: types.FunctionType) -> Hashable:
        pure = has_pure_code(function)
        self._changes |= not pure
        if is_of_pure_module(function):
            return Same(function)  # it is there for good
        code = function.__code__
        return (
            code,
            code.co_filename,
            # JAX names what it traces after these, which can be other ones than those of the code.
            function.__name__,
            function.__qualname__,
            function.__defaults__ and self._of(function.__defaults__),
            function.__kwdefaults__ and self._of(function.__kwdefaults__),
            tuple([(name, self._of(held)) for name, held in closure(function)]),
            tuple([(name, self._of(held)) for name, held in vars(function).items() if name != "__wrapped__"]),
            () if pure else tuple([self._global(function, path) for path in global_paths(code)]),
        )

    def _global(self, function: types.FunctionType, path: tuple[str, ...]) -> Hashable:
        name, *attributes = path
        if name in _READING:
            raise UnknownBehaviourError(f"what {name} reads")
        namespace: Any = function.__globals__
        if name not in namespace:
            namespace = vars(builtins)
        if name not in namespace:
            return path, "missing"
        value = namespace[name]
        while isinstance(value, types.ModuleType | type):
            if value is np.random or (value is np and attributes[:1] == ["random"]):
                raise UnknownBehaviourError("what numpy.random draws")
            # Some modules look for a name that they have not, and take long.
            if is_pure(value.__name__ if isinstance(value, types.ModuleType) else value.__module__):
                return path, Same(value)
            if not attributes:
                break
            value = getattr(value, attributes.pop(0), None)
        return path, self._of(value)

    _readers: ClassVar[dict[type, Reader]] = {
        float: _number,
        complex: _number,
        tuple: _sequence,
        list: _sequence,
        dict: _dict,
        types.MappingProxyType: _dict,
        frozenset: _set,
        set: _set,
        types.FunctionType: _walk,
        types.MethodType: _method,
        WrappedFun: _wrapped,
        jax.tree_util.PyTreeDef: _tree,
        jax.core.ShapedArray: _compared,
        core.Primitive: _primitive,
        functools.partial: _partial,
        np.ndarray: _array,
        type: _class,
    }
    """How values of exactly these types, which rules are mostly made of, are read."""

    _kinds: ClassVar[Kinds] = (
        (_is(functools.partial), _partial),
        (_is_method_of_builtin, _builtin_method),
        (_is(np.dtype, jax.sharding.Mesh), _compared),
        (_is(jax.custom_jvp, jax.custom_vjp), _with_rules),
        (_is_array, _array),
        (_is_namedtuple, _namedtuple),
        (_is(enum.Enum), _member),
        (_is(core.ClosedJaxpr, core.Jaxpr), JaxprWalk._jaxpr),
        (_is(core.Primitive), _primitive),
        (_is_pure_module, _itself),
        (_is(core.JaxprEqn), JaxprWalk._lone_equation),
        (around_functions, _around),
        (lambda value: type(value) is object, _stand_in),
        (_is_called("UnspecifiedValue"), _itself),
        (_is_called("AxisData"), _axis_data),
        (is_importable, _for_good),
        (is_jitted_for_good, _for_good),
        (is_compared_by_jax, _compared),
        (_is(type), _class),
        (jitted, _jitted),
        (is_annotation, _annotation),
        (lambda value: type(value).__module__ == "typing", _itself),
        (lambda value: True, _of_parts),
    )
    """How values of all other types are read, by the first test that holds; the last is for objects of a model."""

"""What a Python function computes, as a key: functions with equal keys trace to the same.

A key holds the code, the values that the function closes over, its defaults, and what it finds in the namespace of its
module, numbers and small arrays by their bits, functions in turn. It holds no array of size and no object of a model,
so it keeps nothing alive. Packages that JAX programs are written in, such as ``jax.numpy``, are taken as they are.
"""

from __future__ import annotations

import builtins
import dataclasses
import dis
import enum
import functools
import sys
import types
from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

import jax
import numpy as np
from jax.extend import core

from .. import jax_compat
from ..foreign.primitive_rules import primitive_functions
from ..sources import source_of
from .wrapped import (
    EXACT,
    UnknownBehaviourError,
    changes_nothing,
    closure,
    has_pure_code,
    is_pure,
    is_wrapped,
    unlifted,
    without_notes,
)

__all__ = ["FunctionKeys", "Same", "is_importable"]

_READING = frozenset(("__import__", "eval", "exec", "globals", "input", "open"))
"""Builtins that depend on more than their arguments."""

_ARRAYS = (np.ndarray, np.generic, jax.Array)
_MOST_BYTES = 1 << 12
_MOST_FUNCTIONS = 100
_MOST_EQUATIONS = 1000


V = TypeVar("V")


class Same:
    """A key of an object that equals nothing else."""

    __slots__ = ("held",)

    def __init__(self, held: object) -> None:
        self.held = held

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.held is other.held

    def __hash__(self) -> int:
        return id(self.held)


class FunctionKeys:
    """Makes keys, and remembers those of functions for as long as it lives."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Any, Hashable, bool]] = {}
        self._open: dict[int, int] = {}
        self._changes = False

    def of(self, value: Any) -> tuple[Hashable, bool]:
        """Return the key of a function, or of a value that it uses, and whether it is the key of that for good.

        It is not where the value holds what can be changed in place, such as an array of numpy, or reads variables of
        a module that is not known.

        Raises
        ------
        UnknownBehaviourError
            If its behaviour can change without the key.
        """
        self._changes = False
        return self._of(value), not self._changes

    def _of(self, value: Any) -> Hashable:
        kind = type(value)
        if kind in EXACT:
            return kind, value
        self._changes |= kind is list or kind is dict
        if kind in (tuple, list):
            items = [(type(item), item) if type(item) in EXACT else self._of(item) for item in value]
            return kind, tuple(items)
        if kind in (float, complex):
            return kind, repr(value)
        if kind is dict:
            return kind, tuple([(self._of(name), self._of(item)) for name, item in value.items()])
        if isinstance(value, types.FunctionType):
            return self._once(value, self._function)
        if isinstance(value, functools.partial):
            return functools.partial, self._of(value.func), self._of(value.args), self._of(value.keywords)
        return self._object(value, kind)

    def _object(self, value: Any, kind: type) -> Hashable:
        if is_wrapped(value):
            return self._wrapped(value)
        if isinstance(value, jax.tree_util.PyTreeDef):
            # Static parts that compare equal, such as 1 and True, print differently.
            return kind, value, str(value)
        if isinstance(value, (np.dtype, jax.core.ShapedArray, jax.sharding.Mesh)):
            return kind, value
        if isinstance(value, (jax.custom_jvp, jax.custom_vjp)):
            self._changes = True
            held = vars(value)
            return kind.__name__, tuple([(name, self._of(held[name])) for name in _RULE_FIELDS if name in held])
        if isinstance(value, _ARRAYS) and not isinstance(value, jax.core.Tracer):
            return self._array(value, kind)
        if isinstance(value, tuple) and hasattr(kind, "_fields"):
            self._changes |= not is_pure(kind.__module__)
            return Same(kind), tuple([self._of(item) for item in value])
        if isinstance(value, enum.Enum):
            return Same(kind), value.name
        if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
            return self._jaxpr(value)
        if isinstance(value, core.Primitive):
            return self._once(value, self._primitive)
        if isinstance(value, types.ModuleType) and is_pure(value.__name__):
            return Same(value)
        if is_pure(kind.__module__) and getattr(kind, "__slots__", None) == ["val"]:
            return self._of(value.val)  # what makes a static argument hashable, or keeps it from being hashed
        if kind is object or kind.__name__ == "UnspecifiedValue":
            return Same(value)  # stands for something by being itself
        if kind.__name__ == "AxisData":
            return kind.__name__, tuple([self._of(getattr(value, field.name)) for field in dataclasses.fields(value)])
        if is_importable(value) or _is_jitted_for_good(value):
            # What a function of a model returned before can be forgotten, by jax.clear_caches or by cache_clear.
            inner = getattr(value, "__wrapped__", None)
            known = isinstance(inner, types.FunctionType) and not has_pure_code(inner)
            self._changes |= not is_pure(getattr(value, "__module__", None))
            return (Same(value), self._of(inner)) if known else Same(value)
        if _is_compared_by_jax(value):
            return kind, value
        raise UnknownBehaviourError(f"{kind.__name__} {value!r:.80}")

    def _wrapped(self, value: Any) -> Hashable:
        """Return the key of a function that JAX transforms when it traces it."""
        value, rule, avals = unlifted(value)
        if rule is not None:
            return "rule", self._of(rule), self._of(avals)
        transforms = [
            (self._of(change), self._of(without_notes(static)))
            for change, static in value.transforms
            if not changes_nothing(change, static)
        ]
        return "wrapped", self._of(value.f), tuple(transforms), self._of(value.params)

    def _array(self, value: Any, kind: type) -> Hashable:
        self._changes |= isinstance(value, np.ndarray)
        if not isinstance(value.dtype, np.dtype) or value.dtype.hasobject or value.nbytes > _MOST_BYTES:
            raise UnknownBehaviourError(f"an array of {value.dtype}{value.shape}")
        return kind, str(value.dtype), value.shape, getattr(value, "weak_type", False), np.asarray(value).tobytes()

    def _once(self, value: V, content: Callable[[V], Hashable]) -> Hashable:
        """Return the key of what can lead back to itself."""
        if id(value) in self._known:
            _, key, changes = self._known[id(value)]
            self._changes |= changes
            return key
        if id(value) in self._open:
            return "itself", self._open[id(value)]
        if len(self._open) > _MOST_FUNCTIONS:
            raise UnknownBehaviourError("too many functions")
        outermost, changed = not self._open, self._changes
        # Numbers are in the order of the walk, and so the same for equal functions.
        self._open[id(value)] = len(self._open)
        try:
            self._changes = False
            key = content(value)
        finally:
            if outermost:
                self._open.clear()
        if outermost:
            # It is kept alive, because its id is the key.
            self._known[id(value)] = value, key, self._changes
        self._changes |= changed
        return key

    def _primitive(self, primitive: Any) -> Hashable:
        """Return the key of a primitive, which stands for what it computes and for its rules."""
        self._changes = True
        return Same(primitive), tuple(map(self._of, primitive_functions(primitive)))

    def _jaxpr(self, jaxpr: Any) -> Hashable:
        """Return the key of a jaxpr, whatever its variables are called; of an open one, constants are some of these."""
        is_open = not hasattr(jaxpr, "consts")
        opened = jax_compat.open_jaxpr(jax_compat.as_closed(jaxpr, jaxpr.constvars) if is_open else jaxpr)
        if len(opened.equations) > _MOST_EQUATIONS:
            raise UnknownBehaviourError(f"a jaxpr of {len(opened.equations)} equations")
        numbers: dict[Any, int] = {}
        return (
            (opened.function_name, opened.function_file),
            self._atoms((*opened.constvars, *opened.invars), numbers),
            tuple([self._data(const) for const in opened.consts if not is_open]),
            tuple([self._equation(equation, numbers) for equation in opened.equations]),
            self._atoms(opened.outvars, numbers),
        )

    def _equation(self, equation: Any, numbers: dict[Any, int]) -> Hashable:
        params = tuple([(name, self._of(value)) for name, value in sorted(equation.params.items())])
        context = jax_compat.marks(equation), jax_compat.threefry_partitionable(equation), self._place(equation)
        operands, results = self._atoms(equation.invars, numbers), self._atoms(equation.outvars, numbers)
        return self._of(equation.primitive), params, context, operands, results

    @staticmethod
    def _place(equation: Any) -> Hashable:
        """Return the scope and the model's line of an equation, which nodes are lowered with."""
        return jax_compat.name_stack(equation), source_of(equation)

    def _atoms(self, atoms: Sequence[Any], numbers: dict[Any, int]) -> Hashable:
        """Return the key of operands or results, of which variables have numbers in the order in which they are met."""
        return tuple([(atom.aval, self._atom(atom, numbers)) for atom in atoms])

    def _atom(self, atom: Any, numbers: dict[Any, int]) -> Hashable:
        if not jax_compat.is_literal(atom):
            return numbers.setdefault(atom, len(numbers))
        return self._data(atom.val)

    def _data(self, value: Any) -> Hashable:
        """Return the key of a constant or literal: a number, an array, or a record of JAX around one of numpy."""
        if isinstance(value, int | float | complex):
            return self._of(np.asarray(value))
        held = jax_compat.numpy_array(value)
        return self._of(value if held is None else held)

    def _function(self, function: types.FunctionType) -> Hashable:
        pure = has_pure_code(function)
        self._changes |= not pure
        if pure and "<locals>" not in function.__code__.co_qualname:
            return Same(function)  # it is there for good
        if set(vars(function)) - {"__wrapped__"}:
            raise UnknownBehaviourError(f"attributes of {function.__qualname__}")
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
            () if pure else tuple([self._global(function, path) for path in _global_paths(code)]),
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
            if is_pure(getattr(value, "__module__", value.__name__)):
                return path, Same(value)
            if not attributes:
                break
            value = getattr(value, attributes.pop(0), None)
        return path, self._of(value)


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


def is_importable(value: Any) -> bool:
    """Whether a class or function is what its module has under its name, and so is there for good."""
    if isinstance(value, types.BuiltinFunctionType) and not isinstance(value.__self__, types.ModuleType | None):
        return False
    if not callable(value):
        return False
    if isinstance(value, type) and not is_pure(value.__module__) and not hasattr(value, "_fields"):
        return False  # what a class holds can change
    name = getattr(value, "__qualname__", None) or getattr(value, "__name__", None)
    module = getattr(value, "__module__", None) or ("numpy" if isinstance(value, np.ufunc) else "")
    return isinstance(name, str) and getattr(sys.modules.get(module), name, None) is value


def _is_jitted_for_good(value: Any) -> bool:
    """Whether a value is a function of a module under ``jax.jit``, which traces it once and for all."""
    name = getattr(getattr(value, "__wrapped__", None), "__qualname__", "<locals>")
    return type(value).__name__ == "PjitFunction" and "<locals>" not in name


@functools.lru_cache(maxsize=1 << 12)
def _global_paths(code: types.CodeType) -> tuple[tuple[str, ...], ...]:
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
            found.update(dict.fromkeys(_global_paths(inner)))
    return tuple(found)


def _is_compared_by_jax(value: Any) -> bool:
    """Whether JAX compares a value to see whether it has compiled a program before.

    Those are numbers of dimensions, layouts, shardings and the like.
    """
    kind = type(value)
    is_number = issubclass(kind, int | float | complex) or hasattr(kind, "__array__")
    if kind.__module__.partition(".")[0] not in ("jax", "jaxlib") or is_number:
        return False
    try:
        hash(value)
    except TypeError:
        return False
    return any("__eq__" in vars(base) for base in kind.__mro__[:-1])

"""What JAX makes of a Python function when it keeps it in an equation: the function, and what is around it."""

from __future__ import annotations

import functools
import types
from collections.abc import Sequence
from typing import Any, NamedTuple

from jax.extend.linear_util import WrappedFun

__all__ = [
    "EXACT",
    "UnknownBehaviourError",
    "around_functions",
    "closure",
    "has_pure_code",
    "is_compared_by_jax",
    "is_jax_object",
    "is_jitted_for_good",
    "is_lifted_with_another",
    "is_pure",
    "jitted",
    "unwrapped_rule",
    "without_notes",
]

_PURE = frozenset(
    [
        "abc",
        "brainunit",
        "builtins",
        "cmath",
        "collections",
        "dataclasses",
        "diffrax",
        "enum",
        "equinox",
        "functools",
        "inspect",
        "itertools",
        "jax",
        "jaxlib",
        "jaxopt",
        "jaxtyping",
        "lineax",
        "math",
        "ml_dtypes",
        "numpy",
        "operator",
        "optax",
        "optimistix",
        "ott",
        "quadax",
        "saiunit",
        "types",
        "typing",
    ]
)
"""Packages whose functions depend on their arguments alone, for all that tracing a rule can see."""

EXACT = frozenset((bool, int, str, bytes, type(None), type(...), type(NotImplemented)))
"""Types whose values are equal only where nothing tells them apart."""


class UnknownBehaviourError(Exception):
    """A function reaches something that can change, or that is too large for a key."""


def closure(function: types.FunctionType) -> list[tuple[str, Any]]:
    """Return the variables that a function closes over and computes with, by name."""
    held = _cells(function)
    if not has_pure_code(function):
        return list(held.items())
    if function.__qualname__ == "_memoize.<locals>.memoized":
        held = {"fn": held["fn"]}
    # A trace, and what a transformation left of its last run, are not part of what JAX's own functions compute.
    return [(name, value) for name, value in held.items() if not _is_note(value)]


def _cells(function: types.FunctionType) -> dict[str, Any]:
    return {name: _content(function, place) for place, name in enumerate(function.__code__.co_freevars)}


def _content(function: types.FunctionType, place: int) -> Any:
    try:
        return (function.__closure__ or ())[place].cell_contents
    except ValueError:
        raise UnknownBehaviourError(f"a variable of {function.__qualname__} that is not set yet") from None


def without_notes(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return the values that count for what a transformation does."""
    return tuple([value for value in values if not _is_note(value)])


def _is_note(value: Any) -> bool:
    """Whether JAX keeps a value beside a function for checks and messages only."""
    if type(value) in EXACT:
        return False
    name = type(value).__name__
    if isinstance(value, types.FunctionType):
        return value.__module__ == "jax._src.linear_util" and value.__name__ == "<lambda>"
    return name in ("DebugInfo", "TraceTag") or name.endswith("Trace")


class UnwrappedRule(NamedTuple):
    """What traces a rule for an equation, without what JAX wraps around it each time that it meets it in another rule.

    Parameters
    ----------
    thunk
        What traces it.
    rule, avals
        The rule, and the types that it is traced for; None if `thunk` traces no rule.
    kept : int
        How many operands what was around keeps from the rule, at the beginning: what the function closes over.
    """

    thunk: Any
    rule: Any
    avals: Any
    kept: int


def unwrapped_rule(thunk: Any) -> UnwrappedRule:
    """Return which rule a function under transformations traces, if it does."""
    kept = 0
    while True:
        fn = None if thunk.transforms or thunk.params else _held(thunk.f, "fn")
        rule, avals = _held(fn, "jvp", "fwd"), _held(fn, "in_avals")
        if not isinstance(rule, WrappedFun) or avals is None:
            return UnwrappedRule(thunk, None, None, kept)
        inner, count = None, 0
        if not rule.transforms and getattr(rule.f, "__qualname__", "") in _LIFTS:
            inner, count = _held(rule.f, "jvp_jaxpr_fun", "fwd_jaxpr_thunk"), _held(rule.f, "num_consts")
        if not isinstance(inner, WrappedFun) or not isinstance(count, int):
            return UnwrappedRule(thunk, rule, tuple(avals), kept)
        thunk, kept = inner, kept + count


_LIFTS = ("lift_jvp.<locals>.jvp", "lift_fwd.<locals>.fwd")


def _held(function: Any, *names: str) -> Any:
    """Return the first of these variables that one of JAX's own functions closes over; None for anything else."""
    if not isinstance(function, types.FunctionType) or not has_pure_code(function):
        return None
    held = function.__code__.co_freevars
    for name in names:
        if name in held:
            return _content(function, held.index(name))
    return None


def is_lifted_with_another(change: Any) -> bool:
    """Whether a transformation of a backward rule belongs to what :func:`unwrapped_rule` takes from the forward rule.

    It returns zeros for what the function closes over.
    """
    return getattr(change, "__name__", "") == "_handle_consts_in_bwd"


@functools.lru_cache(maxsize=1 << 10)
def is_pure(module: str | None) -> bool:
    """Whether the functions of a module depend on their arguments alone."""
    return (module or "").partition(".")[0] in _PURE


def has_pure_code(function: types.FunctionType) -> bool:
    """Whether a function was written in such a module; what :func:`functools.wraps` gave it says another one's."""
    return is_pure(function.__globals__.get("__name__"))


def is_jax_object(value: Any) -> bool:
    """Whether a value is of a class of JAX."""
    return type(value).__module__.partition(".")[0] in ("jax", "jaxlib")


def is_compared_by_jax(value: Any) -> bool:
    """Whether JAX compares a value to see whether it has compiled a program before.

    Those are numbers of dimensions, layouts, shardings and the like.
    """
    kind = type(value)
    is_number = issubclass(kind, int | float | complex) or hasattr(kind, "__array__")
    if not is_jax_object(value) or is_number:
        return False
    try:
        hash(value)
    except TypeError:
        return False
    return any("__eq__" in vars(base) for base in kind.__mro__[:-1])


def around_functions(value: Any) -> tuple[Any, ...] | None:
    """Return what one of JAX's objects holds that do nothing but hold functions and arguments; None for others."""
    if not is_jax_object(value):
        return None
    kind = type(value)
    if getattr(kind, "__slots__", None) == ["val"]:
        return (value.val,)  # what makes a static argument hashable, or keeps it from being hashed
    if kind.__name__ == "HashablePartial":
        return value.f, value.args, value.kwargs
    if kind.__name__ == "custom_vmap":
        return value.fun, value.vmap_rule
    return None


def is_jitted_for_good(value: Any) -> bool:
    """Whether a value is a function of a module under ``jax.jit``, which traces it once and for all."""
    inner = getattr(value, "__wrapped__", None)
    is_function = isinstance(inner, types.FunctionType) and "<locals>" not in inner.__qualname__
    return type(value).__name__ == "PjitFunction" and is_function


def jitted(value: Any) -> tuple[Any, ...] | None:
    """Return the function under ``jax.jit``, and what is said of it there; None for anything else."""
    info: Any = getattr(value, "_jit_info", None)
    if type(value).__name__ != "PjitFunction" or not hasattr(info, "_asdict"):
        return None
    return value.__wrapped__, {name: held for name, held in info._asdict().items() if not name.startswith("fun_")}

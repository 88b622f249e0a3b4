"""Host callbacks and primitives that are left as they are: what a program names without holding it."""

from __future__ import annotations

import enum
import functools
import math
from typing import Any

import jax
import numpy as np

from ..ir.errors import LoweringError
from ..ir.interface import Tree, leaves
from . import jax_compat
from .rules import Attributes, UnsupportedError
from .trees import TreeReader

__all__ = ["ExternalNames", "callback", "custom_call", "is_callback"]


_CALLBACKS = {
    "pure_callback": "pure_callback",
    "io_callback": "io_callback",
    "debug_callback": "debug_callback",
    "debug_print": "debug_callback",
}


class ExternalNames:
    """Gives each function that a program calls on the host a name of its own, after ``__name__``."""

    def __init__(self) -> None:
        self._names: dict[int, str] = {}
        self._kept: list[Any] = []

    def of(self, function: Any) -> str:
        """Return the name of a function, always the same for one function."""
        if id(function) not in self._names:
            inner = function
            while isinstance(inner, functools.partial):
                inner = inner.func
            wanted = str(getattr(inner, "__name__", type(inner).__name__)).strip("<>")
            wanted = wanted if wanted.isidentifier() else "external"
            count, name = 0, wanted
            while name in self._names.values():
                count += 1
                name = f"{wanted}_{count}"
            self._names[id(function)] = name
            self._kept.append(function)
        return self._names[id(function)]


def is_callback(primitive: str) -> bool:
    """Whether a primitive calls a Python function on the host."""
    return primitive in _CALLBACKS


def callback(equation: Any, names: ExternalNames) -> tuple[str, Attributes]:
    """Return operation and attributes of a host callback."""
    params = dict(equation.params)
    primitive = equation.primitive.name
    function, tree, text = jax_compat.callback_parts(equation)
    if params.get("sharding") is not None:
        raise UnsupportedError(f"a callback with sharding={params['sharding']!r}")
    args, kwargs = jax.tree.unflatten(tree, [0] * tree.num_leaves)
    return _CALLBACKS[primitive], dict(
        name=names.of(function),
        arguments=_tree(args),
        keywords=tuple((name, _tree(kwargs[name])) for name in sorted(kwargs)),
        vmap_method=params.get("vmap_method"),
        ordered=jax_compat.is_ordered(equation),
        partitioned=bool(params.get("partitioned", False)),
        text=text,
    )


def _tree(value: Any) -> Tree:
    try:
        tree = TreeReader().read(value, "an argument of the callback")
    except LoweringError as error:
        raise UnsupportedError(str(error)) from error
    if any(leaf.unit is not None for leaf in leaves(tree)):
        raise UnsupportedError("an argument of the callback is a quantity; give it the mantissa")
    return tree


def custom_call(equation: Any) -> tuple[str, Attributes]:
    """Return operation and attributes of a primitive that is left as it is."""
    if equation.effects:
        raise UnsupportedError("a primitive with effects cannot be left as it is")
    params = sorted(equation.params.items())
    return "custom_call", dict(
        name=equation.primitive.name, params=tuple((name, _literal(value, name)) for name, value in params)
    )


def _literal(value: Any, name: str, depth: int = 0) -> Any:
    """Return a parameter as a literal: dtypes, types and members of enums as text, lists as tuples."""
    if isinstance(value, enum.Enum):
        return value.name
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        value = value.item()
    if value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, tuple | list) and depth < 3:
        return tuple(_literal(item, name, depth + 1) for item in value)
    if hasattr(value, "dtype") and hasattr(value, "shape") and not isinstance(value, np.ndarray | jax.Array):
        return str(jax_compat.tensor_type(value))
    if isinstance(value, np.dtype) or (isinstance(value, type) and issubclass(value, np.generic)):
        return np.dtype(value).name
    raise UnsupportedError(f"its parameter {name}={value!r:.80} is no finite number, text or tuple of these")

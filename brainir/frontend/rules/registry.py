"""The table of frontend rules, the decorator that enters a rule in it, and how common parameters are read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from ...ir.ops import DotAlgorithm
from ...ir.ops.contraction import Precision

__all__ = [
    "NO_EXPLICIT_AXES",
    "OTHER_OPS",
    "RULES",
    "Attributes",
    "UnsupportedError",
    "absent",
    "dtype_name",
    "has_sharding",
    "ints",
    "no_sharding",
    "platform_names",
    "precision_name",
    "rule",
]

Attributes = dict[str, Any]
Rule = Callable[..., Attributes]


class UnsupportedError(Exception):
    """A parameter of a primitive has a value that the schema cannot hold; the text says which."""


RULES: dict[str, tuple[str, Rule]] = {}
"""Primitive name to operation and attribute rule."""

OTHER_OPS: set[str] = set()
"""The operations that rules name themselves."""


def rule(*primitives: str, op: str | None = None, others: Iterable[str] = ()) -> Callable[[Rule], Rule]:
    """Enter the decorated function as the rule of these primitives, whose operation is `op` or has the same name.

    Depending on the parameters, the rule can name one of the `others` as the operation instead.
    """

    def register(function: Rule) -> Rule:
        OTHER_OPS.update(others)
        for primitive in primitives:
            RULES[primitive] = (op or primitive, function)
        return function

    return register


def absent(**params: Any) -> None:
    """Refuse parameters that say something."""
    for name, value in params.items():
        if value is not None and value is not False:
            raise UnsupportedError(f"{name}={value!r}")


NO_EXPLICIT_AXES = (
    "types of a program do not say how arrays lie on explicit axes of a mesh; make one with automatic axes, "
    "jax.make_mesh(shape, names, axis_types=(jax.sharding.AxisType.Auto, ...)), and use "
    "jax.lax.with_sharding_constraint"
)


def no_sharding(**params: Any) -> None:
    """Refuse parameters that name a sharding."""
    for name, value in params.items():
        if has_sharding(value):
            raise UnsupportedError(f"{name}={getattr(value, 'spec', value)}: {NO_EXPLICIT_AXES}")


def has_sharding(sharding: Any) -> bool:
    """Whether a parameter names a sharding that says something."""
    if sharding is None:
        return False
    mesh = getattr(sharding, "mesh", None)
    if mesh is None:
        return True
    # On a mesh without explicit axes, a sharding that cuts nothing is what every value has.
    explicit = any(kind.name == "Explicit" for kind in mesh.axis_types)
    return not mesh.empty and (explicit or any(sharding.spec))


def ints(values: Any) -> tuple[int, ...]:
    """Return plain integers."""
    return tuple(int(value) for value in values)


def platform_names(platforms: Any) -> tuple[tuple[str, ...] | None, ...]:
    """Return the platforms of each branch; None for all others."""
    return tuple([None if names is None else tuple(map(str, names)) for names in platforms])


@functools.lru_cache(maxsize=1 << 10)
def dtype_name(dtype: Any) -> str:
    """Return the standard name of an element type."""
    return str(dtype) if jnp.issubdtype(dtype, jax.dtypes.extended) else np.dtype(dtype).name


def precision_name(precision: Any) -> Precision:
    """Return the name of a precision or of a pair of them, or the algorithm."""
    if precision is None:
        return None
    if isinstance(precision, jax.lax.DotAlgorithm):
        types = {name: getattr(precision, name) for name in precision._fields}
        types.update({name: dtype_name(dtype) for name, dtype in types.items() if name.endswith("_type")})
        return DotAlgorithm(**types)
    if isinstance(precision, tuple):
        lhs, rhs = (precision_name(part) for part in precision)
        return (str(lhs), str(rhs))
    if isinstance(precision, jax.lax.Precision | jax.lax.DotAlgorithmPreset):
        return precision.name
    raise UnsupportedError(f"precision={precision!r}")

"""The table of frontend rules, the decorator that enters a rule in it, and how common parameters are read."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import jax
import numpy as np
from jax import numpy as jnp

from ...ir.model import Model
from ...ir.ops import DotAlgorithm
from ...ir.ops.contraction import Precision

__all__ = [
    "OTHER_OPS",
    "RULES",
    "Attributes",
    "Operation",
    "UnsupportedError",
    "absent",
    "dtype_name",
    "int_tuples",
    "ints",
    "numbers",
    "platform_names",
    "precision_name",
    "reads",
    "rule",
]

Attributes: TypeAlias = dict[str, Any]


class Operation(NamedTuple):
    """What a node does: its operation and attributes."""

    op: str
    attributes: Attributes

    @classmethod
    def of(cls, op: str, made: Operation | Attributes) -> Operation:
        """Return what a rule made: the attributes of the operation in its table, or another operation."""
        return made if isinstance(made, Operation) else cls(op, made)


Rule = Callable[..., Attributes | Operation]
AnyRule = TypeVar("AnyRule", bound=Rule)
Numbers = TypeVar("Numbers", bound=Model)


class UnsupportedError(Exception):
    """A parameter of a primitive has a value that the schema cannot hold; the text says which."""


RULES: dict[str, tuple[str, Rule]] = {}
"""Primitive name to operation and attribute rule."""

OTHER_OPS: set[str] = set()
"""The operations that rules return themselves."""


def rule(*primitives: str, op: str | None = None, others: Iterable[str] = ()) -> Callable[[AnyRule], AnyRule]:
    """Enter the decorated function as the rule of these primitives, whose operation is `op` or has the same name.

    Depending on the parameters, the rule can return one of the `others` as :class:`Operation` instead.
    """

    def register(function: AnyRule) -> AnyRule:
        OTHER_OPS.update(others)
        for primitive in primitives:
            RULES[primitive] = (op or primitive, function)
        return function

    return register


def reads(**readers: Callable[[Any], Any]) -> Rule:
    """Return the rule of primitives whose parameters are attributes of the same names, as these functions read them."""

    def read(**params: Any) -> Attributes:
        if params.keys() != readers.keys():
            raise TypeError(f"it takes {', '.join(readers) or 'none'}")
        return {name: reader(params[name]) for name, reader in readers.items()}

    return read


def absent(**params: Any) -> None:
    """Refuse parameters that say something."""
    for name, value in params.items():
        if value is not None and value is not False:
            raise UnsupportedError(f"{name}={value!r}")


def ints(values: Any) -> tuple[int, ...]:
    """Return plain integers."""
    return tuple(int(value) for value in values)


def int_tuples(values: Any) -> tuple[tuple[int, ...], ...]:
    """Return tuples of plain integers."""
    return tuple(map(ints, values))


def numbers(kind: type[Numbers], given: Any) -> Numbers:
    """Return a record of JAX that says which axes are what as one of the IR, whose fields have the same names."""
    return kind(**{name: ints(getattr(given, name)) for name in kind.model_fields})


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
    if precision is jax.lax.DotAlgorithmPreset.DEFAULT:  # which chooses no algorithm; the name is that of a precision
        return ("DEFAULT", "DEFAULT")
    if isinstance(precision, tuple):
        lhs, rhs = (precision_name(part) for part in precision)
        return (str(lhs), str(rhs))
    if isinstance(precision, jax.lax.Precision | jax.lax.DotAlgorithmPreset):
        return precision.name
    raise UnsupportedError(f"precision={precision!r}")

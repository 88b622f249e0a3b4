"""How each JAX primitive becomes a node: its operation and attributes.

Every parameter of a primitive is named, so that one which a new JAX release adds fails loudly instead of
being dropped. Rules that see the whole equation, those of primitives that run other functions among them, are in
:mod:`brainir.frontend.control` and the other tables that :mod:`brainir.frontend.lowering` puts together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import (  # noqa: F401  # they enter their rules
    contraction,
    elementwise,
    indexing,
    linalg,
    parallel,
    random,
    reduction,
    sorting,
    structure,
    windows,
)
from .registry import OTHER_OPS, RULES, Attributes, Operation, UnsupportedError, platform_names

__all__ = [
    "OTHER_OPS",
    "RULES",
    "Attributes",
    "Operation",
    "UnsupportedError",
    "operation_of",
    "platform_names",
]


def operation_of(primitive: str, params: Mapping[str, Any]) -> Operation:
    """Return operation and attributes for a primitive.

    Raises
    ------
    KeyError
        If no rule covers the primitive.
    UnsupportedError
        If a parameter is new or has a value that the schema cannot hold.
    """
    op, rule = RULES[primitive]
    try:
        made = rule(**params)
    except TypeError as error:
        known = ", ".join(f"{name}={value!r}" for name, value in params.items())
        raise UnsupportedError(f"parameters ({known}) do not fit the rule: {error}") from error
    return Operation.of(op, made)

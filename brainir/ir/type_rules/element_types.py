"""Kinds of element types, and how many bits an element has."""

from __future__ import annotations

from ..types import DTYPES, USED_BITS
from .registry import TypeRuleError

__all__ = [
    "ANY",
    "BOOL",
    "COMPLEX_OF",
    "DISCRETE",
    "FLOAT",
    "INEXACT",
    "INTEGER",
    "NUMBER",
    "ORDERED",
    "PLAIN",
    "REAL_OF",
    "bits_of",
    "kind_of",
]

_KINDS = {
    name: "float0"
    if name == "float0"
    else next(kind for kind in ("bool", "uint", "int", "complex", "float") if kind in name)
    for name in DTYPES
}
BOOL = frozenset({"bool"})
INTEGER = frozenset({"int", "uint"})
FLOAT = frozenset({"float"})
INEXACT = frozenset({"float", "complex"})
DISCRETE = INTEGER | BOOL
NUMBER = INTEGER | INEXACT
ORDERED = INTEGER | FLOAT | BOOL
PLAIN = NUMBER | BOOL
ANY = PLAIN | {"key", "float0"}
REAL_OF = {"complex64": "float32", "complex128": "float64"}
COMPLEX_OF = {real: name for name, real in REAL_OF.items()}


def kind_of(dtype: str) -> str:
    """Return ``bool``, ``int``, ``uint``, ``float``, ``complex``, ``key`` or ``float0``."""
    kind = _KINDS.get(dtype) or ("key" if dtype.startswith("key<") else None)
    if kind is None:
        raise TypeRuleError(f"{dtype!r} is not an element type; known are {', '.join(DTYPES)}")
    return kind


def bits_of(dtype: str) -> int:
    """Return the bits of one element as JAX counts them; an element of fewer than eight is stored in a byte."""
    return USED_BITS.get(dtype) or 8 * DTYPES[dtype].itemsize

"""Element types, tensor types and scalar literals, and the short text that each is written as.

A tensor type is written as JAX prints it: ``f32[7,4]``, ``bool[]``, ``key<fry>[2]``; a leading ``~`` marks a weak
type. A scalar literal is a value and a type, ``0.3:f32``, and reads back to the same bits.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np

from .errors import FormatError

__all__ = [
    "DTYPES",
    "KEY_DTYPES",
    "USED_BITS",
    "TensorType",
    "is_literal",
    "literal_array",
    "literal_text",
    "literal_type",
    "only_used_bits",
]

_INTEGERS = {f"{name[0]}{bits}": f"{name}{bits}" for name in ("int", "uint") for bits in (8, 16, 32, 64)}
_EXTENSIONS = {
    "i2": "int2",
    "i4": "int4",
    "u2": "uint2",
    "u4": "uint4",
    "bf16": "bfloat16",
    "f4_e2m1fn": "float4_e2m1fn",
    "f8_e3m4": "float8_e3m4",
    "f8_e4m3": "float8_e4m3",
    "f8_e4m3b11fnuz": "float8_e4m3b11fnuz",
    "f8_e4m3fn": "float8_e4m3fn",
    "f8_e4m3fnuz": "float8_e4m3fnuz",
    "f8_e5m2": "float8_e5m2",
    "f8_e5m2fnuz": "float8_e5m2fnuz",
    "f8_e8m0fnu": "float8_e8m0fnu",
}
_NAMES: dict[str, str] = {
    "bool": "bool",
    **_INTEGERS,
    "f16": "float16",
    "f32": "float32",
    "f64": "float64",
    "c64": "complex64",
    "c128": "complex128",
    "float0": "float0",
    **_EXTENSIONS,
}
_CODES = {name: code for code, name in _NAMES.items()}

DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype([("float0", np.void, 0)])
    if name == "float0"
    else np.dtype(getattr(ml_dtypes, name))
    if code in _EXTENSIONS
    else np.dtype(name)
    for code, name in _NAMES.items()
}
"""Standard dtype name (``"float32"``) to the numpy dtype that stores it."""

USED_BITS = {"bool": 1, "int2": 2, "uint2": 2, "int4": 4, "uint4": 4, "float4_e2m1fn": 4}
"""Bits of an element, for the types with fewer than the eight of the byte that stores it; the others are zero."""

_TYPE = re.compile(r"(~?)(key<[a-z0-9_]{1,32}>|[a-z][a-z0-9_]{1,15})\[((?:\d{1,18}(?:,\d{1,18})*)?)\]", re.ASCII)
_KEY_WORDS = {"fry": 2, "fry4": 4, "phx2": 1, "phx4": 2, "rbg": 4, "urbg": 4}
KEY_DTYPES = frozenset(f"key<{tag}>" for tag in _KEY_WORDS)
"""The types of PRNG keys, each with the tag of an implementation of JAX."""


@dataclass(frozen=True, slots=True)
class TensorType:
    """Element type and shape of a value.

    Parameters
    ----------
    dtype : str
        Standard name such as ``"float32"``, or ``"key<fry>"`` for a typed PRNG key.
    shape : tuple of int
    weak_type : bool
        JAX's weak type: the element type came from a Python scalar and gives way in promotion.
    """

    dtype: str
    shape: tuple[int, ...]
    weak_type: bool = False

    @staticmethod
    def parse(text: str) -> TensorType:
        """Read a type such as ``~f32[7,4]``; the result is shared between equal texts.

        Raises
        ------
        FormatError
            If `text` is not a type in its one standard spelling.
        """
        return _parse_type(text)

    def __str__(self) -> str:
        code = _CODES.get(self.dtype, self.dtype)
        return f"{'~' if self.weak_type else ''}{code}[{','.join(map(str, self.shape))}]"

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def is_key(self) -> bool:
        """Whether the elements are typed PRNG keys."""
        return self.dtype.startswith("key<")

    @property
    def is_inexact(self) -> bool:
        """Whether the elements are real or complex floating point numbers, so that they can carry a derivative."""
        return _is_inexact(self.dtype)

    @property
    def is_complex(self) -> bool:
        """Whether the elements are complex numbers."""
        return self.dtype.startswith("complex")

    @property
    def is_integer(self) -> bool:
        """Whether the elements are signed or unsigned integers (not booleans)."""
        return self.dtype.startswith(("int", "uint"))

    @property
    def is_wide(self) -> bool:
        """Whether JAX has such elements only with 64-bit types switched on."""
        return self.dtype in ("float64", "int64", "uint64", "complex128")

    @property
    def key_tag(self) -> str:
        """Tag of the PRNG implementation of typed keys, such as ``fry``."""
        return self.dtype[4:-1]

    @property
    def storage(self) -> tuple[np.dtype[Any], tuple[int, ...]]:
        """The numpy dtype and shape in which values of this type are stored; keys as their ``uint32`` words."""
        if not self.is_key:
            return DTYPES[self.dtype], self.shape
        words = _KEY_WORDS.get(self.key_tag)
        if words is None:
            raise FormatError(f"the PRNG implementation {self.dtype!r} is not known; known are {sorted(_KEY_WORDS)}")
        return np.dtype("uint32"), (*self.shape, words)

    @property
    def nbytes(self) -> int:
        """Bytes that values of this type take in storage."""
        dtype, shape = self.storage
        return dtype.itemsize * math.prod(shape)

    @property
    def strong(self) -> TensorType:
        """The same element type and shape without the weak type."""
        return TensorType(self.dtype, self.shape) if self.weak_type else self

    def with_shape(self, shape: tuple[int, ...]) -> TensorType:
        """Return the same element type with another shape."""
        return TensorType(self.dtype, shape, self.weak_type)


@functools.lru_cache(maxsize=256)
def _is_inexact(dtype: str) -> bool:
    return dtype.startswith("complex") or ("float" in dtype and dtype != "float0")


@functools.lru_cache(maxsize=1 << 16)
def _parse_type(text: str) -> TensorType:
    match = _TYPE.fullmatch(text)
    if match is None:
        raise FormatError(f"{text!r} is not a type; write it like 'f32[7,4]' or 'key<fry>[]'")
    weak, code, dims = match.groups()
    dtype = code if code.startswith("key<") else _NAMES.get(code)
    if dtype is None:
        known = f"write {_CODES[code]!r}" if code in _CODES else f"known are {', '.join(sorted(_NAMES))}"
        raise FormatError(f"unknown element type {code!r} in {text!r}; {known}")
    parsed = TensorType(dtype, tuple(int(dim) for dim in dims.split(",")) if dims else (), bool(weak))
    if str(parsed) != text:
        raise FormatError(f"{text!r} is not the standard spelling of a type; write {str(parsed)!r}")
    return parsed


def is_literal(operand: str) -> bool:
    """Whether an operand is a scalar literal such as ``0.3:f32`` rather than the name of a value."""
    return ":" in operand


def literal_text(value: np.ndarray[Any, Any], weak_type: bool = False) -> str:
    """Write a rank-0 array as a literal operand that reads back to the same bits.

    Parameters
    ----------
    value : ndarray, shape ()
        Any dtype of :data:`DTYPES` but ``float0``.
    weak_type : bool
    """
    name = value.dtype.name
    return f"{scalar_text(value)}:{'~' if weak_type else ''}{_CODES[name]}"


def scalar_text(value: np.ndarray[Any, Any]) -> str:
    """Write one element: a decimal number where that is exact to the bit, else ``0x`` and the bytes, highest first."""
    kind = value.dtype.name
    if kind == "bool":
        return "true" if value else "false"
    if kind.startswith(("int", "uint")):
        return str(int(value))
    text = str(value[()]) if not kind.startswith("complex") else ""
    if text and _same_bits(_read_number(text, value.dtype), value):
        return text
    return "0x" + value.tobytes()[::-1].hex()


def parse_scalar(text: str, dtype: str) -> np.ndarray[Any, Any]:
    """Read what :func:`scalar_text` wrote.

    Raises
    ------
    FormatError
        If `text` is not the standard spelling of a number of that dtype.
    """
    target = DTYPES[dtype]
    value: np.ndarray[Any, Any] | None = None
    if text.startswith("0x"):
        digits = text[2:]
        if re.fullmatch(f"[0-9a-f]{{{2 * target.itemsize}}}", digits):
            value = np.frombuffer(bytes.fromhex(digits)[::-1], target).reshape(())
    elif dtype == "bool":
        value = np.array(text == "true") if text in ("true", "false") else None
    else:
        value = _read_number(text, target)
    if value is None or scalar_text(value) != text or not only_used_bits(value.tobytes(), dtype):
        raise FormatError(f"{text!r} is not the standard spelling of a {dtype} number")
    return value


def only_used_bits(data: bytes, dtype: str) -> bool:
    """Return whether stored elements have zeros in the bits that their type does not use.

    Any other byte is no element, or a second spelling of one.
    """
    bits = USED_BITS.get(dtype)
    return bits is None or not data.translate(None, bytes(range(1 << bits)))


def _read_number(text: str, dtype: np.dtype[Any]) -> np.ndarray[Any, Any] | None:
    if len(text) > 64:
        return None
    try:
        if dtype.name.startswith(("int", "uint")):
            return np.array(int(text)).astype(dtype)
        if not dtype.name.startswith("complex") and "float" in dtype.name:
            with np.errstate(over="ignore"):
                return np.array(float(text)).astype(dtype)
    except (ValueError, OverflowError):
        return None
    return None


def _same_bits(first: np.ndarray[Any, Any] | None, second: np.ndarray[Any, Any]) -> bool:
    return first is not None and first.tobytes() == second.tobytes()


@functools.lru_cache(maxsize=1 << 14)
def _parse_literal(operand: str) -> tuple[np.ndarray[Any, Any], TensorType]:
    text, _, code = operand.rpartition(":")
    kind = TensorType.parse(f"{code}[]")
    if kind.is_key or kind.dtype == "float0":
        raise FormatError(f"{operand!r}: a literal cannot be a {kind.dtype}")
    value = parse_scalar(text, kind.dtype)
    value.flags.writeable = False
    return value, kind


def literal_array(operand: str) -> np.ndarray[Any, Any]:
    """Return the rank-0 array of a literal operand."""
    return _parse_literal(operand)[0]


def literal_type(operand: str) -> TensorType:
    """Return the type of a literal operand."""
    return _parse_literal(operand)[1]

"""Constant arrays of a function, exact to the bit."""

from __future__ import annotations

import base64
import functools
import hashlib
from typing import Any

import numpy as np
from pydantic import GetJsonSchemaHandler, ValidationInfo, model_serializer, model_validator
from pydantic_core import CoreSchema

from .errors import BrainIRError, FormatError
from .model import Model
from .types import TensorType, parse_scalar, scalar_text

__all__ = ["Constant"]

_READABLE_SIZE = 16


class Constant(Model):
    """An array that is part of a function.

    Small arrays are written as numbers, larger ones as base64 of their bytes; both are exact to the bit. A constant
    that is stored elsewhere has no data but the sha256 of its bytes.

    Parameters
    ----------
    name : str
    type : str
    data : bytes or None
        Little-endian bytes in row-major order.
    sha256 : str or None
        Hash of bytes that were left out.
    """

    name: str
    type: str
    data: bytes | None = None
    sha256: str | None = None

    @staticmethod
    def of(name: str, kind: TensorType, array: np.ndarray[Any, Any]) -> Constant:
        """Make a constant from an array in the storage dtype and shape of `kind`."""
        return Constant(name=name, type=str(kind), data=np.ascontiguousarray(array).tobytes())

    def array(self) -> np.ndarray[Any, Any]:
        """Return the elements, read-only; for keys, their ``uint32`` words.

        Raises
        ------
        BrainIRError
            If the data was left out of the file.
        """
        if self.data is None:
            raise BrainIRError(
                f"constant {self.name!r}: {self.type} (sha256 {self.sha256}) was left out of this file; "
                "load the program with the .safetensors file that was saved beside it"
            )
        dtype, shape = TensorType.parse(self.type).storage
        if self.data == b"":
            return np.zeros(shape, dtype)
        return np.frombuffer(self.data, dtype).reshape(shape)

    def digest(self) -> str:
        """Return the sha256 of the bytes, as hexadecimal text."""
        return self.sha256 or "" if self.data is None else self._digest

    @functools.cached_property
    def _digest(self) -> str:
        return hashlib.sha256(self.data or b"").hexdigest()

    @model_serializer(mode="plain")
    def _write(self) -> dict[str, Any]:
        stored: dict[str, Any] = {"name": self.name, "type": self.type}
        if self.data is None:
            return {**stored, "sha256": self.sha256}
        kind = TensorType.parse(self.type)
        if 0 < kind.size <= _READABLE_SIZE and not kind.is_key and len(self.data) == kind.nbytes > 0:
            elements = np.frombuffer(self.data, kind.storage[0])
            return {**stored, "values": " ".join(scalar_text(element.reshape(())) for element in elements)}
        return {**stored, "base64": base64.b64encode(self.data).decode("ascii")}

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Return the schema of what :meth:`_write` writes."""
        text = {"type": "string"}
        return {
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"name": text, "type": text, form: text},
                    "required": ["name", "type", form],
                    "additionalProperties": False,
                }
                for form in ("values", "base64", "sha256")
            ]
        }

    @model_validator(mode="before")
    @classmethod
    def _read(cls, stored: Any, info: ValidationInfo) -> Any:
        if info.mode == "json" and isinstance(stored, dict) and "data" in stored:
            raise ValueError("data is written as values or base64")
        if not isinstance(stored, dict) or not ({"values", "base64"} & stored.keys()):
            return stored
        rest = {key: value for key, value in stored.items() if key not in ("values", "base64")}
        values, encoded = stored.get("values"), stored.get("base64")
        if {"values", "base64", "data", "sha256"} & stored.keys() != {"values" if encoded is None else "base64"}:
            raise ValueError("give exactly one of values, base64, sha256")
        if encoded is not None:
            if not isinstance(encoded, str):
                raise ValueError("base64 must be text")
            return {**rest, "data": base64.b64decode(encoded, validate=True)}
        try:
            kind = TensorType.parse(str(stored.get("type")))
            words = values.split(" ") if isinstance(values, str) else []
            if len(words) != kind.size or kind.size > _READABLE_SIZE or kind.is_key:
                raise ValueError(f"values must hold the {kind.size} elements of {kind}")
            return {**rest, "data": b"".join(parse_scalar(word, kind.dtype).tobytes() for word in words)}
        except FormatError as error:
            # pydantic adds the place to a ValueError only.
            raise ValueError(str(error)) from None

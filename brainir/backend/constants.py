"""The literals, arrays and meshes of a program, as a generated module writes them down."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..ir.constant import Constant
from ..ir.errors import BrainIRError, EmissionError
from ..ir.ops import MeshShape
from ..ir.types import DTYPES, TensorType, literal_array, literal_type
from .layout import Doc, call, display, flat, quote, statement
from .rules import KEY_IMPLEMENTATIONS
from .scope import ModuleScope, Number

__all__ = ["ModuleConstants"]

_NUMPY = frozenset(name for name, dtype in DTYPES.items() if dtype.isbuiltin == 1 and name != "float0")
_DEFAULTS = {"i": ("int32", "int64"), "f": ("float32", "float64"), "c": ("complex64", "complex128")}
_INLINE_SIZE = 16
_BESIDE = 1024
_CHUNK = 88
_TEXT_CHUNK = 80


class ModuleConstants:
    """The constants of one generated module, with their exact bits.

    Parameters
    ----------
    scope : ModuleScope
    wide : bool
        Whether the program uses 64-bit types, so that Python numbers stand for 64-bit ones.
    weights : dict, optional
        Takes the bytes of large arrays, which the module then reads from a file beside it.

    Attributes
    ----------
    scope : ModuleScope
    definitions, mesh_definitions : list of str
        The lines that define those that were asked for.
    has_python_numbers : bool
        Whether Python numbers stand for weakly typed literals.
    """

    def __init__(self, scope: ModuleScope, wide: bool, weights: dict[str, np.ndarray[Any, Any]] | None = None) -> None:
        self.scope = scope
        self.definitions: list[str] = []
        self.mesh_definitions: list[str] = []
        self.has_python_numbers = False
        self._weights = weights
        self._wide = wide
        self._constants: dict[tuple[str, str], str] = {}
        self._meshes: dict[MeshShape, str] = {}

    def dtype(self, name: str) -> Doc:
        """Return an element type as numpy takes it."""
        if name in _NUMPY:
            return (f"{self.scope.use('np')}.{'bool_' if name == 'bool' else name}",)
        return (f'{self.scope.use("jnp")}.dtype("{name}")',)

    def jax_dtype(self, name: str) -> Doc:
        """Return an element type as the functions of ``jax.lax`` take it."""
        if name in _NUMPY or name == "bfloat16":
            return (f"{self.scope.use('jnp')}.{'bool_' if name == 'bool' else name}",)
        return self.dtype(name)

    def literal(self, operand: str, in_python: bool = False) -> Doc:
        """Return a scalar literal of the program with its exact bits, element type and weak type.

        A Python number has more digits than most element types; `in_python`, where the number itself reaches
        the caller, it is the one that the callable has.
        """
        kind, value = literal_type(operand), literal_array(operand)
        if not kind.weak_type:
            return self._scalar(value)
        python = self.python_number(operand)
        if python is not None:
            return self.scope.plain(value.item()) if in_python else python
        default = _DEFAULTS.get(value.dtype.kind, ("bool", "bool"))[self._wide]
        if kind.dtype == default:
            return (*self._scalar(value), ".item()")
        return (self.literal_array(operand),)

    def literal_array(self, operand: str) -> str:
        """Return the module-level name of an array that holds a scalar literal."""
        kind = literal_type(operand)
        array = call((f"{self.scope.use('jnp')}.asarray",), [self._scalar(literal_array(operand))])
        return self._constant(("literal", operand), self._weakly(array, kind.dtype) if kind.weak_type else array)

    def python_number(self, operand: str) -> Doc | None:
        """Return a literal as a Python number if it means the same beside an array of its type, or None."""
        kind, value = literal_type(operand), literal_array(operand)
        default = _DEFAULTS.get(value.dtype.kind, ())
        if kind.dtype not in default or (kind.weak_type and kind.dtype != default[self._wide]):
            return None
        plain = _shortest(value)
        if isinstance(plain, complex) or not _is_exact(plain, value):
            return None
        self.has_python_numbers = self.has_python_numbers or kind.weak_type
        return self.scope.plain(plain)

    def _scalar(self, value: np.ndarray[Any, Any]) -> Doc:
        name, plain = value.dtype.name, _shortest(value)
        if not _is_exact(plain, value):
            octets = (quote(value.tobytes()),)
            return (*call((f"{self.scope.use('np')}.frombuffer",), [octets], [("dtype", self.dtype(name))]), "[0]")
        scalar_type = self.dtype(name) if name in _NUMPY else (self._scalar_type(name),)
        return call(scalar_type, [self.scope.plain(plain)])

    def _scalar_type(self, name: str) -> str:
        return self._constant(("type", name), (*self.dtype(name), ".type"), name)

    def text(self, value: str) -> str:
        """Return the module-level name of a long text."""
        parts = [quote(value[start : start + _TEXT_CHUNK]) for start in range(0, len(value), _TEXT_CHUNK)]
        name = f"KEY{sum(kind == 'text' for kind, _ in self._constants)}"
        return self._constant(("text", value), (parts[0],) if len(parts) == 1 else (_adjacent(parts),), name)

    def mesh(self, shape: MeshShape) -> str:
        """Return the module-level name of names, sizes and kinds of the axes of a mesh."""
        if shape not in self._meshes:
            name = self._meshes[shape] = self.scope.new("MESH")
            parts = self.scope.plain((shape.names, shape.sizes, shape.types))
            self.mesh_definitions.extend(statement((f"{name} = ", *parts), 0))
        return self._meshes[shape]

    def constant(self, constant: Constant) -> str:
        """Return the module-level name of an array.

        Raises
        ------
        EmissionError
            If its data was left out of the file.
        """
        kind = TensorType.parse(constant.type)
        if kind.dtype == "float0":
            return self._constant((constant.type, ""), self.no_tangent(kind))
        try:
            array = constant.array()
        except BrainIRError as error:
            raise EmissionError(str(error)) from error
        key = (constant.type, constant.digest())
        small = self._small_array(array)
        if kind.is_key:
            words = self._large_array(array) if small is None else small
            impl = (quote(KEY_IMPLEMENTATIONS[kind.key_tag]),)
            wrapped = call((f"{self.scope.use('jax')}.random.wrap_key_data",), [words], [("impl", impl)])
            return self._constant(key, wrapped)
        doc = self._large_array(array) if small is None else call((f"{self.scope.use('jnp')}.asarray",), [small])
        return self._constant(key, self._weakly(doc, kind.dtype) if kind.weak_type else doc)

    def no_tangent(self, kind: TensorType) -> Doc:
        """Return the tangent of a value that has none."""
        zero = (f"{self.scope.use('jax')}.dtypes.float0",)
        return call((f"{self.scope.use('np')}.zeros",), [self.scope.plain(kind.shape), zero])

    def _constant(self, key: tuple[str, str], doc: Doc, wanted: str = "") -> str:
        if key not in self._constants:
            name = self.scope.new(wanted or f"C{len(self._constants)}")
            self._constants[key] = name
            self.definitions.extend(statement((f"{name} = ", *doc), 0))
        return self._constants[key]

    def _weakly(self, doc: Doc, dtype: str) -> Doc:
        function = (self.scope.dotted("lax.convert_element_type_p.bind"),)
        keywords = {
            "new_dtype": (f'{self.scope.use("jnp")}.dtype("{dtype}")',),
            "weak_type": ("True",),
            "sharding": ("None",),
        }
        return call(function, [doc], keywords.items())

    def _small_array(self, array: np.ndarray[Any, Any]) -> Doc | None:
        dtype = ("dtype", self.dtype(array.dtype.name))
        if array.size == 0:
            return call((f"{self.scope.use('np')}.zeros",), [self.scope.plain(array.shape)], [dtype])
        if array.size > _INLINE_SIZE or not _is_exact(_numbers(array), array):
            return None
        return call((f"{self.scope.use('np')}.array",), [self._nested(_numbers(array))], [dtype])

    def _nested(self, values: object) -> Doc:
        if isinstance(values, list):
            return display([self._nested(item) for item in values], "[]")
        return self.scope.plain(values)

    def _large_array(self, array: np.ndarray[Any, Any]) -> Doc:
        if self._weights is not None and array.nbytes > _BESIDE:
            name = f"c{len(self._weights)}"
            self._weights[name] = np.frombuffer(array.tobytes(), np.uint8)
            self.scope.use("WEIGHTS")
            return call(
                (self.scope.use("_stored"),),
                [self.scope.plain(array.shape), self.dtype(array.dtype.name), (quote(name),)],
            )
        text = base64.b64encode(array.tobytes()).decode("ascii")
        chunks = [quote(text[start : start + _CHUNK]) for start in range(0, len(text), _CHUNK)]
        dtype = flat(self.dtype(array.dtype.name))
        return call((self.scope.use("_array"),), [self.scope.plain(array.shape), (dtype,), ("\n    ".join(chunks),)])


def _adjacent(parts: Sequence[str]) -> str:
    """Return string literals, one on each line, that Python joins."""
    return "(\n    " + "\n    ".join(parts) + "\n)"


def _shortest(value: np.ndarray[Any, Any]) -> Number:
    """Return an element as the Python number that is written with the fewest digits."""
    plain: Number = value.item()
    return float(str(value[()])) if isinstance(plain, float) else plain


def _numbers(array: np.ndarray[Any, Any]) -> Any:
    """Return an array as nested lists of Python numbers."""
    return _shortest(array) if array.ndim == 0 else [_numbers(np.asarray(part)) for part in array]


def _is_exact(plain: object, array: np.ndarray[Any, Any]) -> bool:
    """Whether Python numbers, converted as numpy does, are the bits of an array."""
    with np.errstate(all="ignore"):
        return np.array(plain).astype(array.dtype).tobytes() == array.tobytes()

"""The names of a generated module, and the numbers and arrays that it writes down."""

from __future__ import annotations

import base64
import builtins
import keyword
import math
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..ir.constant import Constant
from ..ir.errors import BrainIRError, EmissionError
from ..ir.ops import MeshShape
from ..ir.types import DTYPES, TensorType, literal_array, literal_type
from .layout import Doc, call, display, flat, quote, statement
from .prelude import prelude_code
from .rules import KEY_IMPLEMENTATIONS

__all__ = ["FORBIDDEN", "ModuleScope", "number", "unique"]

Number: TypeAlias = Any  # int, float or complex; a type checker takes these for one
FORBIDDEN = frozenset((*keyword.kwlist, *dir(builtins)))
"""Names that a local variable or a function behind the entry does not take."""

_IMPORTS = {
    "base64": "import base64",
    "collections": "import collections",
    "dataclasses": "import dataclasses",
    "functools": "import functools",
    "math": "import math",
    "pathlib": "import pathlib",
    "sys": "import sys",
    "jax": "import jax",
    "jnp": "import jax.numpy as jnp",
    "np": "import numpy as np",
    "ad_checkpoint": "from jax import ad_checkpoint",
    "experimental": "from jax import experimental",
    "lax": "from jax import lax",
    "Primitive": "from jax.extend.core import Primitive",
    "primitives": "from jax.extend.core import primitives",
    "batching": "from jax.interpreters import batching",
    "mlir": "from jax.interpreters import mlir",
}
"""What a generated module may import, in the order in which it does."""

_BUILTINS = (
    "NotImplementedError", "RuntimeError", "TypeError", "ValueError", "all", "any", "bool", "complex", "dict",
    "enumerate", "float", "frozenset", "hasattr", "int", "isinstance", "len", "list", "map", "next", "object", "range",
    "reversed", "sorted", "str", "sum", "tuple", "type", "zip",
)  # fmt: skip
_ERRORS = {"EmissionError": "RuntimeError", "NotStoredError": "NotImplementedError"}
"""What a module raises, which has no errors of brainir."""

_TABLES = ("BATCHING_RULES", "EXTERNALS", "PRIMITIVES", "UNITS", "WEIGHTS")
_NUMPY = frozenset(name for name, dtype in DTYPES.items() if dtype.isbuiltin == 1 and name != "float0")
_DEFAULTS = {"i": ("int32", "int64"), "f": ("float32", "float64"), "c": ("complex64", "complex128")}
_INLINE_SIZE = 16
_BESIDE = 1024
_CHUNK = 88
_TEXT_CHUNK = 80


def unique(wanted: str, *taken: Collection[str]) -> str:
    """Return a name that is not taken: `wanted`, or that with underscores behind it."""
    while any(wanted in names for names in taken):
        wanted += "_"
    return wanted


class ModuleScope:
    """The module-level names of one generated module.

    Parameters
    ----------
    given : iterable of str
        Names that the caller sees and that stay as they are: the entry, then its arguments. Imports, helper
        functions and builtins go out of their way.
    wide : bool
        Whether the program uses 64-bit types, so that Python numbers stand for 64-bit ones.
    weights : dict, optional
        Takes the bytes of large arrays, which the module then reads from a file beside it.

    Attributes
    ----------
    arguments : set of str
        The names of the entry's arguments.
    taken : set of str
        The names at module level, and those that nothing may have.
    locals : set of str
        The names inside functions.
    """

    def __init__(
        self, given: Iterable[str], wide: bool, weights: dict[str, np.ndarray[Any, Any]] | None = None
    ) -> None:
        self._weights = weights
        entry, *arguments = given
        kept = {entry, *arguments}
        self.arguments = frozenset(arguments) - {entry}
        standard = (*_IMPORTS, *_BUILTINS, *_TABLES, *prelude_code())
        self._local = {name: unique(name, kept) for name in standard}
        self._used: set[str] = set()
        self._constants: dict[tuple[str, str], str] = {}
        self._definitions: list[str] = []
        self._meshes: dict[MeshShape, str] = {}
        self.mesh_definitions: list[str] = []
        self._wide = wide
        self.taken: set[str] = {*FORBIDDEN, *kept, *self._local.values(), "_"}
        self.locals: set[str] = set()
        self.has_python_numbers = False

    def new(self, wanted: str) -> str:
        """Take a module-level name."""
        name = unique(wanted, self.taken, self.locals)
        self.taken.add(name)
        return name

    def use(self, name: str) -> str:
        """Return how an import, builtin, error or helper is called here, and note that it is needed."""
        name = _ERRORS.get(name, name)
        self._used.add(name)
        return self._local[name]

    def uses(self, name: str) -> bool:
        """Whether an import or helper is needed."""
        return name in self._used

    def imports(self) -> Iterator[str]:
        """Yield the import statements that the module needs."""
        for name in _BUILTINS:
            if self._local[name] != name and name in self._used:
                yield f"from builtins import {name} as {self._local[name]}"
        for name, line in _IMPORTS.items():
            if name in self._used:
                local = self._local[name]
                yield line if local == name else f"{line.removesuffix(' as ' + name)} as {local}"

    def localized(self, code: str) -> str:
        """Return fixed code with the names that it has here, and note what it uses."""
        known = self._local.keys() | _ERRORS.keys()
        return re.sub(r"[A-Za-z_]\w*", lambda word: self.use(word[0]) if word[0] in known else word[0], code)

    def definitions(self) -> list[str]:
        """Return the lines that define the constants of the module."""
        return self._definitions

    def dotted(self, name: str) -> str:
        """Return what a dotted name of an expression stands for, such as ``lax.Precision.HIGHEST``.

        Raises
        ------
        EmissionError
            If it is not a name.
        """
        module, *path = name.split(".")
        if module == "prelude":
            return self.use(f"_{path[0]}")
        if module == "builtins":
            return self.use(path[0])
        if module not in _IMPORTS or not all(part.isidentifier() and not keyword.iskeyword(part) for part in path):
            raise EmissionError(f"the backend has no JAX name {name!r}")
        return ".".join((self.use(module), *path))

    def dtype(self, name: str) -> Doc:
        """Return an element type as numpy takes it."""
        if name in _NUMPY:
            return (f"{self.use('np')}.{'bool_' if name == 'bool' else name}",)
        return (f'{self.use("jnp")}.dtype("{name}")',)

    def jax_dtype(self, name: str) -> Doc:
        """Return an element type as the functions of ``jax.lax`` take it."""
        if name in _NUMPY or name == "bfloat16":
            return (f"{self.use('jnp')}.{'bool_' if name == 'bool' else name}",)
        return self.dtype(name)

    # Scalars

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
            return self.plain(value.item()) if in_python else python
        default = _DEFAULTS.get(value.dtype.kind, ("bool", "bool"))[self._wide]
        if kind.dtype == default:
            return (*self._scalar(value), ".item()")
        return (self.literal_array(operand),)

    def literal_array(self, operand: str) -> str:
        """Return the module-level name of an array that holds a scalar literal."""
        kind = literal_type(operand)
        array = call((f"{self.use('jnp')}.asarray",), [self._scalar(literal_array(operand))])
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
        return self._number(plain)

    def _scalar(self, value: np.ndarray[Any, Any]) -> Doc:
        name, plain = value.dtype.name, _shortest(value)
        if not _is_exact(plain, value):
            octets = (quote(value.tobytes()),)
            return (*call((f"{self.use('np')}.frombuffer",), [octets], [("dtype", self.dtype(name))]), "[0]")
        scalar_type = self.dtype(name) if name in _NUMPY else (self._scalar_type(name),)
        return call(scalar_type, [self._number(plain)])

    def _scalar_type(self, name: str) -> str:
        return self._constant(("type", name), (*self.dtype(name), ".type"), name)

    def _number(self, value: Number) -> Doc:
        if isinstance(value, complex):
            return call((self.use("complex"),), [self._number(value.real), self._number(value.imag)])
        if isinstance(value, float) and not math.isfinite(value):
            self.use("np")
        return (number(value).replace("np.", f"{self._local['np']}."),)

    def plain(self, value: object) -> Doc:
        """Return a Python literal: a number, text, None, or a tuple of these.

        Raises
        ------
        EmissionError
            If it is something else.
        """
        if isinstance(value, tuple):
            return display([self.plain(item) for item in value])
        if isinstance(value, str):
            return (quote(value),)
        if value is None or isinstance(value, bool):
            return (repr(value),)
        if isinstance(value, int | float | complex):
            return self._number(value)
        raise EmissionError(f"{value!r} is not a Python literal")

    def text(self, value: str) -> str:
        """Return the module-level name of a long text."""
        parts = [quote(value[start : start + _TEXT_CHUNK]) for start in range(0, len(value), _TEXT_CHUNK)]
        name = f"KEY{sum(kind == 'text' for kind, _ in self._constants)}"
        return self._constant(("text", value), (parts[0],) if len(parts) == 1 else (_adjacent(parts),), name)

    def mesh(self, shape: MeshShape) -> str:
        """Return the module-level name of names, sizes and kinds of the axes of a mesh."""
        if shape not in self._meshes:
            name = self._meshes[shape] = self.new("MESH")
            parts = self.plain((shape.names, shape.sizes, shape.types))
            self.mesh_definitions.extend(statement((f"{name} = ", *parts), 0))
        return self._meshes[shape]

    # Arrays

    def constant(self, constant: Constant) -> str:
        """Return the module-level name of an array.

        Raises
        ------
        EmissionError
            If its data was left out of the file.
        """
        kind = TensorType.parse(constant.type)
        if kind.dtype == "float0":
            zeros = call((f"{self.use('np')}.zeros",), [self.plain(kind.shape), (f"{self.use('jax')}.dtypes.float0",)])
            return self._constant((constant.type, ""), zeros)
        try:
            array = constant.array()
        except BrainIRError as error:
            raise EmissionError(str(error)) from error
        key = (constant.type, constant.digest())
        small = self._small_array(array)
        if kind.is_key:
            words = self._large_array(array) if small is None else small
            impl = (quote(KEY_IMPLEMENTATIONS[kind.key_tag]),)
            wrapped = call((f"{self.use('jax')}.random.wrap_key_data",), [words], [("impl", impl)])
            return self._constant(key, wrapped)
        doc = self._large_array(array) if small is None else call((f"{self.use('jnp')}.asarray",), [small])
        return self._constant(key, self._weakly(doc, kind.dtype) if kind.weak_type else doc)

    def _constant(self, key: tuple[str, str], doc: Doc, wanted: str = "") -> str:
        if key not in self._constants:
            name = self.new(wanted or f"C{len(self._constants)}")
            self._constants[key] = name
            self._definitions.extend(statement((f"{name} = ", *doc), 0))
        return self._constants[key]

    def _weakly(self, doc: Doc, dtype: str) -> Doc:
        function = (self.dotted("lax.convert_element_type_p.bind"),)
        keywords = {
            "new_dtype": (f'{self.use("jnp")}.dtype("{dtype}")',),
            "weak_type": ("True",),
            "sharding": ("None",),
        }
        return call(function, [doc], keywords.items())

    def _small_array(self, array: np.ndarray[Any, Any]) -> Doc | None:
        dtype = ("dtype", self.dtype(array.dtype.name))
        if array.size == 0:
            return call((f"{self.use('np')}.zeros",), [self.plain(array.shape)], [dtype])
        if array.size > _INLINE_SIZE or not _is_exact(_numbers(array), array):
            return None
        return call((f"{self.use('np')}.array",), [self._nested(_numbers(array))], [dtype])

    def _nested(self, values: object) -> Doc:
        return (
            display([self._nested(item) for item in values], "[]") if isinstance(values, list) else self.plain(values)
        )

    def _large_array(self, array: np.ndarray[Any, Any]) -> Doc:
        if self._weights is not None and array.nbytes > _BESIDE:
            name = f"c{len(self._weights)}"
            self._weights[name] = np.frombuffer(array.tobytes(), np.uint8)
            self.use("WEIGHTS")
            return call((self.use("_stored"),), [self.plain(array.shape), self.dtype(array.dtype.name), (quote(name),)])
        text = base64.b64encode(array.tobytes()).decode("ascii")
        chunks = [quote(text[start : start + _CHUNK]) for start in range(0, len(text), _CHUNK)]
        dtype = flat(self.dtype(array.dtype.name))
        return call((self.use("_array"),), [self.plain(array.shape), (dtype,), ("\n    ".join(chunks),)])


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


def number(value: Number) -> str:
    """Write a Python number so that it reads back to the same value."""
    if isinstance(value, float) and not math.isfinite(value):
        return "np.nan" if math.isnan(value) else "np.inf" if value > 0 else "-np.inf"
    return repr(value)

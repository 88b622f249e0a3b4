"""The names of a generated module, and Python literals in it, which need some."""

from __future__ import annotations

import builtins
import keyword
import math
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, TypeAlias

from ..ir.errors import EmissionError
from .layout import Doc, call, display, quote
from .prelude import prelude_code

__all__ = ["ModuleScope", "Number", "unique"]

Number: TypeAlias = Any  # int, float or complex; a type checker takes these for one
_FORBIDDEN = frozenset((*keyword.kwlist, *dir(builtins)))
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

    Attributes
    ----------
    arguments : set of str
        The names of the entry's arguments.
    taken : set of str
        The names at module level, and those that nothing may have.
    locals : set of str
        The names inside functions.
    """

    def __init__(self, given: Iterable[str]) -> None:
        entry, *arguments = given
        kept = {entry, *arguments}
        self.arguments = frozenset(arguments) - {entry}
        standard = (*_IMPORTS, *_BUILTINS, *_TABLES, *prelude_code())
        self._local = {name: unique(name, kept) for name in standard}
        self._used: set[str] = set()
        self.taken: set[str] = {*_FORBIDDEN, *kept, *self._local.values(), "_"}
        self.locals: set[str] = set()

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

    def _number(self, value: Number) -> Doc:
        if isinstance(value, complex):
            return call((self.use("complex"),), [self._number(value.real), self._number(value.imag)])
        if isinstance(value, float) and not math.isfinite(value):
            return (f"{'-' if value < 0 else ''}{self.use('np')}.{'nan' if math.isnan(value) else 'inf'}",)
        return (repr(value),)

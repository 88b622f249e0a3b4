"""What computes a primitive that another package defines, where that says more than the primitive does.

Like :mod:`..jax_compat`, it reads what JAX, and these packages, may rename or move between versions.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Mapping
from typing import Any

import jax
from jax import numpy as jnp
from jax.interpreters import ad, batching

from ..jax_compat import Equation
from . import hijax

__all__ = ["implementation", "is_brainevent", "primitive_functions"]


def implementation(equation: Equation) -> Any:
    """Return a function that computes an equation, or None if that says no more than the primitive does.

    Primitives of other packages have an implementation. That of JAX's own primitives compiles and runs the primitive
    itself, but for those of hijax.
    """
    primitive, params = equation.primitive, equation.params
    held = hijax.held_by(equation)
    if held is not None:
        return hijax.computation(held)
    kernel = _brainevent_registry().get(primitive.name)
    if kernel is not None:
        entry = next((part["jax_raw"] for part in kernel._kernels.values() if "jax_raw" in part), None)
        own = {name: value for name, value in params.items() if name != "backend"}
        return None if entry is None else lambda *operands: entry.kernel_generator(**own)(*operands)
    function = getattr(primitive.impl, "func", primitive.impl)
    module = getattr(function, "__module__", None) or ""
    if module.startswith(("jax.", "jaxlib.")) and not _is_public(function):
        return _sparse_implementation(equation)
    return functools.partial(primitive.impl, **params)


_PUBLIC = (jnp, jnp.linalg, jax.lax, jax.nn)


def _is_public(function: Any) -> bool:
    """Whether an implementation is one of JAX's functions for everyone, which says what it computes."""
    name = getattr(function, "__name__", "")
    return any(getattr(module, name, None) is function for module in _PUBLIC)


def primitive_functions(primitive: Any) -> tuple[Any, ...]:
    """Return what a primitive of another package computes with, and its rules; None for those that it has not.

    The operations of brainevent are those of its registry, for good.
    """
    if is_brainevent(primitive):
        return ()
    tables = (ad.primitive_jvps, ad.primitive_transposes, batching.fancy_primitive_batchers)
    return primitive.impl, *(table.get(primitive) for table in tables)


def _sparse_implementation(equation: Equation) -> Any:
    """Return what says in terms of other operations what one of ``jax.experimental.sparse`` computes."""
    for name in ("api", "bcoo", "bcsr", "coo", "csr"):
        module = sys.modules.get(f"jax.experimental.sparse.{name}")
        function = getattr(module, f"_{equation.primitive.name}_impl", None)
        if function is not None:
            return functools.partial(function, **equation.params)
    return None


def is_brainevent(primitive: Any) -> bool:
    """Whether a primitive is an operation of brainevent."""
    return primitive.name in _brainevent_registry()


def _brainevent_registry() -> Mapping[str, Any]:
    module = sys.modules.get("brainevent")
    return module.get_registry() if module is not None else {}

"""The text of small functions that generated modules begin with, as far as they need them.

They read like the rest of such a module: they are short and without types. Where a callable needs the same, it has code
of its own, which is named beside each table.
"""

from __future__ import annotations

from .control import CONTROL
from .derivatives import DERIVATIVES
from .given import GIVEN
from .interface import INTERFACE, QUANTITIES
from .operations import OPERATIONS

__all__ = ["HELPERS", "PRELUDE"]

PRELUDE = {**INTERFACE, **GIVEN, **CONTROL, **DERIVATIVES, **OPERATIONS, **QUANTITIES}
"""Functions by name; one can need those above it."""

HELPERS = {
    "lax.switch": "_switch",
    "platforms.index": "_platform_index",
    "polynomials.polynomial": "_polynomial",
    "scan.with_constants": "_scan",
    "solves.with_transpose": "_solve_with_transpose",
    "symbolic_zeros.covering_jvp": "_covering_jvp",
    "symbolic_zeros.covering_vjp": "_covering_vjp",
    "symbolic_zeros.custom_jvp": "_custom_jvp",
    "symbolic_zeros.custom_vjp": "_custom_vjp",
    "unnamed.empty2": "_empty2",
    "unnamed.geqp3": "_geqp3",
    "unnamed.geqrf": "_geqrf",
    "unvmap.is_vmapped": "_is_vmapped",
    "unvmap.unvmap_all": "_unvmap_all",
    "unvmap.unvmap_any": "_unvmap_any",
    "unvmap.unvmap_max": "_unvmap_max",
    "while_loop.of_batch": "_while",
    "words.iota_2x32_shape": "_iota_2x32",
    "wrapping.composite": "_composite",
    "wrapping.on_mesh": "_on_mesh",
    "wrapping.with_batching": "_with_batching",
}
"""Those that stand for a name in an expression."""

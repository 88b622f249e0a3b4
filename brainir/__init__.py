"""A typed, serializable SSA graph IR for JAX programs, above all for recurrent and spiking networks.

Importing this package does not import JAX; the parts that need it are loaded when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import analysis, brainscale, testing, view
    from .analysis import (
        add_hidden_perturbation,
        check_units,
        cost,
        diff,
        find_hidden_groups,
        find_hidden_param_op_relations,
        module_info,
        position_dependence,
        run_passes,
        why,
    )
    from .backend.bindings import register_primitive
    from .backend.callable import to_callable
    from .backend.divergence import first_divergence
    from .backend.source import save_source, to_source
    from .frontend.function import lower, lower_step
    from .frontend.module import lower_module
    from .frontend.states import read_states, write_states
    from .ir.canonical import fingerprint
    from .ir.diff import relabel
    from .ir.errors import BrainIRError
    from .ir.files import load, save
    from .ir.large_constants import strip_constants
    from .ir.program import Program
    from .ir.schema import json_schema
    from .ir.serialization import dumps, loads
    from .ir.upgrade import upgrade_file
    from .ir.verifier import verify
    from .learning import Learner, compile_learner

__version__ = "0.1.0"

_HOMES = {
    ".analysis": (
        "add_hidden_perturbation",
        "check_units",
        "cost",
        "diff",
        "find_hidden_groups",
        "find_hidden_param_op_relations",
        "module_info",
        "position_dependence",
        "run_passes",
        "why",
    ),
    ".backend.bindings": ("register_primitive",),
    ".backend.callable": ("to_callable",),
    ".backend.divergence": ("first_divergence",),
    ".backend.source": ("save_source", "to_source"),
    ".frontend.function": ("lower", "lower_step"),
    ".frontend.module": ("lower_module",),
    ".frontend.states": ("read_states", "write_states"),
    ".ir.canonical": ("fingerprint",),
    ".ir.diff": ("relabel",),
    ".ir.errors": ("BrainIRError",),
    ".ir.files": ("load", "save"),
    ".ir.large_constants": ("strip_constants",),
    ".ir.program": ("Program",),
    ".ir.schema": ("json_schema",),
    ".ir.serialization": ("dumps", "loads"),
    ".ir.upgrade": ("upgrade_file",),
    ".ir.verifier": ("verify",),
    ".learning": ("Learner", "compile_learner"),
}
_MODULES = ("analysis", "brainscale", "testing", "view")
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "BrainIRError",
    "Learner",
    "Program",
    "add_hidden_perturbation",
    "analysis",
    "brainscale",
    "check_units",
    "compile_learner",
    "cost",
    "diff",
    "dumps",
    "find_hidden_groups",
    "find_hidden_param_op_relations",
    "fingerprint",
    "first_divergence",
    "json_schema",
    "load",
    "loads",
    "lower",
    "lower_module",
    "lower_step",
    "module_info",
    "position_dependence",
    "read_states",
    "register_primitive",
    "relabel",
    "run_passes",
    "save",
    "save_source",
    "strip_constants",
    "testing",
    "to_callable",
    "to_source",
    "upgrade_file",
    "verify",
    "view",
    "why",
    "write_states",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

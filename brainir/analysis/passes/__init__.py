"""Passes: rewrites of programs that keep their meaning, and the runner that checks them."""

from .base import Pass, PassResult
from .common_subexpressions import CommonSubexpressions
from .cond_to_select import CondToSelect
from .constant_folding import ConstantFolding
from .copy_propagation import CopyPropagation
from .dead_code import DeadCode
from .inline import InlineCalls
from .runner import DEFAULT_PASSES, PASSES, PassRun, apply_passes, run_passes
from .unroll_scans import UnrollScans

__all__ = [
    "DEFAULT_PASSES",
    "PASSES",
    "CommonSubexpressions",
    "CondToSelect",
    "ConstantFolding",
    "CopyPropagation",
    "DeadCode",
    "InlineCalls",
    "Pass",
    "PassResult",
    "PassRun",
    "UnrollScans",
    "apply_passes",
    "run_passes",
]

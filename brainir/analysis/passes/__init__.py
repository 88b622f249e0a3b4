"""Passes: rewrites of programs that keep their meaning, and the runner that checks them."""

from .base import Pass, PassResult
from .cond_to_select import CondToSelect
from .inline import InlineCalls
from .runner import DEFAULT_PASSES, PASSES, PassRun, apply_passes, run_passes
from .unroll_scans import UnrollScans

__all__ = [
    "DEFAULT_PASSES",
    "PASSES",
    "CondToSelect",
    "InlineCalls",
    "Pass",
    "PassResult",
    "PassRun",
    "UnrollScans",
    "apply_passes",
    "run_passes",
]

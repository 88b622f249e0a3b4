"""What an analysis has to tell a modeller, as data."""

from __future__ import annotations

from typing import Literal

from ..ir.model import StatePath
from ..ir.printer import format_path
from .facts import Facts

__all__ = ["Code", "Diagnostic"]

Code = Literal[
    "readout", "only_through_another_weight", "through_another_weight", "blocked_by_stop_gradient",
    "weight_in_control_flow", "opaque_weight_operation", "recurrence_through_other_state",
    "unreachable_state", "unused_parameter",
]  # fmt: skip


class Diagnostic(Facts):
    """One finding about one state.

    Parameters
    ----------
    code : str
        What was found; stable between releases.
    message : str
        The finding in a sentence.
    path : tuple of str and int
        The state it is about.
    node : str
        The operation it is about, or empty.
    source : str
        The model's line, or empty.
    remedy : str
        What can be done.
    """

    code: Code
    message: str
    path: StatePath
    node: str = ""
    source: str = ""
    remedy: str = ""

    def __repr__(self) -> str:
        lines = [f"{self.code}: {format_path(self.path)}: {self.message}"]
        if self.node:
            lines.append(f"  at {self.node}" + (f"  # {self.source}" if self.source else ""))
        if self.remedy:
            lines.append(f"  {self.remedy}")
        return "\n".join(lines)

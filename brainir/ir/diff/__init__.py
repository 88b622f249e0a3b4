"""What differs between two versions of a program, and how to write a program like an older one."""

from .changes import find_changes, largest_difference
from .html import format_side_by_side
from .interface_matching import match_interfaces
from .naming import Names
from .program_matching import FunctionMatching, ProgramMatching
from .record import Change, ChangeKind
from .relabel import relabel
from .text import format_changes, summarize

__all__ = [
    "Change",
    "ChangeKind",
    "FunctionMatching",
    "Names",
    "ProgramMatching",
    "find_changes",
    "format_changes",
    "format_side_by_side",
    "largest_difference",
    "match_interfaces",
    "relabel",
    "summarize",
]

"""Why the derivative rule of a function is not stored."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NoRuleError", "Refusal", "RefusedError", "reason_of"]


class NoRuleError(Exception):
    """The derivative rule of a function of the program cannot be stored; the text says why."""

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(reason)
        self.function = function


class RefusedError(NoRuleError):
    """The rule refuses some operands, and where the function is called is not known which can be perturbed."""

    def __init__(self, function: str) -> None:
        super().__init__(function, "its derivative rule refuses some operands, and which move here is not known")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a rule cannot be stored: it fails where these operands are perturbed. Unlike an error, it is remembered.

    Parameters
    ----------
    reason : str
    asserted : bool
        Whether the rule was not written for that, and may be for fewer operands.
    """

    reason: str
    asserted: bool = False


def reason_of(error: Exception) -> str:
    """Return what a rule says of why it cannot be traced, or which error ends it: it raises what it was written to."""
    said = str(error) if isinstance(error, RuntimeError) else ""
    return said or f"JAX cannot trace its derivative rule ({type(error).__name__})"

"""Why the derivative rule of a function is not stored."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NoRuleError", "Refusal", "RefusedError"]


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

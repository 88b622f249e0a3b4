"""The errors that brainir raises. Every one derives from :class:`BrainIRError`."""

from __future__ import annotations

__all__ = [
    "AnalysisError",
    "BrainIRError",
    "EmissionError",
    "FormatError",
    "LoweringError",
    "NotStoredError",
    "PassError",
    "StateError",
    "VerificationError",
]


class BrainIRError(Exception):
    """Base class of every error that brainir raises on purpose."""


class FormatError(BrainIRError):
    """A file or text is not a brainir program that this release can read."""


class VerificationError(BrainIRError):
    """A program breaks an invariant of the IR; the message shows where and what to do."""


class LoweringError(BrainIRError):
    """A JAX program cannot be turned into IR."""


class StateError(LoweringError):
    """The states of a module or of a step do not fit what brainir can represent."""


class EmissionError(BrainIRError):
    """A program cannot be turned back into JAX code, or the emitted function was called wrongly."""


class NotStoredError(EmissionError, NotImplementedError):
    """A regenerated function is asked for what its program does not hold: a derivative rule, a batching rule.

    JAX and other libraries know it as a ``NotImplementedError``.
    """


class AnalysisError(BrainIRError):
    """An analysis was asked for something that the program does not have."""


class PassError(AnalysisError):
    """A pass returned an invalid program, or one that does not keep what the pass declares to keep."""

"""The options of a learner that do not depend on the program, checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeGuard, assert_never, get_args

import numpy as np

from ...ir.errors import EmissionError
from .plan import Algorithm

__all__ = ["LearningOptions"]


@dataclass(frozen=True)
class LearningOptions:
    """What a learner is told beside the program.

    Parameters
    ----------
    algorithm : {"d_rtrl", "es_d_rtrl"}
    decay : float
        Of ES-D-RTRL; zero for D-RTRL.
    window : int or None
        Number of steps.
    """

    algorithm: Algorithm
    decay: float = 0.0
    window: int | None = None

    @classmethod
    def of(cls, algorithm: Any, *, decay: Any = None, window: Any = None) -> LearningOptions:
        """Check options as :func:`brainir.compile_learner` takes them.

        Raises
        ------
        EmissionError
            If there is no such algorithm, or if it does not take a value.
        """
        if algorithm not in get_args(Algorithm):
            raise EmissionError(f"algorithm must be {' or '.join(map(repr, get_args(Algorithm)))}, not {algorithm!r}")
        return cls(algorithm, _decay(algorithm, decay), _window(algorithm, window))


def _decay(algorithm: Algorithm, decay: Any) -> float:
    match algorithm:
        case "d_rtrl":
            if decay is not None:
                raise EmissionError("d_rtrl has no decay; leave it out, or use algorithm='es_d_rtrl'")
            return 0.0
        case "es_d_rtrl":
            if _is_integer(decay) and decay >= 1:
                return (int(decay) - 1) / (int(decay) + 1)
            if isinstance(decay, float | np.floating) and 0 <= decay < 1:
                return float(decay)
            raise EmissionError(
                f"es_d_rtrl needs a decay: a float in [0, 1), or an integer rank of at least 1; not {decay!r}"
            )
        case _:
            assert_never(algorithm)


def _window(algorithm: Algorithm, window: Any) -> int | None:
    if window is None:
        return None
    if not _is_integer(window) or window < 1:
        raise EmissionError(f"window must be a number of steps, at least 1, not {window!r}")
    match algorithm:
        case "d_rtrl":
            return int(window)
        case "es_d_rtrl":
            raise EmissionError("a window needs the traces of d_rtrl; leave window out, or use algorithm='d_rtrl'")
        case _:
            assert_never(algorithm)


def _is_integer(value: Any) -> TypeGuard[int]:
    return isinstance(value, int | np.integer) and not isinstance(value, bool)

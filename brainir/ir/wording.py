"""Words in what is printed."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: ``1 node``, ``2 nodes``, ``1,000 nodes``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"

"""Traces of ES-D-RTRL: an outer product of a trace of the data and a trace of the derivatives."""

from __future__ import annotations


class LowRankTrace:
    """Placeholder."""

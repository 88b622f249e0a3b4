"""What a program costs: operations, bytes, memory and eligibility traces, before anything is compiled."""

from .count import cost
from .report import Cost, Part
from .traces import TraceCost

__all__ = ["Cost", "Part", "TraceCost", "cost"]

"""Explanations of what the analyses found, by state."""

from .records import Explanation, RouteStep
from .why import why

__all__ = ["Explanation", "RouteStep", "why"]

"""Physical units of the values of a program, from those of its interface."""

from .check import UnitCheck, check_units

__all__ = ["UnitCheck", "check_units"]

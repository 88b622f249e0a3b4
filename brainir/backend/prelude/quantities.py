"""Quantities of brainunit, as arguments and results of a module."""

import sys
from typing import Any

from .interface import _leaf

# A module has a table of its own under this name.
UNITS: dict[str, Any] = {}


def _unit(text):
    """Return a unit as brainunit has it; nothing is imported, who has quantities has loaded it."""
    saiunit = sys.modules["saiunit"]
    try:
        unit = saiunit.parse_unit(text)
    except ValueError:
        unit = None
    if unit is not None and ((*unit.dim._dims,), unit.scale, unit.base, unit.factor) == UNITS[text]:
        return unit
    dimension, scale, base, factor = UNITS[text]
    dimension = saiunit.get_or_create_dimension([*dimension])
    return saiunit.Unit(dim=dimension, scale=scale, base=base, factor=factor)


def _mantissa(value, kind, text, quantities, weak_type=False):
    """Return a quantity, or a number if the caller has no quantities, as an array in this unit."""
    if hasattr(value, "mantissa"):
        if not quantities:
            raise TypeError("expected a number like the first value with a unit, got a quantity")
        unit = _unit(text)
        value = value.mantissa if value.unit == unit else value.to_decimal(unit)
    elif quantities and (any(UNITS[text][0]) or UNITS[text][1:] != (0.0, 10.0, 1.0)):
        raise TypeError(f"expected a quantity in {text} like the first value with a unit")
    return _leaf(value, kind, weak_type)


def _quantity(array, text, quantities):
    """Return a result in the form in which the arguments came."""
    return sys.modules["saiunit"].Quantity(array, unit=_unit(text)) if quantities else array

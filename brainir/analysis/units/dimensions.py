"""Arithmetic of physical units: exponents of the seven SI base units, exact, and a magnitude."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from ...ir.interface import BASE_UNITS, Unit

__all__ = ["Dimension"]

_LARGEST_DENOMINATOR = 1000


@dataclass(frozen=True, slots=True)
class Dimension:
    """A unit without its name.

    Parameters
    ----------
    exponents : tuple of seven Fraction
        Powers of metre, kilogram, second, ampere, kelvin, mole, candela.
    magnitude : float
        Decimal logarithm of the size in those base units.
    """

    exponents: tuple[Fraction, ...] = (Fraction(0),) * 7
    magnitude: float = 0.0

    @staticmethod
    def of(unit: Unit) -> Dimension:
        """Read a unit of an interface."""
        exponents = tuple(Fraction(each).limit_denominator(_LARGEST_DENOMINATOR) for each in unit.dimension)
        return Dimension(exponents, unit.scale * math.log10(unit.base) + math.log10(unit.factor))

    @property
    def is_number(self) -> bool:
        """Whether it is a pure number, perhaps times a power of ten."""
        return not any(self.exponents)

    def times(self, other: Dimension, sign: int = 1) -> Dimension:
        """Return the unit of a product, or of a quotient with ``sign=-1``."""
        exponents = tuple(mine + sign * its for mine, its in zip(self.exponents, other.exponents, strict=True))
        return Dimension(exponents, self.magnitude + sign * other.magnitude)

    def power(self, exponent: Fraction) -> Dimension:
        """Return the unit of a power."""
        return Dimension(tuple(exponent * each for each in self.exponents), float(exponent) * self.magnitude)

    def same_dimension(self, other: Dimension) -> bool:
        """Whether values of both can be compared, up to a factor."""
        return self.exponents == other.exponents

    def same_unit(self, other: Dimension) -> bool:
        """Whether numbers in both units can be added as they are."""
        close = math.isclose(self.magnitude, other.magnitude, rel_tol=1e-9, abs_tol=1e-9)
        return self.exponents == other.exponents and close

    def key(self) -> tuple[object, ...]:
        """Return what tells units apart, up to rounding of the magnitude."""
        return self.exponents, round(self.magnitude, 6)

    def __str__(self) -> str:
        parts = [
            name if exponent == 1 else f"{name}^{exponent}" if exponent.denominator == 1 else f"{name}^({exponent})"
            for name, exponent in zip(BASE_UNITS, self.exponents, strict=True)
            if exponent
        ]
        size = 10.0**self.magnitude
        written = [] if math.isclose(size, 1.0, rel_tol=1e-9) else [f"{size:.6g}"]
        return " ".join([*written, *parts]) or "1"

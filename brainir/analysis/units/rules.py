"""What each operation asks of the units of its operands, and which unit its results have."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple, TypeAlias

import numpy as np

from ...ir.node import Node
from ...ir.ops import IntegerPow, Reduce
from ...ir.types import TensorType, is_literal, literal_array
from ..diagnostics import FindingName
from .dimensions import Dimension

__all__ = ["FREE", "NUMBER", "Conflict", "Known", "joined", "kept", "results_of"]

Known: TypeAlias = Dimension | None
FREE: Known = None
"""No unit is known: the value may stand for a quantity in any."""
NUMBER = Dimension()
"""A pure number."""


class Conflict(NamedTuple):
    """Operands whose units do not go together.

    Parameters
    ----------
    name : str
        Which finding it is.
    message : str
        A sentence, with ``{}`` for each of the units.
    units : tuple of Dimension
    """

    name: FindingName
    message: str
    units: tuple[Dimension, ...]


_SAME: dict[str, FindingName] = {
    **dict.fromkeys(("add", "add_any", "complex", "max", "min", "nextafter", "rem", "sub"), "units_added"),
    **dict.fromkeys(("eq", "eq_to", "ge", "gt", "le", "le_to", "lt", "lt_to", "ne"), "units_compared"),
    **dict.fromkeys(("clamp", "concatenate", "pad", "stack"), "units_joined"),
    "atan2": "units_compared",
}
_KEEP = frozenset(
    {
        "abs", "ceil", "conj", "convert_element_type", "copy", "cummax", "cummin", "cumsum", "dynamic_slice",
        "floor", "gather", "imag", "name", "neg", "real", "reduce_max", "reduce_min", "reduce_precision", "reduce_sum",
        "reduce_window_max", "reduce_window_min", "reduce_window_sum", "reshape_dimensions", "round", "stop_gradient",
    }
)  # fmt: skip
_NUMBERS_ONLY = frozenset(
    {
        "acos", "acosh", "asin", "asinh", "atan", "atanh", "bessel_i0e", "bessel_i1e", "cos", "cosh", "cumlogsumexp",
        "cumprod", "digamma", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "igamma", "igammac", "lgamma", "log",
        "log1p", "log2", "logistic", "polygamma", "regularized_incomplete_beta", "sin", "sinh", "tan", "tanh", "zeta",
    }
)  # fmt: skip
_POWERS = {"square": Fraction(2), "sqrt": Fraction(1, 2), "cbrt": Fraction(1, 3), "rsqrt": Fraction(-1, 2)}
_EACH = frozenset({"device_put", "optimization_barrier", "sort"})
"""Operations whose results are their operands, moved."""
_PRODUCTS = frozenset({"conv_general_dilated", "dot_general", "mul"})
_UPDATES = frozenset({"dynamic_update_slice", "scatter", "scatter_add", "scatter_max", "scatter_min", "scatter_sub"})


def kept(unit: Known, *, strict: bool) -> Known:
    """Forget that a value is a pure number, where numbers may stand for anything (not `strict`)."""
    return FREE if unit is not None and unit.is_number and not strict else unit


def results_of(
    node: Node, operands: Sequence[Known], kinds: Sequence[TensorType]
) -> tuple[list[Known], Conflict | None]:
    """Return the units of the results of a node that runs no function, and a conflict of its operands.

    Parameters
    ----------
    node : Node
    operands : sequence of Dimension or None
        None where no unit is known.
    kinds : sequence of TensorType
        Types of the operands.
    """
    if node.op in _EACH:
        return list(operands), None
    if node.op == "top_k":
        return [operands[0], NUMBER], None
    if isinstance(node, Reduce) and node.op == "reduce_prod":
        count = math.prod(kinds[0].shape[axis] for axis in node.axes)
        return [operands[0] and operands[0].power(Fraction(count))], None
    found, conflict = _result(node, operands)
    return [found] * len(node.outputs), conflict


def _result(node: Node, operands: Sequence[Known]) -> tuple[Known, Conflict | None]:
    op = node.op
    if op in _SAME:
        unit, conflict = joined(operands, _SAME[op], op)
        return (FREE if _SAME[op] == "units_compared" else unit), conflict
    if op == "select_n":
        return joined(operands[1:], "units_joined", op)
    if op == "scatter_mul":
        return operands[0], _not_numbers("factors of scatter_mul", operands[2:])
    if op in _UPDATES:
        return joined((operands[0], operands[1 if op == "dynamic_update_slice" else 2]), "units_joined", op)
    if op in _KEEP or (node.traits.structural and len(operands) == 1):
        return operands[0], None
    if op in ("sign", "argmax", "argmin"):
        return NUMBER, None
    if op in _PRODUCTS or op in ("div", "triangular_solve"):
        # A system of equations is divided by its matrix, which comes first.
        first, second = (operands[1], operands[0]) if op == "triangular_solve" else operands[:2]
        if first is None or second is None:
            return FREE, None
        return first.times(second, 1 if op in _PRODUCTS else -1), None
    if op in _POWERS or op in ("integer_pow", "pow"):
        return _power(node, operands)
    if op in _NUMBERS_ONLY:
        return NUMBER, _not_numbers(op, operands)
    return FREE, None


def _not_numbers(what: str, operands: Sequence[Known]) -> Conflict | None:
    """Return a conflict if any of the operands is known not to be a pure number."""
    for given in operands:
        if given is not None and not given.is_number:
            message = f"{what} of a quantity in {{}}, where only numbers make sense"
            return Conflict("units_in_function", message, (given,))
    return None


def joined(operands: Sequence[Known], name: FindingName, what: str) -> tuple[Known, Conflict | None]:
    """Return the one unit that several values have, and a conflict if they have several."""
    known = [each for each in operands if each is not None]
    for other in known[1:]:
        if other is known[0]:
            continue
        if not other.same_dimension(known[0]):
            return FREE, Conflict(name, f"{what} of quantities in {{}} and {{}}", (known[0], other))
        if not other.same_unit(known[0]):
            message = f"{what} of numbers in {{}} and {{}}, one dimension in two units"
            return FREE, Conflict("units_of_two_scales", message, (known[0], other))
    return (known[0] if known else FREE), None


def _power(node: Node, operands: Sequence[Known]) -> tuple[Known, Conflict | None]:
    base = operands[0]
    if node.op == "pow":
        conflict = _not_numbers("power with an exponent", operands[1:])
        if conflict is not None:
            return FREE, conflict
        exponent = node.inputs[1]
        if is_literal(exponent):
            value = float(np.real(literal_array(exponent)))
            if base is None or not np.isfinite(value):
                return FREE, None
            return base.power(Fraction(value).limit_denominator(1000)), None
        if base is None:
            return FREE, None
        if base.is_number:
            return NUMBER, None
        message = "power of a quantity in {} with an exponent that varies"
        return FREE, Conflict("units_in_function", message, (base,))
    if base is None:
        return FREE, None
    power = Fraction(node.y) if isinstance(node, IntegerPow) else _POWERS[node.op]
    return base.power(power), None

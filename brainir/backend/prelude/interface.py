"""What takes the arguments of a generated module apart and makes its results."""

from __future__ import annotations

__all__ = ["INTERFACE", "QUANTITIES"]

INTERFACE = {
    "_leaf": '''
def _leaf(value, kind, weak_type=False):
    """Return an argument as an array, checked against the type that the program was made for."""
    is_number = isinstance(value, (bool, int, float, complex)) and not weak_type
    array = jnp.asarray(value, dtype=kind[: kind.index("[")] if is_number else None)
    found = f"{array.dtype}{[*array.shape]}"
    if found != kind:
        raise TypeError(f"expected {kind}, got {found}")
    return array
''',
    "_expect": '''
def _expect(value, kind, size):
    """Refuse a container of another kind or size than the program was made for."""
    if not isinstance(value, kind) or len(value) != size:
        raise TypeError(f"expected a {kind.__name__} of {size} items, got {value!r:.200}")
''',
    "_parts": '''
def _parts(value, kind, size):
    """Return the parts of a container that JAX can take apart, or of a tuple in its place."""
    found = f"{type(value).__module__}:{type(value).__qualname__}"
    parts = jax.tree.leaves(value, is_leaf=lambda part: part is not value)
    if found not in (kind, "builtins:tuple") or len(parts) != size:
        raise TypeError(f"expected a {kind} of {size} parts, got {value!r:.200}")
    return parts
''',
    "_like": '''
def _like(value, parts):
    """Return a container that is like another one in all but its parts."""
    structure = jax.tree.structure(value, is_leaf=lambda part: part is not value)
    return jax.tree.unflatten(structure, parts)
''',
}
"""Arrays and containers."""

QUANTITIES = {
    "_unit": '''
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
''',
    "_mantissa": '''
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
''',
    "_quantity": '''
def _quantity(array, text, quantities):
    """Return a result in the form in which the arguments came."""
    return sys.modules["saiunit"].Quantity(array, unit=_unit(text)) if quantities else array
''',
}
"""Quantities of brainunit; they need arrays."""

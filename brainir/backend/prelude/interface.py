"""What takes the arguments of a module apart and makes its results."""

import jax
from jax import numpy as jnp


def _leaf(value, kind, weak_type=False):
    """Return an argument as an array, checked against the type that the program was made for."""
    is_number = isinstance(value, (bool, int, float, complex)) and not weak_type
    array = jnp.asarray(value, dtype=kind[: kind.index("[")] if is_number else None)
    found = f"{array.dtype}{[*array.shape]}"
    if found != kind:
        raise TypeError(f"expected {kind}, got {found}")
    return array


def _expect(value, kind, size):
    """Refuse a container of another kind or size than the program was made for."""
    if not isinstance(value, kind) or len(value) != size:
        raise TypeError(f"expected a {kind.__name__} of {size} items, got {value!r:.200}")


def _parts(value, kind, size):
    """Return the parts of a container that JAX can take apart, or of a tuple in its place."""
    found = f"{type(value).__module__}:{type(value).__qualname__}"
    parts = jax.tree.leaves(value, is_leaf=lambda part: part is not value)
    if found not in (kind, "builtins:tuple") or len(parts) != size:
        raise TypeError(f"expected a {kind} of {size} parts, got {value!r:.200}")
    return parts


def _like(value, parts):
    """Return a container that is like another one in all but its parts."""
    structure = jax.tree.structure(value, is_leaf=lambda part: part is not value)
    return jax.tree.unflatten(structure, parts)

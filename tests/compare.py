"""Comparison of pytrees to the bit."""

from typing import Any

import jax
import numpy as np

JAX = tuple(int(part) for part in jax.__version__.split(".")[:2])
"""The installed version of JAX."""


def bits(leaf: Any) -> tuple[str, tuple[int, ...], bytes]:
    """Return dtype, shape and bytes of an array or of a typed key."""
    words = jax.random.key_data(leaf) if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended) else leaf
    array = np.asarray(words)
    return str(leaf.dtype), array.shape, array.tobytes()


def assert_same_bits(actual: Any, expected: Any, where: str = "") -> None:
    """Check that two pytrees have one structure, units included, and the same bits."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected), where
    pairs = zip(jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True)
    for (path, got), wanted in pairs:
        assert bits(got) == bits(wanted), f"{where} {jax.tree_util.keystr(path)}: {got} != {wanted}"

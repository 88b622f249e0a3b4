"""Comparison of pytrees to the bit, and of what functions compile to."""

import functools
import re
from collections.abc import Callable, Container
from typing import Any

import jax
import numpy as np

JAX = tuple(int(part) for part in jax.__version__.split(".")[:2])
"""The installed version of JAX."""

_SYMBOL = r'@(?:[\w.$-]+|"[^"]*")'


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


def lowered(fn: Callable[..., Any], *args: Any) -> Any:
    """Return a function as JAX lowers it to StableHLO, under one name."""

    def compared(*args: Any) -> Any:
        return fn(*args)

    return jax.jit(compared).lower(*args)


def stablehlo(made: Any) -> str:
    """Return the StableHLO text of what was lowered. The names of its functions, which are no part of what is computed,
    are numbered in order, those of library calls are not; constants are in it in full.
    """
    text = made.as_text()
    functions = set(re.findall(rf"func\.func \w+ ({_SYMBOL})", text))
    return _numbered(_SYMBOL, text, functions)


def optimized_hlo(made: Any) -> str:
    """Return the text of what XLA compiles, without names, numbers of instructions, and the model's lines.

    XLA shortens large constants in it.
    """
    # The module's name and the tables of source positions come first.
    _, first, rest = re.split(r"^(%|ENTRY )", made.compile().as_text(), maxsplit=1, flags=re.MULTILINE)
    text = re.sub(r", metadata=\{[^}]*\}|[\w.]+(?=: (?:\w+\[|\())", "", first + rest)
    return _numbered(r"%[\w.-]+", text)


def _numbered(pattern: str, text: str, wanted: Container[str] | None = None) -> str:
    names: dict[str, str] = {}

    def number(name: re.Match[str]) -> str:
        if wanted is not None and name[0] not in wanted:
            return name[0]
        return names.setdefault(name[0], f"{name[0][0]}{len(names)}")

    return re.sub(pattern, number, text)


def assert_same_function(
    actual: Callable[..., Any], expected: Callable[..., Any], *args: Any, rtol: float = 0.0
) -> None:
    """Check that two functions give the same structure and bits under ``jax.jit``, or numbers within `rtol`.

    With the same StableHLO they are the same executable, and nothing is compiled.
    """
    ours, original = lowered(actual, *args), lowered(expected, *args)
    assert ours.out_tree == original.out_tree
    if stablehlo(ours) == stablehlo(original):
        return
    found, wanted = ours.compile()(*args), original.compile()(*args)
    if rtol:
        jax.tree.map(functools.partial(np.testing.assert_allclose, rtol=rtol), found, wanted)
    else:
        assert_same_bits(found, wanted)

"""The cases of the harness with which JAX tests its primitives."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from .functions import PUBLIC

__all__ = ["COLLECTIONS", "Harness", "arguments", "harnesses", "names", "runs_on_cpu"]

Harness = Any


@functools.cache
def harnesses() -> dict[str, Harness]:
    """Return the cases by name. Which there are depends on whether JAX has 64-bit types on."""
    # Nothing public has these cases; only this module needs them, and only tests need this module.
    from jax._src.internal_test_util import test_harnesses  # noqa: TID251  # the cases are nowhere public

    found: dict[str, Harness] = {}
    for harness in test_harnesses.all_harnesses:
        name, count = harness.fullname, 1
        while name in found:
            count += 1
            name = f"{harness.fullname}#{count}"
        found[name] = harness
    return found


def _corpus() -> dict[str, Harness]:
    # Imports brainstate, and builds models, which no other collection needs.
    from .corpus import corpus

    return dict(corpus())


COLLECTIONS: dict[str, Callable[[], dict[str, Harness]]] = {
    "primitives": harnesses,
    "public": lambda: dict(PUBLIC),
    "programs": _corpus,
}
"""Cases by name: JAX's own of its primitives, public functions of JAX, the programs and models of the tests."""


def names(collection: str, groups: Sequence[str] = (), per_group: int | None = None) -> list[str]:
    """Return the names of the cases of some groups (all if empty), at most `per_group` of each, spread evenly."""
    members: dict[str, list[str]] = {}
    cases = COLLECTIONS[collection]()
    for name, harness in cases.items():
        if not groups or harness.group_name in groups:
            members.setdefault(harness.group_name, []).append(name)
    unknown = set(groups) - set(members)
    if unknown:
        raise SystemExit(f"no such groups: {', '.join(sorted(unknown))}")
    if per_group is None:
        return [name for group in members.values() for name in group]
    return [name for group in members.values() for name in _spread(cases, group, per_group)]


def _spread(cases: dict[str, Harness], group: list[str], count: int) -> list[str]:
    """Return up to `count` cases, those that JAX has on the CPU first."""
    usable = [name for name in group if runs_on_cpu(cases[name])] or group
    count = min(count, len(usable))
    return [usable[index * len(usable) // count] for index in range(count)]


def runs_on_cpu(harness: Harness) -> bool:
    """Whether JAX says that it can run a case on the CPU."""
    return bool(harness.filter("cpu"))


def arguments(name: str, harness: Harness) -> list[Any]:
    """Return the arguments of a case, always the same ones, as arrays."""
    made = harness.dyn_args_maker(np.random.RandomState(zlib.crc32(name.encode())))  # what they take
    return [arg if isinstance(arg, bool | int | float | complex) else jax.tree.map(_array, arg) for arg in made]


def _array(leaf: Any) -> Any:
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)

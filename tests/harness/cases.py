"""The cases of the harness with which JAX tests its primitives."""

from __future__ import annotations

import functools
import zlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from .functions import PUBLIC

__all__ = ["Harness", "arguments", "case", "harnesses", "names", "runs_on_cpu"]

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


def case(name: str) -> Harness:
    """Return a case, or a public function, by its name."""
    return PUBLIC[name] if name in PUBLIC else harnesses()[name]


def names(groups: Sequence[str] = (), per_group: int | None = None, public: bool = False) -> list[str]:
    """Return the names of the cases of some groups (all if empty), at most `per_group` of each, spread evenly."""
    members: dict[str, list[str]] = {}
    for name, harness in (PUBLIC if public else harnesses()).items():
        if not groups or harness.group_name in groups:
            members.setdefault(harness.group_name, []).append(name)
    unknown = set(groups) - set(members)
    if unknown:
        raise SystemExit(f"no such groups: {', '.join(sorted(unknown))}")
    if per_group is None:
        return [name for group in members.values() for name in group]
    return [name for group in members.values() for name in _spread(group, per_group)]


def _spread(group: list[str], count: int) -> list[str]:
    """Return up to `count` cases, those that JAX has on the CPU first."""
    usable = [name for name in group if runs_on_cpu(case(name))] or group
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

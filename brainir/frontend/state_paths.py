"""The states of a module by paths that a file can hold."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np

from ..ir.model import PathKey, StatePath

__all__ = ["module_states"]


def module_states(module: Any) -> dict[StatePath, Any]:
    """Return the states of a brainstate module by path, in the order of its graph.

    brainpy keeps the synapses of ``align_pre`` under keys that are neither text nor whole numbers. Such a key becomes
    text: what it reads as if it consists of plain values, else the class of what is kept under it.
    """
    states = {tuple(path): state for path, state in module.states().items()}
    if all(_is_path_key(key) for path in states for key in path):
        return states
    held = {tuple(path): node for path, node in module.nodes().items()} | states
    named: dict[tuple[Hashable, ...], StatePath] = {(): ()}
    taken: set[StatePath] = set()
    for path in states:
        for length, key in enumerate(path, start=1):
            prefix = path[:length]
            if prefix in named:
                continue
            around = named[path[: length - 1]]
            text = key if _is_path_key(key) else _text(key, held.get(prefix))
            place, count = (*around, text), 0
            while place in taken:
                count += 1
                place = (*around, f"{text}_{count}")
            taken.add(place)
            named[prefix] = place
    return {named[path]: state for path, state in states.items()}


def _is_path_key(key: Hashable) -> bool:
    return type(key) in (str, int)


def _text(key: Hashable, held: Any) -> PathKey:
    if isinstance(key, np.integer):
        return int(key)
    return str(key) if _is_plain(key) else type(held).__name__


def _is_plain(key: Hashable) -> bool:
    """Whether a key says the same in every process: text, a number, or a tuple of such."""
    if isinstance(key, tuple):
        return all(map(_is_plain, key))
    return key is None or isinstance(key, str | bool | int | float)

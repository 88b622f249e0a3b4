"""Names for the inputs and outputs of an entry function, from arguments and state paths."""

from __future__ import annotations

import functools
import re
from collections import Counter

from ..ir.model import StatePath

__all__ = ["value_names"]

_LONGEST = 40


@functools.lru_cache(maxsize=1 << 10)
def value_names(paths: tuple[StatePath, ...]) -> tuple[str, ...]:
    """Return a name for each path: the shortest tail that no other path shares, joined by dots.

    Tails start with whole keys, so ``('neu', 'V')`` is ``V`` or, beside another ``V``, ``neu.V``.
    """
    words = [[_word(str(key)) for key in path] or ["x"] for path in paths]
    lengths = [1] * len(words)
    while True:
        names = [".".join(parts[-length:]) for parts, length in zip(words, lengths, strict=True)]
        clashes = {name for name, count in Counter(names).items() if count > 1}
        growing = [index for index, name in enumerate(names) if name in clashes and lengths[index] < len(words[index])]
        if not growing:
            break
        for index in growing:
            lengths[index] += 1
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        count = seen[name] = seen.get(name, -1) + 1
        unique.append(f"{name}.{count}" if name in clashes else name)
    return tuple(unique)


@functools.lru_cache(maxsize=1 << 12)
def _word(key: str) -> str:
    word = re.sub(r"[^A-Za-z0-9_]+", "_", key).strip("_")[:_LONGEST] or "x"
    return word if not word[0].isdigit() else f"i{word}"

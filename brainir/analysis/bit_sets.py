"""Sets of small numbers as the bits of an integer: however many there are, one operation joins two of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

__all__ = ["bits", "numbered", "union"]


def bits(mask: int) -> Iterator[int]:
    """Yield the numbers of the bits that are set, from low to high."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def union(masks: Mapping[str, int], names: Iterable[str]) -> int:
    """Return the union of the bit sets of some values; those without one count as empty."""
    mask = 0
    for name in names:
        if name in masks:
            # The same number where there is one only: it can have as many digits as there are parameters.
            mask = mask | masks[name] if mask else masks[name]
    return mask


def numbered(names: Iterable[str]) -> dict[str, int]:
    """Return, for each of some names, the set of the places at which it stands among them."""
    masks: dict[str, int] = {}
    for number, name in enumerate(names):
        masks[name] = masks.get(name, 0) | 1 << number
    return masks

"""What is worked out from a program, a function or what an analysis found, kept with it for the next that asks.

As :func:`functools.cached_property` does: these never change, and what is kept goes when they go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

__all__ = ["keep", "kept"]

Found = TypeVar("Found")


def kept(owner: object, name: str, find: Callable[[], Found]) -> Found:
    """Return what was found of a program, a function or another owner; if nothing was, find it and keep it.

    Parameters
    ----------
    owner
        Something with attributes that never changes.
    name : str
        Tells what is kept from all else that is kept with `owner`; begins with an underscore.
    find : callable
    """
    found: Found | None = owner.__dict__.get(name)
    return keep(owner, name, find()) if found is None else found


def keep(owner: object, name: str, found: Found) -> Found:
    """Keep with an owner what :func:`kept` shall return; return it."""
    owner.__dict__[name] = found
    return found

"""What is worked out from a program or a function, kept with it for the next that asks.

As :func:`functools.cached_property` does: programs and functions never change, and what is kept goes when they go.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from .model import Model

__all__ = ["keep", "kept"]

Found = TypeVar("Found")


def kept(owner: Model, name: str, find: Callable[[], Found]) -> Found:
    """Return what was found of a program or function; if nothing was, find it and keep it.

    Parameters
    ----------
    owner : Program or Function
    name : str
        Tells what is kept from all else that is kept with `owner`; begins with an underscore.
    find : callable
    """
    found: Found | None = owner.__dict__.get(name)
    return keep(owner, name, find()) if found is None else found


def keep(owner: Model, name: str, found: Found) -> Found:
    """Keep with a program or function what :func:`kept` shall return; return it."""
    owner.__dict__[name] = found
    return found

"""Switches of JAX that trace the same operations as primitives of another kind.

JAX is about to trace loops, remat and functions with derivative rules as objects of its experimental ``hijax``, and
has a switch for each of them. What they compute is the same, and so shall the program be: lowering traces with them
off, and emission looks up primitives with them off.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import jax
from jax._src import config  # noqa: TID251  # jax.config sets them for all threads, and for good

from .ir.errors import BrainIRError

__all__ = ["established_primitives"]

_SWITCHES = ("custom_jvp3", "custom_vjp3", "remat3", "scan3")


@contextlib.contextmanager
def established_primitives() -> Iterator[None]:
    """Trace with the primitives that JAX has always had, whatever it is set to.

    An error of JAX says so, because what is only there with a switch on says that it should be on.
    """
    on = [name for name in _SWITCHES if getattr(jax.config, f"jax_{name}", False)]
    with contextlib.ExitStack() as stack:
        for name in on:
            stack.enter_context(getattr(config, name)(False))
        try:
            yield
        except Exception as error:
            if on and not isinstance(error, BrainIRError):
                error.add_note(f"brainir lowers with {', '.join(f'jax_{name}' for name in on)} off.")
            raise

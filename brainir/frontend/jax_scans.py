"""How the operands of a ``scan`` divide, which JAX writes otherwise since 0.12."""

from __future__ import annotations

from typing import Any

__all__ = ["scan_arity"]


def scan_arity(params: Any) -> tuple[int, int]:
    """Return the numbers of constants and of carried values of a ``scan``."""
    if "num_consts" in params:
        return int(params["num_consts"]), int(params["num_carry"])
    consts, carry, _ = params["ft_in"].unpack()
    return len(consts), len(carry)

"""What a worker process does."""

from __future__ import annotations

from typing import Any

import jax

from . import cases, checks

__all__ = ["check", "start"]

_CLEAR_EVERY = 150
_done = 0


def start(collection: str) -> None:
    """Set JAX up for cases on the CPU, with 64-bit types but for the programs of the tests."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", collection != "programs")


def check(collection: str, name: str, wanted: tuple[str, ...]) -> dict[str, Any]:
    """Check one case, and return how each check came out."""
    global _done
    _done += 1
    if _done % _CLEAR_EVERY == 0:
        jax.clear_caches()  # or memory grows without end
    harness = cases.COLLECTIONS[collection]()[name]
    record: dict[str, Any] = {"case": name, "group": harness.group_name}
    if any(limit.skip_run for limit in harness.jax_unimplemented if limit.filter(device="cpu", dtype=harness.dtype)):
        found = dict.fromkeys(wanted, checks.Outcome("absent", "JAX says that it crashes"))
    else:
        found = checks.check(harness.dyn_fun, cases.arguments(name, harness), wanted)
    return {**record, "checks": {check: list(outcome) for check, outcome in found.items()}}

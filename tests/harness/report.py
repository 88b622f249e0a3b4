"""The results of a run as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import jax

__all__ = ["has_problems", "page", "problems", "table"]

_VERDICTS = ("same", "wrong", "refused", "absent")
Record = dict[str, Any]


def table(records: Sequence[Record], checks: Sequence[str]) -> str:
    """Return one line for each check: how many cases came out how."""
    lines = [f"{'':12} {'same bits':>10} {'wrong':>6} {'refused':>8} {'not in JAX':>11}"]
    for check in checks:
        counts = _counts(records, check)
        lines.append(f"{check:12} {counts[0]:10} {counts[1]:6} {counts[2]:8} {counts[3]:11}")
    return "\n".join(lines)


def _counts(records: Sequence[Record], check: str) -> list[int]:
    verdicts = [record["checks"][check][0] for record in records if check in record["checks"]]
    return [verdicts.count(verdict) for verdict in _VERDICTS]


def _failures(records: Sequence[Record]) -> Iterator[tuple[Record, str, str, str]]:
    for record in records:
        for check, (verdict, detail) in record["checks"].items():
            if verdict in ("wrong", "refused"):
                yield record, check, verdict, detail


def has_problems(records: Sequence[Record]) -> bool:
    """Whether any case came back wrong or was refused."""
    return any(True for _ in _failures(records))


def problems(records: Sequence[Record]) -> str:
    """Return what went wrong, by group: how often, and one example of each message."""
    found: dict[tuple[str, str, str, str], list[str]] = {}
    for record, check, verdict, detail in _failures(records):
        found.setdefault((record["group"], check, verdict, detail[:100]), []).append(record["case"])
    return "\n".join(
        f"{group}: {check} {verdict} ({len(names)}): {detail} -- {names[0]}"
        for (group, check, verdict, detail), names in sorted(found.items())
    )


def page(records: Sequence[Record], checks: Sequence[str]) -> str:
    """Return the page for the documentation."""
    return f"JAX {jax.__version__}\n\n{table(records, checks)}\n"

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
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record["group"], []).append(record)
    rows = []
    for group, members in groups.items():
        cells = []
        for check in checks:
            same, wrong, refused, absent = _counts(members, check)
            ours = f", **{wrong} wrong**" * bool(wrong) + f", **{refused} refused**" * bool(refused)
            cells.append(f"{same}{ours}" if absent < len(members) else "-")
        rows.append(f"| {group} | {len(members)} | {' | '.join(cells)} |")
    listed = "\n".join(f"    {line[:220]}" for line in problems(records).splitlines()) or "    none"
    return f"""# Coverage of JAX's primitives

JAX tests its primitives with a harness of its own: {len(records)} cases in {len(groups)} groups with 64-bit types on.
`make harness` takes every case through `lower`, JSON and `to_callable`, and compares what comes back with the original,
to the bit, under `jax.jit` on the CPU. Where both lower to the same StableHLO text, they are the same executable, and
only the original is run. JAX {jax.__version__} made this page: `make harness ARGS='--write docs/coverage.md'`.

- *again*: lowering what came back gives the same fingerprint; *hlo*: it compiles to the same optimized HLO, which a
  function with derivative rules need not; *source*: the generated source, executed;
- *vjp*, *jvp*, *vmap*: these of the function that came back; *vjp program*: the case's `vjp`, itself lowered.

```text
{table(records, checks)}
```

*Not in JAX* are cases that JAX itself does not run on the CPU or does not differentiate. Most cases are one operation,
so this says that each is stored and given back, and nothing of programs.

## What is wrong or refused

{listed}

## By group

How many cases came back with the same bits; `-` where JAX has none.

| group | cases | {" | ".join(checks)} |
|---|---|{"---|" * len(checks)}
{chr(10).join(rows)}
"""

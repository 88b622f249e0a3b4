"""Run JAX's primitive harness through brainir and print a table: ``python -m tests.harness --help``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from . import cases, checks, primitives, report, worker


def _results(collection: str, names: list[str], wanted: tuple[str, ...], jobs: int) -> Iterator[dict[str, Any]]:
    check = partial(worker.check, collection, wanted=wanted)
    if jobs == 1:
        yield from map(check, names)
        return
    with ProcessPoolExecutor(jobs, get_context("spawn"), worker.start, (collection,)) as pool:
        yield from pool.map(check, names, chunksize=4)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.harness", description=__doc__)
    parser.add_argument(
        "--public", dest="collection", action="store_const", const="public", default="primitives",
        help="public functions in place of the cases of the primitives",
    )  # fmt: skip
    parser.add_argument(
        "--programs", dest="collection", action="store_const", const="programs",
        help="the programs and models of the tests in their place",
    )  # fmt: skip
    parser.add_argument("--primitives", action="store_true", help="list the primitives of JAX, and run nothing")
    parser.add_argument("--groups", nargs="*", default=[], help="only these groups")
    parser.add_argument("--per-group", type=int, help="at most this many cases of each group, spread evenly")
    parser.add_argument("--checks", nargs="*", default=list(checks.CHECKS), choices=checks.CHECKS)
    parser.add_argument("--jobs", type=int, default=2, help="worker processes")
    parser.add_argument("--results", type=Path, default=Path("build/harness.jsonl"), help="where results are kept")
    parser.add_argument("--resume", action="store_true", help="run only what is not there yet, or had a problem")
    parser.add_argument("--write", type=Path, help="write the table as a page, such as docs/coverage.md")
    return parser.parse_args()


def main() -> int:
    """Run the cases that the command line asks for; 1 if any came back wrong or was refused."""
    options = _options()
    if options.primitives:
        print("\n".join(primitives.lines()))
        if options.write:
            options.write.write_text(primitives.page())
        return 0
    worker.start(options.collection)
    names = cases.names(options.collection, options.groups, options.per_group)
    options.results.parent.mkdir(parents=True, exist_ok=True)
    kept: dict[str, dict[str, Any]] = {}
    if options.resume and options.results.exists():
        for line in options.results.read_text().splitlines():
            record = json.loads(line)
            kept[record["case"]] = record
        kept = {name: record for name, record in kept.items() if not report.has_problems([record])}
    todo = [name for name in names if name not in kept]
    with options.results.open("a" if options.resume else "w") as file:
        for number, record in enumerate(_results(options.collection, todo, tuple(options.checks), options.jobs), 1):
            kept[record["case"]] = record
            print(json.dumps(record), file=file, flush=True)
            if number % 100 == 0:
                print(f"{number} of {len(todo)}", file=sys.stderr, flush=True)
    records = [kept[name] for name in names]
    print(report.table(records, options.checks))
    print(report.problems(records))
    if options.write:
        options.write.write_text(report.page(records, options.checks))
    return int(report.has_problems(records))


if __name__ == "__main__":
    sys.exit(main())

"""Damage stored programs at random and check what becomes of them: ``make fuzz ARGS='--count 200000 --seconds 600'``.

Each process has a limit on memory and takes one text after the other. A text that ends in another exception, takes too
long, or ends the process is kept in ``tests/fuzz/crashes/``, where a test finds it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from random import Random
from typing import Any

from tests.fuzz.check import check, name_of
from tests.fuzz.mutations import mutated

FOLDER = Path(__file__).parent
CRASHES = FOLDER / "crashes"
MEMORY = 1 << 30
SLOWEST = 2.0
HANGING = 30.0
BATCH = 50


def corpus() -> list[str]:
    """Return the texts to damage: golden files, and a program for each operation that this JAX has."""
    texts = [path.read_text() for path in sorted((FOLDER.parent / "golden").glob("version_*/*.json"))]
    code = """
import json, brainir
from tests.programs import PROGRAMS_HERE

def texts():
    for case in PROGRAMS_HERE.values():
        try:
            yield brainir.dumps(brainir.lower(case.fn, *case.args))
        except brainir.BrainIRError:
            continue

print(json.dumps([*texts()]))
"""
    # In a process of its own: those that are measured do not hold JAX.
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return sorted((text for text in (*texts, *json.loads(run.stdout)) if len(text) <= 30_000), key=len)


def work(texts: Sequence[str], seed: int, numbers: Connection, reports: Connection) -> None:
    """Take batches of numbers until there are none, and report on each text that is not as it should be."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    while (batch := numbers.recv()) is not None:
        programs, slowest = 0, 0.0
        for number in range(*batch):
            text = mutated(Random(f"{seed}:{number}"), texts)
            reports.send(("at", number))
            start = time.process_time()
            try:
                programs += check(text)
            except BaseException:  # noqa: BLE001  # any other exception is what the run looks for
                reports.send(("found", number, traceback.format_exc(limit=-6)))
            elapsed = time.process_time() - start
            slowest = max(slowest, elapsed)
            if elapsed > SLOWEST:
                reports.send(("found", number, f"it took {elapsed:.1f} s"))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        reports.send(("done", batch[1] - batch[0], programs, slowest, memory))


@dataclass
class Worker:
    """A process, and what it is at."""

    process: Any
    numbers: Connection
    reports: Connection
    batch: tuple[int, int] | None = None
    at: int = 0
    since: float = field(default_factory=time.monotonic)


class Run:
    """One run over a range of numbers."""

    def __init__(self, count: int, seconds: float, processes: int, seed: int) -> None:
        self.count, self.deadline, self.seed = count, time.monotonic() + seconds, seed
        self.texts = corpus()
        self.context = multiprocessing.get_context("spawn")
        self.next = self.done = self.programs = 0
        self.slowest, self.memory = 0.0, 0
        self.found: dict[int, str] = {}
        self.workers = [self._started() for _ in range(processes)]

    def _started(self) -> Worker:
        here, there = self.context.Pipe()
        receiver, sender = self.context.Pipe(duplex=False)
        process = self.context.Process(target=work, args=(self.texts, self.seed, there, sender), daemon=True)
        process.start()
        # Closed here, so that the end of the process is the end of the pipe.
        sender.close()
        there.close()
        return Worker(process, here, receiver)

    def run(self) -> None:
        """Hand out numbers until all are done or the time is over."""
        for worker in self.workers:
            self._hand_out(worker)
        while busy := [worker for worker in self.workers if worker.batch is not None]:
            for connection in wait([worker.reports for worker in busy], timeout=1.0):
                worker = next(worker for worker in busy if worker.reports is connection)
                try:
                    self._take(worker, worker.reports.recv())
                except EOFError:
                    worker.process.join()
                    self._lost(worker, f"the process ended with {worker.process.exitcode}")
            for worker in busy:
                if worker.batch is not None and time.monotonic() - worker.since > HANGING:
                    worker.process.kill()
                    self._lost(worker, f"it did not end in {HANGING:.0f} s")
        for worker in self.workers:
            worker.process.kill()

    def _hand_out(self, worker: Worker, batch: tuple[int, int] | None = None) -> None:
        if batch is None and self.next < self.count and time.monotonic() < self.deadline:
            batch = (self.next, min(self.next + BATCH, self.count))
            self.next = batch[1]
        worker.batch, worker.since = batch, time.monotonic()
        if batch is not None:
            worker.at = batch[0]
            worker.numbers.send(batch)

    def _take(self, worker: Worker, report: tuple[Any, ...]) -> None:
        worker.since = time.monotonic()
        match report:
            case ("at", number):
                worker.at = number
            case ("found", number, reason):
                self._keep(number, reason)
            case ("done", count, programs, slowest, memory):
                self.done += count
                self.programs += programs
                self.slowest, self.memory = max(self.slowest, slowest), max(self.memory, memory)
                self._hand_out(worker)

    def _lost(self, worker: Worker, reason: str) -> None:
        """Keep the text that a process was at, and go on behind it with a new one."""
        self._keep(worker.at, reason)
        start, stop = worker.batch or (0, 0)
        self.done += worker.at + 1 - start
        self.workers[self.workers.index(worker)] = fresh = self._started()
        if worker.at + 1 < stop:
            self._hand_out(fresh, (worker.at + 1, stop))
        else:
            self._hand_out(fresh)
        worker.batch = None

    def _keep(self, number: int, reason: str) -> None:
        self.found[number] = reason
        text = mutated(Random(f"{self.seed}:{number}"), self.texts)
        path = CRASHES / name_of(text)
        path.write_bytes(text)
        print(f"seed {self.seed}, number {number}, {path}:\n{reason}", flush=True)


def main() -> int:
    """Run, and print what was done."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--count", type=int, default=200_000)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    start = time.monotonic()
    run = Run(options.count, options.seconds, options.processes, options.seed)
    run.run()
    print(
        f"{run.done} texts from {len(run.texts)} programs in {time.monotonic() - start:.0f} s: "
        f"{run.programs} are programs, the others were refused; {len(run.found)} went wrong; "
        f"slowest {run.slowest:.2f} s, most memory {run.memory / 2**20:.0f} MiB"
    )
    return 1 if run.found or run.done < options.count else 0

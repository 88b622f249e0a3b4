"""A case of every group of JAX's own primitive harness comes back as the function it was."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_a_case_of_every_group_comes_back_to_the_bit(tmp_path: Path) -> None:
    # In a process of its own, because the cases need 64-bit types.
    results = tmp_path / "results.jsonl"
    checks = ["forward", "hlo", "source", "vjp"]
    options = ["--per-group", "1", "--jobs", "1", "--results", str(results), "--checks", *checks]
    run = subprocess.run([sys.executable, "-m", "tests.harness", *options], cwd=ROOT, capture_output=True, text=True)
    assert results.exists(), run.stderr
    records = [json.loads(line) for line in results.read_text().splitlines()]
    assert len({record["group"] for record in records}) > 100
    verdicts = {(record["group"], check): found[0] for record in records for check, found in record["checks"].items()}
    # A primitive without a public name.
    failed = {key for key, verdict in verdicts.items() if verdict in ("wrong", "refused")}
    assert {group for group, _ in failed} <= {"iota_2x32_shape"}, run.stdout
    assert sum(verdict == "same" for verdict in verdicts.values()) > 250

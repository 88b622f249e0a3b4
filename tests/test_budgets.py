"""Budgets of programs, and programs stored beside tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

import brainir
from brainir.testing import ProgramCheckError, assert_program, check_snapshot

ROOT = Path(brainir.__file__).parents[1]


def step(params: Any, hidden: Any, x: Any) -> Any:
    h = 0.5 * hidden["h"] + x @ params["w"]
    a = 0.9 * hidden["a"] + h
    b = 0.9 * hidden["b"] + jnp.cumsum(x) * jnp.arange(3.0)
    return {"h": h, "a": a, "b": b}, h @ params["out"]


@pytest.fixture(scope="module")
def program() -> brainir.Program:
    hidden = {name: jnp.ones(size) for name, size in (("h", 4), ("a", 4), ("b", 3))}
    return brainir.lower_step(step, {"w": jnp.ones((3, 4)), "out": jnp.ones((4, 2))}, hidden, jnp.ones(3))


def test_a_program_within_its_budgets_passes(program: brainir.Program) -> None:
    assert_program(
        program,
        max_nodes=program.node_count(),
        no_ops=["sort"],
        max_bytes=program.constant_bytes(),
        groups=[["h", ("a",)], ["b"]],
        learned=["w"],
    )
    assert_program(program, groups=2, learned=[("w",)])


def test_every_exceeded_budget_is_named_at_once(program: brainir.Program) -> None:
    with pytest.raises(AssertionError) as caught:
        assert_program(
            program, max_nodes=3, no_ops=["cumsum"], max_bytes=-1, groups=[["h"], ["a", "b"]], learned=["out"]
        )
    assert isinstance(caught.value, brainir.BrainIRError)
    text = str(caught.value)
    assert f"{program.node_count()} nodes, more than max_nodes=3" in text
    assert "no_ops allows none of cumsum, but there are 1:" in text
    assert "more than max_bytes=-1" in text
    assert "hidden groups are b; a, h, not " in text or "hidden groups are a, h; b, not " in text
    assert "learned names out, which no relation leads to a hidden state" in text
    assert "w are related to hidden states, and learned does not name them" in text
    with pytest.raises(ProgramCheckError, match="2 hidden groups, not groups=1"):
        assert_program(program, groups=1)


def scaled(gain: float) -> brainir.Program:
    return brainir.lower(lambda x: jnp.tanh(x) * gain, jnp.ones(3))


def test_a_snapshot_fails_with_the_differences_until_it_is_updated(tmp_path: Path) -> None:
    path = tmp_path / "programs" / "model.json"
    with pytest.raises(ProgramCheckError, match="there is no program"):
        check_snapshot(scaled(2.0), path, create=False)
    check_snapshot(scaled(2.0), path)
    check_snapshot(brainir.loads(brainir.dumps(scaled(2.0))), path)
    with pytest.raises(ProgramCheckError, match=r"(?s)--update-programs stores it.*operand 1: 2.0:f32 -> 3.0:f32"):
        check_snapshot(scaled(3.0), path)
    check_snapshot(scaled(3.0), path, update=True)
    check_snapshot(scaled(3.0), path)


TEST = """
import brainir

def test_model(program_snapshot):
    program_snapshot(brainir.load("{gain}.json"))
"""


def pytest_run(folder: Path, gain: float, *options: str, ci: bool = False) -> subprocess.CompletedProcess[str]:
    brainir.save(scaled(gain), folder / f"{gain}.json")
    (folder / "test_model.py").write_text(TEST.format(gain=gain))
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "PYTEST_ADDOPTS")}
    # Without the plugins of other packages, some of which take seconds to load.
    environment |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **({"CI": "1"} if ci else {})}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "brainir.pytest_plugin", "-p", "no:cacheprovider", *options]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_fixture_stores_compares_and_updates(tmp_path: Path) -> None:
    missing = pytest_run(tmp_path, 2.0, ci=True)
    assert missing.returncode == 1
    assert "there is no program" in missing.stdout
    assert pytest_run(tmp_path, 2.0).returncode == 0
    stored = tmp_path / "programs" / "test_model-test_model.json"
    old = brainir.load(stored)
    changed = pytest_run(tmp_path, 3.0)
    assert changed.returncode == 1
    assert "operand 1: 2.0:f32 -> 3.0:f32" in changed.stdout
    assert pytest_run(tmp_path, 3.0, "--update-programs").returncode == 0
    assert brainir.diff(old, brainir.load(stored)).of_kind("constant")
    assert pytest_run(tmp_path, 3.0, ci=True).returncode == 0


def test_the_plugin_does_not_load_jax_nor_the_library_pytest() -> None:
    code = (
        "import sys, brainir.testing\n"
        "assert 'pytest' not in sys.modules and 'jax' not in sys.modules\n"
        "import brainir.pytest_plugin\n"
        "assert 'jax' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

"""Programs in a real git repository: text conversion and the diff driver."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import pytest

import brainir

ROOT = Path(brainir.__file__).parents[1]


class Repository:
    """A git repository that knows nothing of the settings of the machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        names = {
            f"GIT_{role}_{field}": "t@example.org" for role in ("AUTHOR", "COMMITTER") for field in ("NAME", "EMAIL")
        }
        plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        self.environment = {
            **plain, **names, "GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull,
            "PYTHONPATH": str(ROOT), "HOME": str(folder), "LC_ALL": "C.UTF-8",
        }  # fmt: skip
        self("init", "--quiet")
        (folder / ".gitattributes").write_text("*.json diff=brainir\n")

    def __call__(self, *command: str) -> str:
        ran = subprocess.run(
            ["git", *command], cwd=self.folder, env=self.environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    def commit(self, name: str, content: brainir.Program | str) -> None:
        if isinstance(content, str):
            (self.folder / name).write_text(content)
        else:
            brainir.save(content, self.folder / name)
        self("add", "--all")
        self("commit", "--quiet", "--message", name)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    assert shutil.which("git"), "the tests of the integration need git"
    return Repository(tmp_path)


def model(gain: float, large: bool = False) -> brainir.Program:
    table = jnp.linspace(0, gain, 20_000 if large else 3, dtype=jnp.float32)

    def net(x: Any) -> Any:
        return jnp.tanh(x) * gain + table

    return brainir.lower(net, jnp.ones(table.shape))


def test_textconv_shows_nodes_and_no_line_numbers(repository: Repository) -> None:
    repository("config", "diff.brainir.textconv", f"{sys.executable} -m brainir.git textconv")
    repository.commit("model.json", model(2.0))
    repository.commit("model.json", model(3.0))
    shown = repository("log", "-p", "-1", "--format=%s")
    assert "-  v1: f32[3] = mul v0 2.0  # test_git.py (net)" in shown
    assert "+  v1: f32[3] = mul v0 3.0  # test_git.py (net)" in shown
    assert sum(line.startswith(("+ ", "- ")) for line in shown.splitlines()) == 4  # The operand and the table.


def test_textconv_gives_what_is_not_a_program_as_it_is(repository: Repository) -> None:
    repository("config", "diff.brainir.textconv", f"{sys.executable} -m brainir.git textconv")
    repository.commit("other.json", '{"a": 1}\n')
    repository.commit("other.json", '{"a": 2}\n')
    assert '+{"a": 2}' in repository("show")


def test_the_driver_compares_by_structure(repository: Repository) -> None:
    repository("config", "diff.brainir.command", f"{sys.executable} -m brainir.git diff")
    repository.commit("a model.json", model(2.0, large=True))
    brainir.save(model(3.0, large=True), repository.folder / "a model.json")
    shown = repository("diff")
    assert "brainir diff a model.json" in shown
    assert "operand 1: 2.0:f32 -> 3.0:f32 (max abs difference 1)" in shown
    assert shown.count("constant ") == 1
    repository("add", "--all")
    repository("commit", "--quiet", "--message", "changed")
    assert "operand 1: 2.0:f32 -> 3.0:f32" in repository("log", "-p", "-1", "--ext-diff")


def test_the_driver_shows_new_deleted_and_broken_files(repository: Repository) -> None:
    repository("config", "diff.brainir.command", f"{sys.executable} -m brainir.git diff")
    repository.commit("model.json", model(2.0))
    (repository.folder / "model.json").write_text("<<<<<<< ours\n")
    brainir.save(model(2.0), repository.folder / "new.json")
    repository("add", "--all")
    shown = repository("diff", "--cached")
    assert "brainir diff model.json\ncannot be compared:" in shown
    assert "brainir diff new.json\nnew program: <brainir.Program net" in shown
    repository("rm", "--quiet", "--cached", "new.json", "model.json")
    assert "deleted program: <brainir.Program net" in repository("diff", "--cached")

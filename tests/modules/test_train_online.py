"""The example that trains online runs, and goes on from a checkpoint as if it had not stopped."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np
import pytest

from tests.quick_compile import quick_options

PATH = Path(__file__).parents[2] / "examples" / "train_online.py"
SMALL = ["digits", "--neurons", "8", "--batch", "4", "--every", "2"]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("train_online", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class QuicklyCompiled(module.Trainer):  # type: ignore[misc, name-defined]  # a class of a file that is no module
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **kwargs)
            self.update, self.evaluate = (
                jax.jit(function, compiler_options=quick_options()) for function in (self._update, self._evaluate)
            )

    module.Trainer = QuicklyCompiled
    return module


def test_training_that_was_interrupted_ends_as_one_that_was_not(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "digits_d_rtrl.npz"
    whole = example.Trainer(example.DigitsTask(), n_rec=8, batch=4, rate=5e-3, algorithm="d_rtrl")
    whole.train(2, 2, checkpoint)
    whole.train(4, 2, None)
    example.main([*SMALL, "--out", str(tmp_path), "--steps", "4", "--resume"])
    with np.load(checkpoint) as kept:
        np.testing.assert_array_equal(kept["history"], np.asarray(whole.history))
        for number, leaf in enumerate(jax.tree.leaves((whole.params, whole.moments))):
            np.testing.assert_array_equal(kept[f"leaf{number}"], leaf)
    printed = capsys.readouterr().out
    assert "goes on after batch 2" in printed
    assert 0 <= json.loads(printed.splitlines()[-1])["accuracy"]["d_rtrl"] <= 1
    assert (tmp_path / "digits_d_rtrl.png").stat().st_size > 0


def test_the_cue_of_the_delay_task_says_the_label(example: ModuleType) -> None:
    xs, labels = example.DelayTask(30).test(np.random.default_rng(0), 16)
    assert xs.shape == (70, 16, 3)
    assert (xs[:20, :, :2].sum(axis=0).argmax(axis=-1) == labels).all()
    assert (xs[-20:, :, 2].sum(axis=0) > xs[:20, :, 2].sum(axis=0)).all()

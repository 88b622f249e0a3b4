"""The source of ten stored programs: what it looks like, and that it traces to the program that it was written from."""

import runpy

import pytest

import brainir
from tests.compare import assert_same_function
from tests.snapshot_models import FUNCTIONS, INPUTS, SNAPSHOTS, STEPS

MODELS = {fn.__name__: fn for fn in (*STEPS, *FUNCTIONS)}


@pytest.mark.parametrize("name", MODELS)
def test_source_reads_as_it_did(name: str) -> None:
    source = brainir.to_source(brainir.load(SNAPSHOTS / f"{name}.json"))
    # If a change is wanted: python tests/snapshot_models.py, and read the difference.
    assert source == (SNAPSHOTS / f"{name}.py").read_text()


@pytest.mark.parametrize("name", MODELS)
def test_lowering_the_source_gives_the_program_again(name: str) -> None:
    program = brainir.load(SNAPSHOTS / f"{name}.json")
    written = runpy.run_path(str(SNAPSHOTS / f"{name}.py"))[name]
    lower = brainir.lower_step if program.interface.kind == "step" else brainir.lower
    assert brainir.fingerprint(lower(written, *INPUTS[name])) == brainir.fingerprint(program)


@pytest.mark.parametrize("name", MODELS)
def test_source_computes_what_the_model_does(name: str) -> None:
    written = runpy.run_path(str(SNAPSHOTS / f"{name}.py"))[name]
    assert_same_function(written, MODELS[name], *INPUTS[name])


def test_the_models_are_those_that_are_stored() -> None:
    assert {path.stem for path in SNAPSHOTS.glob("*.json")} == set(MODELS)

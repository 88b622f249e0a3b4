"""Generated source of every program, with its weights beside it, where little but jax and numpy can be imported."""

from pathlib import Path

import pytest

from tests import alone
from tests.alone_cases import program_cases


def test_source_of_every_program_has_the_values_and_derivatives_of_the_original_to_the_bit(tmp_path: Path) -> None:
    cases = [*program_cases()]
    alone.write(tmp_path, cases)
    assert alone.run(tmp_path).startswith(f"{len(cases)} modules")
    assert [*alone.differences(tmp_path, cases)] == []


def test_a_module_that_computes_something_else_is_noticed(tmp_path: Path) -> None:
    (case,) = (case for case in program_cases() if case.name == "moving windows")
    alone.write(tmp_path, [case])
    module = case.place(tmp_path) / "module.py"
    text = module.read_text()
    assert "return v4, " in text
    module.write_text(text.replace("return v4, ", "return v4 + v4, "))
    alone.run(tmp_path)
    assert [*alone.differences(tmp_path, [case])] != []


def test_a_module_that_imports_brainir_does_not_run(tmp_path: Path) -> None:
    (case,) = (case for case in program_cases() if case.name == "moving windows")
    alone.write(tmp_path, [case])
    module = case.place(tmp_path) / "module.py"
    module.write_text(f"{module.read_text()}\n\nimport brainir\n")
    with pytest.raises(AssertionError, match="brainir is blocked"):
        alone.run(tmp_path)

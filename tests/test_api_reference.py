"""The page of the API names everything public, and nothing that is not there."""

import importlib
import inspect
import re
import types
from pathlib import Path

import pytest

import brainir

PAGE = (Path(__file__).parents[1] / "docs/api.md").read_text()
ENTRIES = re.findall(r"^::: (\S+)", PAGE, re.MULTILINE)


def test_every_public_name_is_on_the_page() -> None:
    shown = {*ENTRIES, *re.findall(r"^ +heading: (\S+)", PAGE, re.MULTILINE)}
    modules = {name for name in brainir.__all__ if isinstance(getattr(brainir, name), types.ModuleType)}
    public = {
        *(f"brainir.{name}" for name in {*brainir.__all__} - modules),
        *(f"brainir.view.{name}" for name in brainir.view.__all__),
        *(f"brainir.testing.{name}" for name in brainir.testing.__all__),
    }
    assert public - shown == set(), "docs/api.md lacks a line for it: '::: ' and the name"


@pytest.mark.parametrize("entry", ENTRIES)
def test_what_the_page_names_is_there_and_has_a_docstring(entry: str) -> None:
    home, _, name = entry.rpartition(".")
    assert getattr(importlib.import_module(home), name).__doc__.strip()


@pytest.mark.parametrize("entry", ENTRIES)
def test_docstrings_of_functions_say_what_goes_in_and_what_comes_out(entry: str) -> None:
    home, _, name = entry.rpartition(".")
    function = inspect.unwrap(getattr(importlib.import_module(home), name))
    if not inspect.isfunction(function):
        return
    sections = dict(
        re.findall(r"^(\w+)\n-+\n(.*?)(?=^\w+\n-+\n|\Z)", inspect.getdoc(function), re.MULTILINE | re.DOTALL)
    )
    signature = inspect.signature(function)
    told = {
        each
        for line in re.findall(r"^(\S.*)$", sections.get("Parameters", ""), re.MULTILINE)
        for each in re.findall(r"\w+", line.partition(" : ")[0])
    }
    assert {*signature.parameters} <= told
    assert ("Returns" in sections) == (signature.return_annotation != "None")

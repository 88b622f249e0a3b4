"""The generated page of the documentation names every operation and every attribute."""

import importlib.util
from pathlib import Path

from brainir.ir.ops import SCHEMAS

HOOK = Path(__file__).parents[1] / "docs/hooks/node_reference.py"


def page() -> str:
    spec = importlib.util.spec_from_file_location("node_reference", HOOK)
    assert spec is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return hook.page()


def test_the_page_has_a_section_for_every_schema_with_its_operations_and_attributes() -> None:
    sections = {part.split("\n", 1)[0]: part for part in page().split("\n### ")[1:]}
    assert set(sections) == {schema.__name__ for schema in SCHEMAS}
    for schema in SCHEMAS:
        section = sections[schema.__name__]
        for op in schema.ops():
            assert f"`{op}`" in section
        for name in schema.attribute_names():
            assert f"| `{name}` |" in section


def test_the_page_shows_what_a_reader_looks_for() -> None:
    section = next(part for part in page().split("\n### ") if part.startswith("Cumulative"))
    assert "- `cumsum`: linear in 0" in section
    assert "| `axis` | `int` | required |" in section
    assert "| `reverse` | `bool` | `False` |" in section

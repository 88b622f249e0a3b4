"""The Python snippets of the documentation run, and print what the page shows below them."""

import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SNIPPET = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\n```text\n(?P<shown>.*?)^```\n)?", flags=re.DOTALL | re.MULTILINE
)


def test_the_overview_leads_to_every_page() -> None:
    docs = ROOT / "docs"
    overview = (docs / "index.md").read_text()
    pages = {page.name for page in [*docs.glob("*.md"), *docs.glob("*.ipynb")]} - {"index.md"}
    assert not [page for page in sorted(pages) if f"]({page})" not in overview]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_snippets_of_a_page_run_in_order_and_print_what_it_shows(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    text = page.read_text()
    namespace: dict[str, Any] = {"__name__": page.stem}
    for snippet in SNIPPET.finditer(text):
        # Empty lines in front, so that an error names the line of the page.
        code = "\n" * text.count("\n", 0, snippet.start("code")) + snippet["code"]
        # A name in angle brackets is what code typed into a console has; programs then keep no line numbers.
        exec(compile(code, f"<{page.name}>", "exec"), namespace)
        assert capsys.readouterr().out == (snippet["shown"] or "")

"""The shell lines of the documentation run in a real shell, and print what the page shows."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FILE = re.compile(r"^```python title=\"(?P<name>[\w.]+)\"\n(?P<text>.*?)^```\n", flags=re.DOTALL | re.MULTILINE)
LINES = re.compile(r"^```shell\n(?P<code>.*?)^```\n\n```text\n(?P<shown>.*?)^```\n", flags=re.DOTALL | re.MULTILINE)
MARK = "-- the next block --"
PAGES = sorted(page.name for page in (ROOT / "docs").glob("*.md") if "```shell" in page.read_text())


@pytest.mark.parametrize("name", PAGES)
def test_the_shell_lines_of_a_page_print_what_it_shows(name: str, tmp_path: Path) -> None:
    text = (ROOT / "docs" / name).read_text()
    for file in FILE.finditer(text):
        (tmp_path / file["name"]).write_text(file["text"])
    blocks = list(LINES.finditer(text))
    assert len(blocks) == text.count("```shell")
    # One shell for all blocks, as a reader has.
    script = f'brainir() {{ "{sys.executable}" -m brainir "$@"; }}\npython() {{ "{sys.executable}" "$@"; }}\n'
    script += "set -eo pipefail\n"
    script += f"echo '{MARK}'\n".join(block["code"] for block in blocks)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=tmp_path, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    shown = [re.sub(r"[ ]+$", "", part, flags=re.MULTILINE) for part in done.stdout.split(f"{MARK}\n")]
    assert shown == [block["shown"] for block in blocks]

"""No text of a file gets out of the literal, comment or docstring that the emitted source has for it."""

from __future__ import annotations

import ast
import io
import json
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import brainir

# The smallest first: of each kind of text, the first is taken.
GOLDEN = sorted((Path(__file__).parent / "golden").glob("version_*/*.json"), key=lambda path: path.stat().st_size)
MARK = "pwned"
HOSTILE = (
    f'"; {MARK}()  #',
    f"'); {MARK}() #",
    f'"""\n{MARK}()\n"""',
    f"\\\n{MARK}()",
    f"\r{MARK}()",
    f"\u2028{MARK}()",
    f"\x0c{MARK}()",
    f"\x85{MARK}()",
    f"\u202e{MARK}() \u2066",
    f"\\N{{BULLET}}{{{MARK}()}}%({MARK})s",
    f"{MARK}.{MARK}",
    f"__class__.{MARK}",
    f"m:{MARK}.<locals>",
    f"{MARK}()",
    f"x\x00{MARK}",
    f"f32[3]{MARK}",
    f"1:f32\n{MARK}",
)
IMPORTS = {
    "base64",
    "builtins",
    "collections",
    "dataclasses",
    "functools",
    "math",
    "jax",
    "jax.numpy",
    "numpy",
    "sys",
    "jax.extend.core",
}


def texts(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield each text of JSON data with the steps that lead to it."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from texts(item, (*where, key))


def field(data: Any, where: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what kind of text it is: the names on the way, with the operation or kind of the last record."""
    record: Any = data
    tag = ""
    for step in where[:-1]:
        record = record[step]
        tag = record.get("op", record.get("kind", tag)) if isinstance(record, dict) else tag
    # Every node has these.
    tag = "" if where[-1] in ("scope", "source") or {"inputs", "outputs", "types"} & {*where} else tag
    return (tag, *(step for step in where if isinstance(step, str)))


def places() -> dict[tuple[Any, ...], tuple[Path, tuple[Any, ...], str]]:
    """Return one place for each kind of text that golden files hold."""
    found: dict[tuple[Any, ...], tuple[Path, tuple[Any, ...], str]] = {}
    for path in GOLDEN:
        data = json.loads(path.read_text())
        for where, text in texts(data):
            if where[-1] not in ("base64", "sha256"):
                found.setdefault(field(data, where), (path, where, text))
    return found


PLACES = places()


def with_text(path: Path, where: tuple[Any, ...], old: str, new: str, everywhere: bool) -> str:
    """Return a golden file with another text in one place, or wherever the same text stands."""
    data = json.loads(path.read_text())
    for steps, text in list(texts(data)):
        if steps == where or (everywhere and text == old):
            container = data
            for step in steps[:-1]:
                container = container[step]
            container[steps[-1]] = new
    return json.dumps(data)


def check(source: str) -> None:
    tree = ast.parse(source)
    assert all(line.isprintable() for line in source.split("\n"))
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        # A local name can be made of the name of a value or a key of a dict.
        kept = token.type in (tokenize.STRING, tokenize.COMMENT) or token.string.endswith(f"_{MARK}")
        assert MARK not in token.string or kept, token
    allowed = (ast.Expr, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign)
    for statement in tree.body:
        assert isinstance(statement, allowed), ast.unparse(statement)
        if isinstance(statement, ast.Expr) and not isinstance(statement.value, ast.Constant):
            assert ast.unparse(statement.value.func).endswith(".defvjp")
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name for alias in node.names} <= IMPORTS
        elif isinstance(node, ast.ImportFrom):
            assert node.module in IMPORTS
        elif isinstance(node, ast.Attribute):
            assert MARK not in node.attr
        elif isinstance(node, ast.Name):
            assert MARK not in node.id or node.id.endswith(f"_{MARK}")
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func).partition(".")[0]
            assert called not in {"eval", "exec", "open", "compile", "__import__"}
            # The functions that sources have ready take an element of an enumeration of JAX by its name.
            assert called != "getattr" or ast.unparse(node.args[0]) == "jax.sharding.AxisType"
        elif isinstance(node, ast.keyword):
            assert MARK not in (node.arg or "")


@pytest.mark.parametrize("place", PLACES, ids=lambda place: "-".join(map(str, place)))
def test_text_of_a_file_stays_what_it_is_in_the_source(place: tuple[Any, ...]) -> None:
    path, where, old = PLACES[place]
    for text in HOSTILE:
        for everywhere in (False, True):
            try:
                program = brainir.loads(with_text(path, where, old, text, everywhere))
                source = brainir.to_source(program)
            except brainir.BrainIRError as error:
                message = str(error)
            else:
                message = ""
                check(source)
            # It is shown in terminals and logs, where nothing should hide or look like another line.
            assert all(line.isprintable() for line in message.split("\n")), message


def test_the_places_cover_what_a_file_can_hold() -> None:
    names = {name for place in PLACES for name in place[1:]}
    assert {"source", "unit", "units", "text", "keys", "type", "fields", "static", "path", "metadata"} <= names
    assert {"name", "inputs", "outputs", "types", "op", "values", "function", "branches", "precision", "kind"} <= names


def test_the_check_notices_what_escapes() -> None:
    check('"""A module."""\nimport jax\n\n\ndef f(x):\n    return x  # pwned\n')
    for source in (
        "pwned()",
        "import os",
        "x = 'a\u202eb'",
        "def f(x):\n    return eval(x)",
        "if x:\n    y = 1",
        "x = pwned",
    ):
        with pytest.raises(AssertionError):
            check(source)

"""The JSON schema of stored programs, and what a change of it means for files that exist.

The schema is generated from the models and committed. A line of the file is one entry and keys are sorted, so that
changes merge; where they do not, generate it again::

    python -m brainir.ir.schema --write
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from .compatibility import losses
from .program import SCHEMA_VERSION, Program

__all__ = ["COMMAND", "SchemaChange", "json_schema", "schema_change", "schema_text"]

COMMAND: Final = "python -m brainir.ir.schema --write"
"""What writes the committed file, run in the root of the repository."""

FOLDER: Final = Path("docs/schema")
"""Where the committed files are; the documentation publishes them."""

# Notes for people and for other tools. Without them an edit of a docstring does not change the schema.
_NOTES = frozenset(("description", "discriminator", "title"))
_SHOWN = 20


def json_schema() -> dict[str, Any]:
    """Return the JSON schema (draft 2020-12) of a stored program.

    It covers the layout: fields, their types, operations and their attributes. What fits it can still break an
    invariant, which only :func:`~brainir.ir.verifier.verify` finds.

    Returns
    -------
    dict
    """
    generated = Program.model_json_schema(mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_standard(generated),
        "title": f"A program of brainir, version {SCHEMA_VERSION} of the stored form",
    }


def schema_text() -> str:
    """Return the schema as the text that is committed."""
    return json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"


def _standard(schema: Any) -> Any:
    """Return a schema without notes, its lists in a fixed order, and tags required."""
    if isinstance(schema, list):
        return [_standard(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    # The names of fields and definitions are no keywords.
    kept = {
        key: {name: _standard(value) for name, value in entry.items()}
        if key in ("properties", "$defs")
        else _standard(entry)
        for key, entry in schema.items()
        if key not in _NOTES
    }
    # A file always holds what tells the members of a union apart, also where the model has a default.
    tags = {name for name in ("op", "kind") if {"const", "enum"} & kept.get("properties", {}).get(name, {}).keys()}
    for name in tags:
        kept["properties"][name].pop("default", None)
    if tags or "required" in kept:
        kept["required"] = sorted({*kept.get("required", ()), *tags})
    for key in ("anyOf", "enum", "oneOf"):
        if key in kept:
            kept[key] = sorted(kept[key], key=repr)
    return kept


@dataclass(frozen=True, slots=True)
class SchemaChange:
    """What lies between two schemas of one version.

    Parameters
    ----------
    kind : {"none", "additive", "breaking"}
        ``additive``: every old file is read as before. ``breaking``: some are not.
    lost : tuple of str
        What the old schema accepts and the new one does not, or reads differently.
    """

    kind: Literal["none", "additive", "breaking"]
    lost: tuple[str, ...] = ()

    def advice(self) -> str:
        """Return what to do, with the command to run."""
        if self.kind == "none":
            return f"the committed schema means the same as that of the models; write it as they give it: {COMMAND}"
        if self.kind == "additive":
            return f"files can hold more than before, and version {SCHEMA_VERSION} stays; run: {COMMAND}"
        lines = [f"  {line}" for line in self.lost[:_SHOWN]]
        if len(self.lost) > _SHOWN:
            lines.append(f"  and {len(self.lost) - _SHOWN} more")
        return "\n".join(
            (
                f"files of version {SCHEMA_VERSION} are no longer read, or not as before:",
                *lines,
                f"add UPGRADES[{SCHEMA_VERSION}] in brainir/ir/serialization.py, write {SCHEMA_VERSION + 1} for "
                f"SCHEMA_VERSION in brainir/ir/program.py, and run: {COMMAND}",
                f"or, while no release has written version {SCHEMA_VERSION}, only run: {COMMAND} --unreleased",
            )
        )


def schema_change(old: dict[str, Any], new: dict[str, Any]) -> SchemaChange:
    """Compare two schemas of one version."""
    if lost := losses(old, new):
        return SchemaChange("breaking", lost)
    return SchemaChange("additive" if losses(new, old) else "none")


def _main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m brainir.ir.schema", description="The JSON schema of programs.")
    parser.add_argument("--write", action="store_true", help=f"write it to {FOLDER} instead of the terminal")
    parser.add_argument("--unreleased", action="store_true", help="also if files of this version are no longer read")
    options = parser.parse_args(arguments)
    if not options.write:
        sys.stdout.write(schema_text())
        return 0
    if not FOLDER.is_dir():
        parser.error(f"there is no folder {FOLDER} here; run it in the root of the repository")
    path = FOLDER / f"brainir-{SCHEMA_VERSION}.schema.json"
    change = _change_of(path)
    if change is not None and change.kind == "breaking" and not options.unreleased:
        sys.stderr.write(f"{path} was not written: {change.advice()}\n")
        return 1
    path.write_text(schema_text())
    sys.stdout.write(f"{path}: {change.kind if change else 'new'}\n")
    return 0


def _change_of(path: Path) -> SchemaChange | None:
    """Compare with the committed file; None if there is none, or one in conflict, which is written anew."""
    try:
        return schema_change(json.loads(path.read_text()), json_schema())
    except (FileNotFoundError, ValueError):
        return None


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))

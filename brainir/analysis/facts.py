"""The base of what the analyses return: frozen records that print themselves and write themselves as JSON."""

from __future__ import annotations

import html
import json
from typing import Any

from ..ir.model import Model, StatePath
from ..ir.printer import format_path, format_program
from ..ir.program import Program, Value

__all__ = ["Facts", "format_paths", "format_place", "format_values"]


class Facts(Model):
    """A frozen record of what an analysis found."""

    def to_json(self) -> str:
        """Write the facts as JSON, the same text each time; programs inside appear as they print."""
        return json.dumps(_plain(self._shown()), indent=2, ensure_ascii=False)

    def _shown(self) -> dict[str, object]:
        """Return what is written as JSON."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def _inside(self) -> Any:
        """Return what stands for these facts in the JSON of others."""
        return _plain(self._shown())

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


def _plain(item: object) -> Any:
    if isinstance(item, Program):
        return format_program(item).splitlines()
    if isinstance(item, Value):
        return str(item)
    if isinstance(item, Facts):
        return item._inside()
    if isinstance(item, Model):
        return {name: _plain(getattr(item, name)) for name in type(item).model_fields}
    if isinstance(item, dict):
        return {name: _plain(part) for name, part in item.items()}
    if isinstance(item, tuple):
        return [_plain(part) for part in item]
    return item


def format_paths(paths: tuple[StatePath, ...]) -> str:
    """Write state paths as one line."""
    return ", ".join(map(format_path, paths)) or "none"


def format_place(node: str, source: str) -> str:
    """Write an operation and the model's line, if there is one."""
    return node + (f"  # {source}" if source else "")


def format_values(values: tuple[Value, ...]) -> str:
    """Write values with their types as one line."""
    return ", ".join(map(str, values)) or "none"

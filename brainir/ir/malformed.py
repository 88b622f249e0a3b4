"""What is wrong with a text that is no program, in terms of the program: function, node, field."""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json

from .errors import FormatError

__all__ = ["invalid_program", "not_json"]

_SHOWN_PROBLEMS = 5


def not_json(where: str, text: str | bytes, error: Exception) -> FormatError:
    """Return the error for a text that the JSON parser refused with `error`."""
    content = text.encode() if isinstance(text, str) else text
    try:
        # This parser says more of where the text ends or goes wrong.
        from_json(content)
    except ValueError as place:
        error = place
    begun = not content or content.lstrip().startswith(b"{")
    why = "it was cut short or edited by hand" if begun else "it is no program (load takes a path, loads the text)"
    return FormatError(f"{where} is not JSON: {error}; {why}")


_ITEMS = {
    "functions": ("function", "name"),
    "constants": ("constant", "name"),
    "nodes": ("node", None),
    "states": ("state", "path"),
    "arguments": ("argument", "name"),
    "units": ("unit", "text"),
}


def invalid_program(where: str, data: dict[str, Any], error: ValidationError) -> FormatError:
    """Return the error for JSON that does not have the form of a program."""
    problems = error.errors(include_url=False, include_context=False)
    lines = [f"  {_location(problem, data)}: {_reason(problem)}" for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"  and {len(problems) - _SHOWN_PROBLEMS} more")
    said = f"{where} is not a valid brainir program; it was edited by hand or damaged:"
    return FormatError("\n".join([said, *lines]))


def _location(problem: ErrorDetails, data: dict[str, Any]) -> str:
    parts: list[str] = []
    value: Any = data
    field = None
    for step in problem["loc"]:
        if isinstance(step, int) and isinstance(value, list):
            value = value[step] if step < len(value) else None
            parts.append(_item(field, step, value))
        elif isinstance(value, dict) and (step in value or step not in (value.get("op"), value.get("kind"))):
            value = value.get(str(step))
            if step == "interface":
                parts.append("interface")
            elif step not in _ITEMS or not isinstance(value, list):
                parts.append(f"field {_shorten(step)}")
        else:
            continue  # The member of a union that pydantic tried, not a step into the data.
        field = step
    return ", ".join(parts) or "the program"


def _item(field: object, index: int, value: object) -> str:
    kind, key = _ITEMS.get(str(field), ("item", None))
    name = value.get(key) if key is not None and isinstance(value, dict) else None
    return f"{kind} {index if name is None else _shorten(name)}"


def _reason(problem: ErrorDetails) -> str:
    kind, given = problem["type"], problem["input"]
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        return "is not a field that this release knows"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        tag = given.get("op", given.get("kind")) if isinstance(given, dict) else given
        return f"{_shorten(tag)} is not an operation or kind that this release knows"
    reason = problem["msg"].removeprefix("Value error, ")
    return reason if kind == "value_error" else f"{reason[:1].lower()}{reason[1:]}, not {_shorten(given)}"


def _shorten(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."

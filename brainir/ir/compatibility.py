"""Whether everything that one JSON schema accepts is accepted by another, and read the same.

Only what schemas of pydantic models hold is understood: records, arrays, tuples, choices, constants and references. Any
other difference counts as a change that old files may not survive.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

__all__ = ["losses"]

Schema = dict[str, Any]

_UNDERSTOOD = frozenset(
    (
        "$ref", "additionalProperties", "anyOf", "const", "default", "enum", "items", "maxItems", "minItems", "oneOf",
        "prefixItems", "properties", "required", "type",
    )
)  # fmt: skip
_TAGS = ("op", "kind")
_NO_LIMIT = 1 << 62


def losses(old: Schema, new: Schema) -> tuple[str, ...]:
    """Return what `old` accepts and `new` does not, or reads differently because a default is another one.

    Parameters
    ----------
    old, new : dict
        JSON schemas with their definitions under ``$defs``.
    """
    return tuple(dict.fromkeys(_Comparison(old, new).of(old, new, "program")))


class _Comparison:
    def __init__(self, old: Schema, new: Schema) -> None:
        self._old: dict[str, Schema] = old.get("$defs", {})
        self._new: dict[str, Schema] = new.get("$defs", {})
        self._open: set[tuple[int, int]] = set()

    def of(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        """Yield what is lost from one schema to the other."""
        where = _name(old["$ref"]) if "$ref" in old else where
        before, after = self._resolved(old, self._old), self._resolved(new, self._new)
        first, second = self._choices(before, self._old), self._choices(after, self._new)
        if len(first) > 1 or len(second) > 1:
            yield from self._of_choices(first, second, where)
        else:
            yield from self._of_one(before, after, where)

    @staticmethod
    def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
        while "$ref" in schema:
            schema = definitions[_name(schema["$ref"])]
        return schema

    def _choices(self, schema: Schema, definitions: dict[str, Schema]) -> list[Schema]:
        for key in ("anyOf", "oneOf"):
            if key in schema:
                options: list[Schema] = schema[key]
                return [
                    choice
                    for option in options
                    for choice in self._choices(self._resolved(option, definitions), definitions)
                ]
        return [schema]

    def _of_choices(self, old: list[Schema], new: list[Schema], where: str) -> Iterator[str]:
        by_tag = {tag: choice for choice in new for tag in _tags(choice)}
        for choice in old:
            tags = _tags(choice)
            if not tags:
                if not any(self._fits(choice, other) for other in new if not _tags(other)):
                    yield f"{where}: {_shown(choice)} is refused"
                continue
            for name, tag in tags:
                if (name, tag) not in by_tag:
                    yield f"{where}: the {name} {tag!r} is gone"
                else:
                    yield from self._of_one(choice, by_tag[name, tag], f"{name} {tag!r}", skip=name)

    def _fits(self, old: Schema, new: Schema) -> bool:
        known = set(self._open)
        try:
            return not any(self._of_one(old, new, ""))
        finally:
            self._open = known

    def _of_one(self, old: Schema, new: Schema, where: str, skip: str = "") -> Iterator[str]:
        pair = (id(old), id(new))
        if pair in self._open:
            # Schemas refer to themselves; what is being compared already holds if the rest does.
            return
        self._open.add(pair)
        for key in sorted((old.keys() | new.keys()) - _UNDERSTOOD):
            if key in new and old.get(key) != new[key] and key != "$defs":
                yield f"{where}: {key} is {new[key]!r}, was {old.get(key)!r}"
        if "type" in new and not _types(old) <= _types(new):
            yield f"{where}: the type is {new['type']}, was {old.get('type', 'any')}"
            return
        if (values := _values(new)) is not None and not (_values(old) or {object()}) <= values:
            gone = sorted(map(repr, (_values(old) or set()) - values)) or ["any value"]
            yield f"{where}: {', '.join(gone)} is refused"
        if "properties" in old or "properties" in new:
            yield from self._of_records(old, new, where, skip)
        yield from self._of_arrays(old, new, where)

    def _of_records(self, old: Schema, new: Schema, where: str, skip: str) -> Iterator[str]:
        before, after = old.get("properties", {}), new.get("properties", {})
        for name in sorted(set(new.get("required", ())) - set(old.get("required", ()))):
            yield f"{where}: the field {name!r} must be there"
        for name, field in before.items():
            if name not in after:
                yield f"{where}: the field {name!r} is gone"
            elif name != skip:
                yield from self.of(field, after[name], f"{where}, field {name!r}")
                if "default" in field and repr(field["default"]) != repr(after[name].get("default")):
                    shown = after[name].get("default", "none")
                    yield f"{where}, field {name!r}: the default is {shown!r}, was {field['default']!r}"

    def _of_arrays(self, old: Schema, new: Schema, where: str) -> Iterator[str]:
        if new.get("minItems", 0) > old.get("minItems", 0):
            yield f"{where}: at least {new['minItems']} items, were {old.get('minItems', 0)}"
        if new.get("maxItems", _NO_LIMIT) < old.get("maxItems", _NO_LIMIT):
            yield f"{where}: at most {new['maxItems']} items, were {old.get('maxItems', 'any number')}"
        first, second = old.get("prefixItems", []), new.get("prefixItems", [])
        for position in range(max(len(first), len(second))):
            before = first[position] if position < len(first) else old.get("items")
            after = second[position] if position < len(second) else new.get("items", {})
            if before is not None:
                yield from self.of(before, after, f"{where}, item {position}")
        if "items" in old and "items" in new:
            yield from self.of(old["items"], new["items"], f"{where}, items")
        elif "items" in new and not first:
            yield f"{where}: the type of the items is given, was any"


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _values(schema: Schema) -> set[object] | None:
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None


def _tags(schema: Schema) -> list[tuple[str, object]]:
    """Return the operations or kinds of a record in a tagged union."""
    for name in _TAGS:
        if name in schema.get("properties", {}):
            return [(name, value) for value in sorted(_values(schema["properties"][name]) or (), key=repr)]
    return []


def _types(schema: Schema) -> set[str]:
    given = schema.get("type", ["array", "boolean", "integer", "null", "number", "object", "string"])
    kinds = {given} if isinstance(given, str) else set(given)
    return kinds | {"integer"} if "number" in kinds else kinds


def _shown(schema: Schema) -> str:
    return str(schema.get("type", schema))

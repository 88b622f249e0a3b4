"""The page of the node schemas, generated from them when the documentation is built."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from brainir.ir.model import Model
from brainir.ir.node import Node, Traits
from brainir.ir.ops import SCHEMAS

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files

PAGE = "nodes.md"
_HEAD = """# Node reference

Every operation that a program can hold, generated from the schemas in `brainir/ir/ops/`. Attributes have the names and
the meaning of `jax.lax`. All nodes also have `inputs`, `outputs`, `types`, `scope` and `source`
([The file format](format.md)). What a trait says is in the docstring of `brainir.ir.node.Traits`. The layout as JSON
schema: [brainir-1.schema.json](schema/brainir-1.schema.json).
"""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page."""
    from mkdocs.structure.files import File

    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Return the page as Markdown."""
    kinds: dict[str, list[type[Node]]] = {}
    for schema in SCHEMAS:
        kinds.setdefault(schema.__module__, []).append(schema)
    blocks = [_HEAD]
    for module in sorted(kinds):
        title = (importlib.import_module(module).__doc__ or module).strip().splitlines()[0]
        blocks.append(f"## {title.removeprefix('Schemas of ').rstrip('.').capitalize()}\n")
        blocks += ["\n".join(_schema(schema)) for schema in sorted(kinds[module], key=lambda schema: schema.__name__)]
    return "\n".join(blocks)


def _schema(schema: type[Node]) -> Iterator[str]:
    yield f"### {schema.__name__}\n"
    yield f"{_plain(inspect.getdoc(schema) or '')}\n"
    by_traits: dict[Traits, list[str]] = {}
    for op in schema.ops():
        by_traits.setdefault(schema.op_traits.get(op, schema.family_traits), []).append(op)
    for traits, ops in by_traits.items():
        names = ", ".join(f"`{op}`" for op in ops)
        yield f"- {names}: {_traits(traits)}"
    yield ""
    yield from _fields(schema, schema.attribute_names())


def _fields(schema: type[Node], names: tuple[str, ...]) -> Iterator[str]:
    """Yield the table of the attributes, and one for each record that they hold, once."""
    if not names:
        return
    yield from _table(schema, names)
    records: dict[type[Model], None] = {}
    waiting = [schema.model_fields[name].annotation for name in names]
    while waiting:
        for record in _records(waiting.pop(0)):
            if record not in records:
                records[record] = None
                waiting += [info.annotation for info in record.model_fields.values()]
    for record in records:
        yield f"**{record.__name__}**: {_plain(inspect.getdoc(record) or '')}\n"
        yield from _table(record, tuple(record.model_fields))


def _table(record: type[Model], names: tuple[str, ...]) -> Iterator[str]:
    yield "| attribute | type | default |"
    yield "|---|---|---|"
    for name in names:
        info = record.model_fields[name]
        default = "required" if info.is_required() else f"`{info.default!r}`"
        yield f"| `{name}` | {_type(info.annotation)} | {default} |"
    yield ""


def _records(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for part in getattr(annotation, "__args__", ()):
        yield from _records(part)


def _type(annotation: Any) -> str:
    text = (
        annotation.__name__ if isinstance(annotation, type) and not hasattr(annotation, "__args__") else str(annotation)
    )
    text = re.sub(r"typing\.Annotated\[str, [^\]]*\]", "function name", text)
    text = re.sub(r"typing\.Annotated\[.*Discriminator\(discriminator='kind'[^)]*\)\]", "Tree", text)
    text = re.sub(r"\b(?:[\w]+\.)+(\w+)", r"\1", text)
    return "`" + text.replace("|", "or") + "`"


def _traits(traits: Traits) -> str:
    named = [
        f"linear in {', '.join(map(str, value))}" if field == "linear" else field.replace("_", " ")
        for field, value in ((field.name, getattr(traits, field.name)) for field in dataclasses.fields(traits))
        if value
    ]
    return ", ".join(named) or "no traits"


def _plain(text: str) -> str:
    """Return a docstring as Markdown: no roles, its list of parameters as code."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    body, found, parameters = text.partition("\nParameters\n----------\n")
    body = body.replace("``", "`").strip()
    return f"{body}\n\n```text\n{parameters.strip()}\n```" if found else body

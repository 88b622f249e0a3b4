"""Programs as JSON text.

The text has a fixed key order and one line for each node, constant, state, argument and unit, so that a line
diff shows what changed. Fields at their default are left out.

Reading takes text that nobody vouches for: it runs no code, allocates nothing because of a declared shape
alone, and ends in a verified program or in a :class:`~brainir.ir.errors.BrainIRError`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from .collector import collector_paused
from .errors import FormatError
from .interface import Interface, Tree
from .large_constants import strip_constants
from .model import Model
from .node import Node
from .program import SCHEMA_VERSION, Constant, Function, Program
from .verifier import verify

__all__ = [
    "DEFAULT_LIMITS",
    "UPGRADES",
    "Limits",
    "check_limit",
    "dump_bare_function",
    "dump_bare_node",
    "dump_function",
    "dump_interface",
    "dump_node",
    "dumps",
    "loads",
    "parse_program",
    "read_program",
]

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""What turns a program of an older version of the stored form, as a dict, into one of the next version."""

_DEEPEST_TREE = 90  # The JSON parser stops at 200 nested lists and dicts; a level of a pytree takes two.
_SHOWN_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a text or file may hold before it is refused.

    Parameters
    ----------
    text_bytes : int
        Size of the JSON text; 1 GiB.
    constant_bytes : int
        Bytes of all constants together, those in the ``.safetensors`` file included; 16 GiB.
    nodes : int
        Nodes in all functions together; one million.
    depth : int
        Nesting of the pytrees of the interface; 90, which is also the deepest that can be stored.
    """

    text_bytes: int = 1 << 30
    constant_bytes: int = 16 << 30
    nodes: int = 1_000_000
    depth: int = _DEEPEST_TREE


DEFAULT_LIMITS = Limits()


# Writing


def dumps(program: Program, *, constants: bool = True) -> str:
    """Write a program as JSON text that :func:`loads` reads back to an equal program.

    All constants are in the text, except those whose data the program itself left out.

    Parameters
    ----------
    program : Program
    constants : bool
        Whether to write large constants. If not, the text has their hashes only, as :func:`strip_constants` leaves
        them.

    Raises
    ------
    FormatError
        If a pytree of the interface nests more than 90 levels deep.
    """
    if not constants:
        program = strip_constants(program)
    fields = [
        ("format", _encode(program.format)),
        ("version", _encode(program.version)),
        ("entry", _encode(program.entry)),
        ("interface", dump_interface(program.interface, " ")),
        ("functions", _array((dump_function(function, "  ") for function in program.functions), " ")),
    ]
    if program.metadata:
        fields.append(("metadata", _array(map(_encode, program.metadata), " ")))
    return f"{_object(fields, '')}\n"


def dump_interface(interface: Interface, indent: str = "") -> str:
    """Write an interface as JSON text, one state, argument or unit to a line.

    Raises
    ------
    FormatError
        If a pytree nests more than 90 levels deep.
    """
    if (depth := max(map(_tree_depth, interface.trees()))) > _DEEPEST_TREE:
        raise FormatError(
            f"a pytree of the interface nests {depth} levels deep and a file holds {_DEEPEST_TREE}; "
            "flatten the arguments, states or result of the model"
        )
    fields = []
    for name, value in _record(interface).items():
        lines = name in ("states", "arguments", "units")
        fields.append((name, _array(map(_encode, value), f"{indent} ") if lines else _encode(value)))
    return _object(fields, indent)


def dump_function(function: Function, indent: str = "") -> str:
    """Write a function as JSON text, one constant or node to a line."""
    fields = [(name, _encode(getattr(function, name))) for name in ("name", "inputs", "types")]
    if function.constants:
        constants = (_encode(constant.model_dump()) for constant in function.constants)
        fields.append(("constants", _array(constants, f"{indent} ")))
    if function.nodes:
        fields.append(("nodes", _array(map(dump_node, function.nodes), f"{indent} ")))
    fields.append(("outputs", _encode(function.outputs)))
    return _object(fields, indent)


def dump_node(node: Node) -> str:
    """Write a node as one line of JSON."""
    record = {"op": node.op, "inputs": node.inputs, "outputs": node.outputs, "types": node.types}
    for name, default in _node_fields(type(node)):
        value = getattr(node, name)
        if not _same(value, default):
            record[name] = value
    return _encode(record)


def dump_bare_function(
    inputs: tuple[str, ...],
    types: tuple[str, ...],
    constants: Iterable[Constant],
    nodes: Iterable[str],
    outputs: tuple[str, ...],
) -> str:
    """Write a function without a name as :func:`dump_function` does, from the lines of its nodes."""
    fields = [("name", _encode("")), ("inputs", _encode(inputs)), ("types", _encode(types))]
    for name, lines in (("constants", [_encode(constant.model_dump()) for constant in constants]), ("nodes", [*nodes])):
        if lines:
            fields.append((name, _array(lines, " ")))
    return _object([*fields, ("outputs", _encode(outputs))], "")


def dump_bare_node(
    node: Node, inputs: tuple[str, ...], outputs: tuple[str, ...], callees: Mapping[str, str] | None = None
) -> str:
    """Write a node as :func:`dump_node` does, with other operands and results, without scope and source.

    Parameters
    ----------
    node : Node
    inputs, outputs : tuple of str
    callees : mapping of str to str, optional
        What stands for the functions that it refers to; nothing without it.
    """
    record: dict[str, Any] = {"op": node.op, "inputs": inputs, "outputs": outputs, "types": node.types}
    references = node.reference_names()
    for name, default in _node_fields(type(node))[:-2]:
        value = getattr(node, name)
        if name in references and value is not None:
            names = (value,) if isinstance(value, str) else value
            found = tuple("" if callees is None else callees.get(callee, callee) for callee in names)
            value = found[0] if isinstance(value, str) else found
        if not _same(value, default):
            record[name] = value
    return _encode(record)


@functools.cache
def _node_fields(schema: type[Node]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, schema.model_fields[name].default) for name in (*schema.attribute_names(), "scope", "source"))


def _same(value: object, default: object) -> bool:
    # Equal values of different kinds, such as 0.0 and -0.0, are written differently.
    return value is default or (value == default and repr(value) == repr(default))


def _record(model: object) -> dict[str, Any]:
    if not isinstance(model, Model):
        raise TypeError(f"{type(model).__name__} is not stored in programs")
    values = ((name, getattr(model, name), info.default) for name, info in type(model).model_fields.items())
    return {name: value for name, value, default in values if name in ("op", "kind") or not _same(value, default)}


_encoder = json.JSONEncoder(ensure_ascii=False, default=_record).encode
# Legal in JSON, but they end lines for some readers, cannot be encoded, or change how a line looks in review.
_UNSAFE = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def _encode(value: object) -> str:
    text = _encoder(value)
    return text if text.isascii() and "\x7f" not in text else _UNSAFE.sub(lambda at: f"\\u{ord(at[0]):04x}", text)


def _object(fields: Iterable[tuple[str, str]], indent: str) -> str:
    return "{\n" + ",\n".join(f'{indent} "{name}": {text}' for name, text in fields) + f"\n{indent}}}"


def _array(items: Iterable[str], indent: str) -> str:
    lines = f",\n{indent} ".join(items)
    return f"[\n{indent} {lines}\n{indent}]" if lines else "[]"


def _tree_depth(tree: Tree) -> int:
    depth, layer = 0, [tree]
    while layer:
        depth += 1
        layer = [child for parent in layer for child in getattr(parent, "children", ())]
    return depth


# Reading


def loads(text: str | bytes, *, limits: Limits = DEFAULT_LIMITS) -> Program:
    """Read a program from JSON text, upgrade it if an older release wrote it, and verify it.

    Constants that the text names by hash only have no data.

    Parameters
    ----------
    text : str or bytes
        What :func:`dumps` wrote; bytes are UTF-8.
    limits : Limits

    Raises
    ------
    FormatError
        If the text is not a program that this release can read, or exceeds the limits.
    VerificationError
        If the program breaks an invariant of the IR.
    """
    return read_program(text, "the text", limits)


def read_program(text: str | bytes, where: str, limits: Limits) -> Program:
    """Do what :func:`loads` does; errors say that the text is `where`."""
    with collector_paused():
        return _read(text, where, limits)


def _read(text: str | bytes, where: str, limits: Limits) -> Program:
    check_limit(where, "bytes of text", len(text), limits.text_bytes, "text_bytes")
    data, upgraded = _upgrade(parse_program(text, where), where)
    functions = data.get("functions")
    bodies = [body.get("nodes") for body in functions if isinstance(body, dict)] if isinstance(functions, list) else []
    count = sum(len(nodes) for nodes in bodies if isinstance(nodes, list))
    check_limit(where, "nodes", count, limits.nodes, "nodes")
    try:
        program = Program.model_validate_json(to_json(data, inf_nan_mode="constants") if upgraded else text)
    except ValidationError as error:
        if error.errors(include_input=False)[0]["type"] == "json_invalid":
            raise _not_json(where, text, error) from None
        raise FormatError(_describe(error, data, where)) from None
    except ValueError as error:
        raise _not_json(where, text, error) from None
    depth = max(map(_tree_depth, program.interface.trees()))
    check_limit(where, "levels of nested pytrees", depth, limits.depth, "depth")
    verify(program)
    check_limit(where, "bytes of constants", program.constant_bytes(), limits.constant_bytes, "constant_bytes")
    return program


def check_limit(where: str, what: str, found: int, limit: int, name: str) -> None:
    """Refuse `found` of something if that is more than the field `name` of the limits."""
    if found > limit:
        raise FormatError(
            f"{where} holds {found} {what}, more than the limit of {limit}; "
            f"if you trust it, give limits=Limits({name}=...)"
        )


def parse_program(text: str | bytes, where: str) -> dict[str, Any]:
    """Return the JSON of a program of any version as it stands; errors say that the text is `where`.

    Raises
    ------
    FormatError
        If it is not JSON, or not a program.
    """
    try:
        content = text.encode() if isinstance(text, str) else text
        # pydantic reads the text again, faster than it would check this; but it lets keys pass that occur twice.
        data = json.loads(content.decode(), object_pairs_hook=_unique)
    except UnicodeError as error:
        raise FormatError(f"{where} is not UTF-8 ({error}); it is not a brainir file or was damaged") from None
    except (ValueError, RecursionError) as error:
        raise _not_json(where, text, error) from None
    if not isinstance(data, dict) or data.get("format") != "brainir":
        raise FormatError(f'{where} is JSON but not a brainir program, which starts with "format": "brainir"')
    return data


def _not_json(where: str, text: str | bytes, error: Exception) -> FormatError:
    try:
        # This parser says more of where the text ends or goes wrong.
        from_json(text.encode() if isinstance(text, str) else text)
    except ValueError as place:
        error = place
    return FormatError(f"{where} is not JSON: {error}; it was cut short or edited by hand")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(
            f"the key {next(name for name in names if names.count(name) > 1)!r} occurs twice in one object"
        )
    return record


def _upgrade(data: dict[str, Any], where: str) -> tuple[dict[str, Any], bool]:
    written = data.get("version")
    if type(written) is not int or written < 1:
        raise FormatError(f"{where} has no schema version; it is not a brainir program or was edited by hand")
    if written > SCHEMA_VERSION:
        raise FormatError(
            f"{where} was written by a newer brainir: it has version {written}, and this release reads up to "
            f"{SCHEMA_VERSION}; upgrade with 'pip install -U brainir'"
        )
    for version in range(written, SCHEMA_VERSION):
        try:
            data = {**UPGRADES[version](data), "version": version + 1}
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise FormatError(
                f"{where} has version {written} and cannot be upgraded from {version} to {version + 1} "
                f"({type(error).__name__}: {error}); it was edited by hand or damaged"
            ) from error
    return data, written < SCHEMA_VERSION


_ITEMS = {
    "functions": ("function", "name"),
    "constants": ("constant", "name"),
    "nodes": ("node", None),
    "states": ("state", "path"),
    "arguments": ("argument", "name"),
    "units": ("unit", "text"),
}


def _describe(error: ValidationError, data: dict[str, Any], where: str) -> str:
    problems = error.errors(include_url=False, include_context=False)
    lines = [f"  {_location(problem, data)}: {_reason(problem)}" for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > _SHOWN_PROBLEMS:
        lines.append(f"  and {len(problems) - _SHOWN_PROBLEMS} more")
    return "\n".join([f"{where} is not a valid brainir program; it was edited by hand or damaged:", *lines])


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

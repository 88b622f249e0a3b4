"""Programs as JSON text and as files.

The text has a fixed key order and one line for each node, constant, state, argument and unit, so that a line
diff shows what changed. Fields at their default are left out. Constants of more than 64 KiB go to a
``.safetensors`` file beside the JSON, by the sha256 of their bytes.

Reading takes text that nobody vouches for: it runs no code, allocates nothing because of a declared shape
alone, and ends in a verified program or in a :class:`~brainir.ir.errors.BrainIRError`.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import re
import secrets
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails, from_json, to_json

from .errors import FormatError
from .interface import Interface, Tree
from .model import Model
from .node import Node
from .program import SCHEMA_VERSION, Constant, Function, Program
from .types import TensorType
from .verifier import verify

__all__ = ["UPGRADES", "Limits", "dump_function", "dump_interface", "dumps", "load", "loads", "save"]

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""What turns a program of an older version of the stored form, as a dict, into one of the next version."""

LARGE_CONSTANT = 64 * 1024
"""Constants of more bytes than this are stored outside the JSON file."""

_DEEPEST_TREE = 90  # The JSON parser stops at 200 nested lists and dicts; a level of a pytree takes two.
_OWNER = {"format": "brainir-constants"}
_SHA256 = re.compile("[0-9a-f]{64}")
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


def dumps(program: Program) -> str:
    """Write a program as JSON text that :func:`loads` reads back to an equal program.

    All constants are in the text, except those whose data the program itself left out.

    Raises
    ------
    FormatError
        If a pytree of the interface nests more than 90 levels deep.
    """
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


@functools.cache
def _node_fields(schema: type[Node]) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (name, schema.model_fields[name].default) for name in (*schema.attribute_names(), "scope", "source")
    )


def _same(value: object, default: object) -> bool:
    # Equal values of different kinds, such as 0.0 and -0.0, are written differently.
    return value is default or (value == default and repr(value) == repr(default))


def _record(model: object) -> dict[str, Any]:
    if not isinstance(model, Model):
        raise TypeError(f"{type(model).__name__} is not stored in programs")
    values = ((name, getattr(model, name), info.default) for name, info in type(model).model_fields.items())
    return {
        name: value for name, value, default in values if name in ("op", "kind") or not _same(value, default)
    }


_encoder = json.JSONEncoder(ensure_ascii=False, default=_record).encode
# Legal in JSON, but they end lines for some readers, cannot be encoded, or change how a line looks in review.
_UNSAFE = re.compile(r"[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff]")


def _encode(value: object) -> str:
    text = _encoder(value)
    return (
        text
        if text.isascii() and "\x7f" not in text
        else _UNSAFE.sub(lambda at: f"\\u{ord(at[0]):04x}", text)
    )


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
    return _read(text, "the text", limits)


def _read(text: str | bytes, where: str, limits: Limits) -> Program:
    _check_limit(where, "bytes of text", len(text), limits.text_bytes, "text_bytes")
    data, upgraded = _upgrade(_parse(text, where), where)
    functions = data.get("functions")
    bodies = (
        [body.get("nodes") for body in functions if isinstance(body, dict)]
        if isinstance(functions, list)
        else []
    )
    count = sum(len(nodes) for nodes in bodies if isinstance(nodes, list))
    _check_limit(where, "nodes", count, limits.nodes, "nodes")
    try:
        program = Program.model_validate_json(to_json(data, inf_nan_mode="constants") if upgraded else text)
    except ValidationError as error:
        raise FormatError(_describe(error, data, where)) from None
    depth = max(map(_tree_depth, program.interface.trees()))
    _check_limit(where, "levels of nested pytrees", depth, limits.depth, "depth")
    verify(program)
    _check_limit(
        where, "bytes of constants", program.constant_bytes(), limits.constant_bytes, "constant_bytes"
    )
    return program


def _check_limit(where: str, what: str, found: int, limit: int, name: str) -> None:
    if found > limit:
        raise FormatError(
            f"{where} holds {found} {what}, more than the limit of {limit}; "
            f"if you trust it, give limits=Limits({name}=...)"
        )


def _parse(text: str | bytes, where: str) -> dict[str, Any]:
    try:
        content = text.encode() if isinstance(text, str) else text
        # This parser bounds the nesting; the next one finds keys that occur twice, which pydantic lets pass.
        from_json(content)
        data = json.loads(content, object_pairs_hook=_unique)
    except UnicodeError as error:
        raise FormatError(
            f"{where} is not UTF-8 ({error}); it is not a brainir file or was damaged"
        ) from None
    except ValueError as error:
        raise FormatError(f"{where} is not JSON: {error}; it was cut short or edited by hand") from None
    if not isinstance(data, dict) or data.get("format") != "brainir":
        raise FormatError(f'{where} is JSON but not a brainir program, which starts with "format": "brainir"')
    return data


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


# Files


def save(program: Program, path: str | os.PathLike[str]) -> None:
    """Write a program to a JSON file, and its large constants to a ``.safetensors`` file beside it.

    Constants of more than 64 KiB go to the file with the same name but the suffix ``.safetensors``, each
    once, as ``uint8`` arrays by their sha256. Both files are replaced as a whole, the constants first. A
    ``.safetensors`` file of that name that brainir did not write is never touched. One that brainir wrote
    keeps the constants that the program refers to but does not hold (see ``load(path, constants=False)``),
    loses all others, and is removed when the program needs none.

    Parameters
    ----------
    program : Program
    path : str or path
        Where the JSON goes, in a folder that exists; by custom with the suffix ``.json``.

    Raises
    ------
    FormatError
        If a file cannot be written, or if another program's ``.safetensors`` file is in the way.
    """
    path = Path(path)
    large: dict[str, bytes] = {}
    light = program.replace(
        functions=tuple(_without_large(function, large) for function in program.functions)
    )
    text = dumps(light)
    outside = _constants_path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder; add a file name")
        ours = _is_ours(outside)
        if ours:
            large |= _read_arrays(
                outside, {digest: None for digest in _left_out(light) if digest not in large}
            )
        if large and not ours and os.path.lexists(outside):
            raise FormatError(
                f"{outside} was not written by brainir and is in the way of constants; choose another path"
            )
        if large:
            _write_arrays(outside, large)
        with _replacing(path) as temporary:
            temporary.write_bytes(text.encode())
        if ours and not large:
            outside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise FormatError(
            f"cannot write {path}: {_os_reason(error)}; check the folder and its permissions"
        ) from error


def load(path: str | os.PathLike[str], *, constants: bool = True, limits: Limits = DEFAULT_LIMITS) -> Program:
    """Read a program from the file that :func:`save` wrote, and verify it.

    Parameters
    ----------
    path : str or path
        The JSON file.
    constants : bool
        Whether to read the ``.safetensors`` file beside it. If not, large constants have a hash but no data.
    limits : Limits

    Raises
    ------
    FormatError
        If a file is missing or unreadable, is not a program that this release can read, holds constants that
        do not have the hash or size that the program gives, or exceeds the limits.
    VerificationError
        If the program breaks an invariant of the IR.
    """
    path = Path(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FormatError(f"{path} is a folder; give the path of the .json file in it")
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a regular file")
        _check_limit(str(path), "bytes of text", status.st_size, limits.text_bytes, "text_bytes")
        text = path.read_bytes()
    except FileNotFoundError:
        raise FormatError(f"there is no file {path}; check the name and the working directory") from None
    except (OSError, ValueError) as error:
        raise FormatError(
            f"cannot read {path}: {_os_reason(error)}; give a JSON file that you may read"
        ) from error
    program = _read(text, str(path), limits)
    return _with_large(program, path) if constants and any(True for _ in _left_out(program)) else program


def _constants_path(path: Path) -> Path:
    # From the path alone: a name inside the JSON could point anywhere.
    if not path.name or path.suffix == ".safetensors":
        raise FormatError(f"{str(path)!r} cannot name a JSON file; give a path like model.json")
    return path.with_suffix(".safetensors")


def _without_large(function: Function, large: dict[str, bytes]) -> Function:
    constants = []
    for constant in function.constants:
        if constant.data is not None and len(constant.data) > LARGE_CONSTANT:
            digest = hashlib.sha256(constant.data).hexdigest()
            large[digest] = constant.data
            constant = Constant(name=constant.name, type=constant.type, sha256=digest)
        constants.append(constant)
    return (
        function.replace(constants=tuple(constants)) if tuple(constants) != function.constants else function
    )


def _left_out(program: Program) -> Iterator[str]:
    """Yield the hash of each constant without data."""
    for function in program.functions:
        for constant in function.constants:
            if constant.data is None:
                yield constant.sha256 or ""


def _with_large(program: Program, path: Path) -> Program:
    outside = _constants_path(path)
    sizes: dict[str, int | None] = {}
    for function in program.functions:
        for constant in function.constants:
            if constant.data is not None:
                continue
            digest, size = constant.sha256 or "", TensorType.parse(constant.type).nbytes
            if not _SHA256.fullmatch(digest) or sizes.setdefault(digest, size) != size:
                raise FormatError(
                    f"{path}: constant {constant.name!r} has no data, and its sha256 or type is wrong"
                )
    advice = "copy it there from where the program was saved, or give constants=False to do without"
    if not outside.is_file():
        raise FormatError(
            f"{path} keeps {len(sizes)} large constants in {outside}, which is missing; {advice}"
        )
    try:
        arrays = _read_arrays(outside, sizes)
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read {outside}: {_os_reason(error)}; {advice}") from error
    if missing := sizes.keys() - arrays.keys():
        raise FormatError(
            f"{outside} does not hold {len(missing)} of the constants of {path}, or with other bytes, "
            f"such as the one with sha256 {min(missing)}; {advice}"
        )
    return program.replace(functions=tuple(_filled(function, arrays) for function in program.functions))


def _filled(function: Function, arrays: dict[str, bytes]) -> Function:
    constants = tuple(
        Constant(name=constant.name, type=constant.type, data=arrays[constant.sha256 or ""])
        if constant.data is None
        else constant
        for constant in function.constants
    )
    return function.replace(constants=constants) if function.constants else function


def _is_ours(outside: Path) -> bool:
    if not outside.is_file():
        return False
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(outside, framework="numpy") as stored:
            return bool(stored.metadata() == _OWNER)
    except SafetensorError:
        return False


def _read_arrays(outside: Path, sizes: dict[str, int | None]) -> dict[str, bytes]:
    """Read the arrays that are there, with the right size (if known) and hash."""
    from safetensors import SafetensorError, safe_open

    arrays = {}
    try:
        with safe_open(outside, framework="numpy") as stored:
            for digest in sizes.keys() & set(stored.keys()):
                entry, size = stored.get_slice(digest), sizes[digest]
                shape = entry.get_shape()
                if entry.get_dtype() != "U8" or len(shape) != 1 or size not in (None, shape[0]):
                    continue
                data = stored.get_tensor(digest).tobytes()
                if hashlib.sha256(data).hexdigest() == digest:
                    arrays[digest] = data
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    return arrays


def _write_arrays(outside: Path, arrays: dict[str, bytes]) -> None:
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import save_file

    with _replacing(outside) as temporary:
        temporary.touch()
        mode = temporary.stat().st_mode
        try:
            tensors = {digest: np.frombuffer(data, np.uint8) for digest, data in sorted(arrays.items())}
            save_file(tensors, temporary, metadata=_OWNER)
        except SafetensorError as error:
            raise OSError(0, str(error)) from error
        # The library makes the file readable for its owner only.
        temporary.chmod(mode)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a new file in the same folder, which takes the place of `path` when all went well."""
    temporary = path.with_name(f".{path.name[:64]}.{secrets.token_hex(6)}.tmp")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _os_reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)

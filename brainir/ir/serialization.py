"""Programs as JSON text.

Writing is deterministic, see :mod:`~brainir.ir.encoding`. Reading takes text that nobody vouches for: it runs no code,
allocates nothing because of a declared shape alone, and ends in a verified program or in a
:class:`~brainir.ir.errors.BrainIRError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json

from .collector import collector_paused
from .encoding import array_text, dump_function, dump_interface, encode, object_text
from .errors import FormatError
from .large_constants import strip_constants
from .malformed import invalid_program, not_json
from .program import SCHEMA_VERSION, Program, require_program
from .trees import DEEPEST_TREE, tree_depth
from .verifier import verify

__all__ = [
    "DEFAULT_LIMITS",
    "UPGRADES",
    "Limits",
    "check_limit",
    "dumps",
    "loads",
    "parse_program",
    "read_program",
]

UPGRADES: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {}
"""What turns a program of an older version of the stored form, as a dict, into one of the next version."""

_MOST_FIELDS = 1000  # No record has so many; each that is not known would be described.


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
    depth: int = DEEPEST_TREE


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

    Returns
    -------
    str
        ASCII but for text of the model; it ends with a line break.

    Raises
    ------
    FormatError
        If a pytree of the interface nests deeper than a file holds.
    """
    require_program(program)
    if not constants:
        program = strip_constants(program)
    fields = [
        ("format", encode(program.format)),
        ("version", encode(program.version)),
        ("entry", encode(program.entry)),
        ("interface", dump_interface(program.interface, " ")),
        ("functions", array_text((dump_function(function, "  ") for function in program.functions), " ")),
    ]
    if program.metadata:
        fields.append(("metadata", array_text(map(encode, program.metadata), " ")))
    return f"{object_text(fields, '')}\n"


# Reading


def loads(text: str | bytes, *, limits: Limits = DEFAULT_LIMITS) -> Program:
    """Read a program from JSON text, upgrade it if an older release wrote it, and verify it.

    Constants that the text names by hash only have no data.

    Parameters
    ----------
    text : str or bytes
        What :func:`dumps` wrote; bytes are UTF-8.
    limits : Limits
        How much the text may hold.

    Returns
    -------
    Program

    Raises
    ------
    FormatError
        If the text is not a program that this release can read, or exceeds the limits.
    VerificationError
        If the program breaks an invariant of the IR.
    """
    if not isinstance(text, str | bytes):
        given = type(text).__name__  # type: ignore[unreachable]  # for callers that are not typed
        raise FormatError(f"loads takes the text that dumps wrote, not {given}; brainir.load reads a file")
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
            raise not_json(where, text, error) from None
        raise invalid_program(where, data, error) from None
    except ValueError as error:
        raise not_json(where, text, error) from None
    depth = max(map(tree_depth, program.interface.trees()))
    check_limit(where, "levels of nested pytrees", depth, limits.depth, "depth")
    verify(program)
    check_limit(where, "bytes of constants", program.constant_bytes(), limits.constant_bytes, "constant_bytes")
    return program


def check_limit(where: str, what: str, found: int, limit: int, name: str) -> None:
    """Refuse `found` of something if that is more than the field `name` of the limits."""
    if found > limit:
        raise FormatError(
            f"{where} holds {found:,} {what}, more than the limit of {limit:,}; "
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
        if content.startswith(b"\xef\xbb\xbf"):
            raise FormatError(f"{where} starts with a byte order mark; store it as UTF-8 without one")
        # pydantic reads the text again, faster than it would check this; but it lets keys pass that occur twice.
        data = json.loads(content.decode(), object_pairs_hook=_unique)
    except UnicodeError as error:
        raise FormatError(f"{where} is not UTF-8 ({error}); it is not a brainir file or was damaged") from None
    except (ValueError, RecursionError) as error:
        raise not_json(where, text, error) from None
    if not isinstance(data, dict) or data.get("format") != "brainir":
        raise FormatError(f'{where} is JSON but not a brainir program, which starts with "format": "brainir"')
    return data


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > _MOST_FIELDS:
        raise ValueError(f"an object with {len(pairs)} keys, and no part of a program has more than {_MOST_FIELDS}")
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
            f"{SCHEMA_VERSION}; update brainir to read it"
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

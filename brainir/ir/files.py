"""Programs as files: JSON text, and large constants beside it.

Constants of more than 64 KiB go to a ``.safetensors`` file, by the sha256 of their bytes.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

from .errors import FormatError
from .large_constants import fill_constants, left_out, take_constants
from .program import Program, require_program
from .serialization import DEFAULT_LIMITS, Limits, check_limit, dumps, read_program
from .types import TensorType
from .wording import counted

__all__ = ["file_path", "load", "read_text", "replace_text", "save"]

_MAX_HEADER = 16 << 20
"""Bytes of the table of contents of a ``.safetensors`` file; enough for 100,000 constants."""

_OWNER = {"format": "brainir-constants"}
_SHA256 = re.compile("[0-9a-f]{64}")


def save(program: Program, path: str | os.PathLike[str], *, constants: bool = True) -> None:
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
    constants : bool
        Whether to store large constants. If not, the JSON has their hashes only, and a ``.safetensors`` file is neither
        written nor touched; such a file is read with ``load(path, constants=False)``.

    Raises
    ------
    FormatError
        If a file cannot be written, or if another program's ``.safetensors`` file is in the way.
    """
    require_program(program)
    path = file_path(path)
    light, large = take_constants(program)
    text = dumps(light)
    outside = _constants_path(path)
    try:
        if path.is_dir():
            raise IsADirectoryError(0, "it is a folder; add a file name")
        if not constants:
            replace_text(path, text)
            return
        ours = _leads_here(outside, path) and _is_ours(outside)
        if ours:
            large |= _read_arrays(outside, {digest: None for digest in _hashes(light) if digest not in large})
        if large and not ours and os.path.lexists(outside):
            raise FormatError(
                f"{outside} was not written by brainir and is in the way of constants; choose another path"
            )
        if large:
            _write_arrays(outside, large)
        replace_text(path, text)
        if ours and not large:
            outside.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot write {path}: {_os_reason(error)}; check the folder and its permissions") from error


def load(path: str | os.PathLike[str], *, constants: bool = True, limits: Limits = DEFAULT_LIMITS) -> Program:
    """Read a program from the file that :func:`save` wrote, and verify it.

    Parameters
    ----------
    path : str or path
        The JSON file.
    constants : bool
        Whether to read the ``.safetensors`` file beside it. If not, large constants have a hash but no data.
    limits : Limits
        How much the files may hold.

    Returns
    -------
    Program

    Raises
    ------
    FormatError
        If a file is missing or unreadable, is not a program that this release can read, holds constants that
        do not have the hash or size that the program gives, or exceeds the limits.
    VerificationError
        If the program breaks an invariant of the IR.
    """
    path = file_path(path)
    program = read_program(read_text(path, limits), str(path), limits)
    return _with_large(program, path) if constants and any(left_out(program)) else program


def file_path(given: object) -> Path:
    """Return the path of a file that is read or written.

    Raises
    ------
    FormatError
        If something else is given.
    """
    if not isinstance(given, str | os.PathLike):
        raise FormatError(
            f"a file is given by its path, a str or pathlib.Path, not {type(given).__name__}; for text in memory there "
            "are brainir.dumps and brainir.loads"
        )
    return Path(given)


def read_text(path: Path, limits: Limits) -> bytes:
    """Return the content of a JSON file that is not larger than the limits allow.

    Raises
    ------
    FormatError
        If it cannot be read or is too large.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise FormatError(f"{path} is a folder; give the path of the .json file in it")
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "it is not a regular file")
        check_limit(str(path), "bytes of text", status.st_size, limits.text_bytes, "text_bytes")
        return path.read_bytes()
    except FileNotFoundError:
        raise FormatError(f"there is no file {path}; check the name and the working directory") from None
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read {path}: {_os_reason(error)}; give a JSON file that you may read") from error


def _constants_path(path: Path) -> Path:
    # From the path alone: a name inside the JSON could point anywhere.
    if not path.name or path.suffix == ".safetensors":
        raise FormatError(f"{str(path)!r} cannot name a JSON file; give a path like model.json")
    return path.with_suffix(".safetensors")


def _hashes(program: Program) -> set[str]:
    return {constant.sha256 or "" for constant in left_out(program)}


def _with_large(program: Program, path: Path) -> Program:
    outside = _constants_path(path)
    sizes: dict[str, int | None] = {}
    for constant in left_out(program):
        digest, size = constant.sha256 or "", TensorType.parse(constant.type).nbytes
        if not _SHA256.fullmatch(digest) or sizes.setdefault(digest, size) != size:
            raise FormatError(f"{path}: constant {constant.name!r} has no data, and its sha256 or type is wrong")
    advice = "copy it there from where the program was saved, or give constants=False to do without"
    if not outside.is_file():
        raise FormatError(
            f"{path} keeps {counted(len(sizes), 'large constant')} in {outside}, which is missing; {advice}"
        )
    try:
        if not _leads_here(outside, path):
            raise ValueError(f"it is a link to another folder, {outside.resolve().parent}")
        arrays = _read_arrays(outside, sizes)
    except (OSError, ValueError) as error:
        raise FormatError(f"cannot read {outside}: {_os_reason(error)}; {advice}") from error
    if missing := sizes.keys() - arrays.keys():
        raise FormatError(
            f"{outside} lacks {counted(len(missing), 'constant')} of {path}, or has other bytes in place of them, "
            f"such as those with sha256 {min(missing)}; {advice}"
        )
    return fill_constants(program, arrays)


def _leads_here(outside: Path, path: Path) -> bool:
    # A link to another folder could point at anything. Stores of large files link both files to one place.
    return outside.resolve().parent in (path.parent.resolve(), path.resolve().parent)


def _is_ours(outside: Path) -> bool:
    if not outside.is_file():
        return False
    from safetensors import SafetensorError, safe_open

    try:
        _check_header(outside)
        with safe_open(outside, framework="numpy") as stored:
            return bool(stored.metadata() == _OWNER)
    except (ValueError, SafetensorError):
        return False


def _check_header(outside: Path) -> None:
    """Refuse a table of contents that is too long, before the library takes memory for it."""
    with outside.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > _MAX_HEADER:
        raise ValueError(f"its header has {length} bytes, and at most {_MAX_HEADER} are read")


def _read_arrays(outside: Path, sizes: dict[str, int | None]) -> dict[str, bytes]:
    """Read the arrays that are there, with the right size (if known) and hash."""
    from safetensors import SafetensorError, safe_open

    arrays = {}
    _check_header(outside)
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


def replace_text(path: Path, text: str) -> None:
    """Write a file as a whole: a reader finds the old text or the new one."""
    with _replacing(path) as temporary:
        temporary.write_bytes(text.encode())


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

"""Arrays that go into a program and come out of it, as npz or JSON files, by the names that ``brainir show`` prints."""

from __future__ import annotations

import io
import json
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..ir.errors import FormatError
from ..ir.printer import format_path
from ..ir.program import Program
from ..ir.types import TensorType
from .output import spare_programs

__all__ = [
    "Arrays",
    "as_lists",
    "check_output",
    "input_arrays",
    "read_arrays",
    "result_names",
    "units_of_results",
    "write_arrays",
]

Arrays = dict[str, NDArray[Any]]


def read_arrays(path: str) -> dict[str, Any]:
    """Read named arrays from a ``.npz`` or JSON file, or JSON from standard input.

    Raises
    ------
    FormatError
        If the file is missing or is neither.
    """
    try:
        data = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
    except OSError as error:
        raise FormatError(f"cannot read {path}: {error.strerror or error}") from error
    try:
        if data.startswith(b"PK"):
            with np.load(io.BytesIO(data), allow_pickle=False) as stored:
                return dict(stored)
        values = json.loads(data)
    except (ValueError, zipfile.BadZipFile) as error:
        raise FormatError(f"{path} is neither an .npz file nor JSON: {error}") from error
    if not isinstance(values, dict):
        raise FormatError(f"{path} must hold an object from names to arrays, not {type(values).__name__}")
    return values


def input_arrays(program: Program, given: Mapping[str, Any], *, zeros: bool) -> list[NDArray[Any]]:
    """Return the inputs of the entry in order, keys as their ``uint32`` words.

    What is named like a result is left out: the results of a step are given back with the new states among them.

    Raises
    ------
    FormatError
        If one is missing, unknown, or of another type.
    """
    entry = program.entry_function
    kinds = dict(zip(entry.inputs, entry.input_types, strict=True))
    takes = "it takes " + ", ".join(f"{name} {kind}" for name, kind in kinds.items())
    if unknown := sorted(given.keys() - kinds.keys() - {*result_names(program)}):
        raise FormatError(f"{program.entry} has no input {unknown[0]!r}; {takes}")
    missing = [name for name in kinds if name not in given]
    if missing and not zeros:
        raise FormatError(f"no value for {', '.join(missing)}; give it, or --zeros for zeros; {takes}")
    return [_input(name, given.get(name), kind) for name, kind in kinds.items()]


def _input(name: str, value: Any, kind: TensorType) -> NDArray[Any]:
    dtype, shape = kind.storage
    if value is None:
        return np.zeros(shape, dtype)
    try:
        array = np.asarray(value) if isinstance(value, np.ndarray) else np.asarray(value, dtype)
    except (TypeError, ValueError, OverflowError) as error:
        raise FormatError(f"{name} must be {kind}: {error}") from error
    if array.dtype.kind == "V" and array.dtype.itemsize == dtype.itemsize:
        array = array.view(dtype)  # numpy files keep only the bytes of element types that are not numpy's
    if array.shape != shape or array.dtype != dtype:
        raise FormatError(f"{name} must be {kind}, not {TensorType(array.dtype.name, array.shape)}")
    return array


def result_names(program: Program) -> list[str]:
    """Return a name for each output: that of the input which holds the old value, or its place in the result."""
    taken = set(program.entry_function.inputs)
    names = [value.name for state, values in program.state_inputs() if state.returned for value in values]
    for state, keys, _ in program.interface.output_leaves():
        if state is None:
            name = format_path(("out", *keys))
            while name in taken:
                name += "_"
            taken.add(name)
            names.append(name)
    return names


def units_of_results(program: Program) -> list[str]:
    """Return the unit of each output, or empty text."""
    return [leaf.unit or "" for _, _, leaf in program.interface.output_leaves()]


def check_output(path: str) -> None:
    """Check that the name of a file says which format it gets, and that it may be written.

    Raises
    ------
    FormatError
        If it ends in neither ``.npz`` nor ``.json``, or holds a program.
    """
    if not path.endswith((".npz", ".json")):
        raise FormatError(f"cannot tell the format of {path}; the name must end in .npz or .json")
    spare_programs(path)


def write_arrays(arrays: Arrays, path: str) -> None:
    """Write named arrays to an ``.npz`` or JSON file.

    Raises
    ------
    FormatError
        If the suffix is neither, or the file cannot be written or holds a program.
    """
    check_output(path)
    try:
        if path.endswith(".npz"):
            _write_npz(arrays, path)
        else:
            Path(path).write_text(json.dumps(as_lists(arrays)) + "\n", encoding="utf-8")
    except OSError as error:
        raise FormatError(f"cannot write {path}: {error.strerror or error}") from error


def _write_npz(arrays: Arrays, path: str) -> None:
    """Do what ``numpy.savez`` does, which takes a state named ``file`` or ``allow_pickle`` for an option of its own."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                np.lib.format.write_array(entry, array, allow_pickle=False)


def as_lists(arrays: Arrays) -> dict[str, Any]:
    """Return arrays as nested lists of numbers.

    Raises
    ------
    FormatError
        If one is complex, for which JSON has no numbers.
    """
    for name, array in arrays.items():
        if array.dtype.kind == "c":
            raise FormatError(f"{name} is complex, which JSON cannot hold; write an .npz file")
    return {name: array.tolist() for name, array in arrays.items()}

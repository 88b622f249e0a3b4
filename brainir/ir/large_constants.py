"""Constants that are left out of a program: their hash stays, their bytes are elsewhere or nowhere."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping

from .constant import Constant
from .program import Function, Program, require_program

__all__ = ["LARGE_CONSTANT", "fill_constants", "left_out", "strip_constants", "take_constants"]

LARGE_CONSTANT = 64 * 1024
"""Constants of more bytes than this are stored outside the JSON file."""


def strip_constants(program: Program, *, larger_than: int = LARGE_CONSTANT) -> Program:
    """Return the program without the bytes of its large constants.

    Of each stays the sha256, so the fingerprint is the same. Such a program can be stored, shown, compared and analysed
    (indices that were left out count as not known), but not turned into JAX code.

    Parameters
    ----------
    program : Program
    larger_than : int
        Bytes that a constant may have and still be kept; 0 keeps none that has any.

    Returns
    -------
    Program

    Raises
    ------
    VerificationError
        If it is no program.
    """
    require_program(program)
    return take_constants(program, larger_than)[0]


def take_constants(program: Program, larger_than: int = LARGE_CONSTANT) -> tuple[Program, dict[str, bytes]]:
    """Return the program without the bytes of its large constants, and these by their sha256."""
    taken: dict[str, bytes] = {}
    functions = tuple(_without(function, larger_than, taken) for function in program.functions)
    return (program.replace(functions=functions) if taken else program), taken


def _without(function: Function, larger_than: int, taken: dict[str, bytes]) -> Function:
    constants = []
    for constant in function.constants:
        if constant.data is not None and len(constant.data) > larger_than:
            digest = hashlib.sha256(constant.data).hexdigest()
            taken[digest] = constant.data
            constant = Constant(name=constant.name, type=constant.type, sha256=digest)
        constants.append(constant)
    return function.replace(constants=tuple(constants)) if tuple(constants) != function.constants else function


def left_out(program: Program) -> Iterator[Constant]:
    """Yield the constants without data."""
    for function in program.functions:
        for constant in function.constants:
            if constant.data is None:
                yield constant


def fill_constants(program: Program, data: Mapping[str, bytes]) -> Program:
    """Return the program with the bytes of the constants that were left out.

    Raises
    ------
    KeyError
        If `data` does not have the sha256 of one of them.
    """
    return program.replace(functions=tuple(_filled(function, data) for function in program.functions))


def _filled(function: Function, data: Mapping[str, bytes]) -> Function:
    constants = tuple(
        Constant(name=constant.name, type=constant.type, data=data[constant.sha256 or ""])
        if constant.data is None
        else constant
        for constant in function.constants
    )
    return function.replace(constants=constants) if function.constants else function

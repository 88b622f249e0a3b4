"""Check that a program is well formed: every invariant that analyses, passes and emission rely on."""

from __future__ import annotations

import functools
import re
from collections import Counter

from .constant import Constant
from .errors import BrainIRError, FormatError
from .interface_checks import check_interface
from .node import Node
from .program import Function, Program, require_program
from .table_checks import check_table, marks_of
from .type_rules import BY_TYPES, MAX_RANK, TypeRuleError, result_types
from .types import USED_BITS, TensorType, is_literal, literal_type, only_used_bits
from .violation import violation

__all__ = ["ensure_verified", "verify"]

Environment = dict[str, str]
"""The type of every value and literal as text, without weak types, which the verifier does not compare."""

_MAX_NAME = 200
_VALUE_NAME = re.compile(rf"[A-Za-z_][A-Za-z0-9_.]{{0,{_MAX_NAME - 1}}}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_CONTROL_CHARACTER = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_MAX_LENGTH = 1 << 63


def verify(program: Program) -> None:
    """Check every invariant of the IR.

    Parameters
    ----------
    program : Program

    Raises
    ------
    VerificationError
        At the first invariant that does not hold. The message names the function and node, shows the lines of
        IR around it and the model's line, and says what to do.
    """
    _verify(program, trust=False)


def ensure_verified(program: Program) -> None:
    """Verify a program, but for what was verified before: programs and functions do not change once they are made.

    Raises
    ------
    VerificationError
        See :func:`verify`.
    """
    _verify(program, trust=True)


def _verify(program: Program, trust: bool) -> None:
    require_program(program)
    if trust and "_verified" in program.__dict__:
        return
    program.__dict__.pop("_verified", None)
    table = program.table
    if len(table) != len(program.functions):
        counts = Counter(function.name for function in program.functions)
        raise violation(f"two functions are named {counts.most_common(1)[0][0]!r}", "give each function its own name")
    marks = marks_of(table) if trust else {}
    fresh = [function for function in program.functions if function.name not in marks]
    for function in fresh:
        function.__dict__.pop("_verified", None)
    check_table(program, fresh, marks)
    environments = {function.name: _check_values(function) for function in fresh}
    for function in fresh:
        _check_types(function, environments[function.name], table)
    check_interface(program.interface, program.entry_function)
    for function in fresh:
        mark = function.__dict__["_verified"] = marks[function.name]
        mark.beside = [marks[name].token for name in mark.referred]
    program.__dict__["_verified"] = True


@functools.lru_cache(maxsize=1 << 14)
def _strong(text: str) -> str:
    """Check the text of a type; return that without the weak type."""
    kind = TensorType.parse(text)
    if kind.ndim > MAX_RANK:
        raise FormatError(f"a type with {kind.ndim} axes; at most {MAX_RANK} can be held")
    return text.removeprefix("~")


def _check_values(function: Function) -> Environment:
    """Check names, scoping and the text of types; return the type of every value and literal that is used."""
    if len(function.inputs) != len(function.types):
        raise violation(
            f"{len(function.inputs)} inputs have {len(function.types)} types",
            "give each input one type",
            function,
        )
    values: Environment = {}
    for name, text in zip(function.inputs, function.types, strict=True):
        _define(values, name, text, function)
    for constant in function.constants:
        _define(values, constant.name, constant.type, function)
        _check_constant(constant, function)
    noted = {""}
    for index, node in enumerate(function.nodes):
        for operand in node.inputs:
            if operand not in values:
                _use(values, operand, function, index)
        outputs, types = node.outputs, node.types
        if len(outputs) != len(types):
            raise violation(
                f"{len(outputs)} outputs have {len(types)} types",
                "give each output one type",
                function,
                index,
            )
        for name, text in zip(outputs, types, strict=True):
            _define(values, name, text, function, index)
        if node.scope not in noted or node.source not in noted:
            _check_notes((node.scope, node.source), function, index)
            noted |= {node.scope, node.source}
    for operand in function.outputs:
        if operand not in values:
            _use(values, operand, function, None)
    return values


def _define(values: Environment, name: str, text: str, function: Function, index: int | None = None) -> None:
    # Most names are identifiers, which is quicker to see.
    if name in values or not (name.isidentifier() and name.isascii() and len(name) <= _MAX_NAME):
        _check_name(values, name, function, index)
    try:
        values[name] = _strong(text)
    except FormatError as error:
        raise violation(f"the type of {name!r}: {error}", "correct the type", function, index) from None


def _check_name(values: Environment, name: str, function: Function, index: int | None) -> None:
    if name in values:
        raise violation(
            f"the value {name!r} is defined a second time",
            "a value is defined once; give the second one a new name",
            function,
            index,
        )
    if not _VALUE_NAME.fullmatch(name):
        raise violation(
            f"{name!r} cannot name a value",
            f"use up to {_MAX_NAME} ASCII letters, digits, _ and dots, a letter or _ first",
            function,
            index,
        )


def _check_notes(notes: tuple[str, str], function: Function, index: int) -> None:
    if any(map(_CONTROL_CHARACTER.search, notes)):
        raise violation(
            "scope or source holds a line break or another control character",
            "write them as one line of text",
            function,
            index,
        )


def _use(values: Environment, operand: str, function: Function, index: int | None) -> None:
    """Add a literal to the values; anything else that is not there yet is a mistake."""
    if not is_literal(operand):
        later = any(operand in node.outputs for node in function.nodes)
        what = "is used before it is defined" if later and index is not None else "is not defined in this function"
        raise violation(
            f"{'' if index is not None else 'the output '}{operand!r} {what}",
            "sort the nodes so that definitions come first"
            if later
            else "define it, or pass it in as an input: functions see only their own values",
            function,
            index,
        )
    try:
        values[operand] = str(literal_type(operand).strong)
    except FormatError as error:
        raise violation(
            f"the literal {operand!r}: {error}", "write a number and its type, like 0.5:f32", function, index
        ) from None


def _check_constant(constant: Constant, function: Function) -> None:
    name, data, kind = constant.name, constant.data, TensorType.parse(constant.type)
    if (data is None) == (constant.sha256 is None):
        raise violation(
            f"the constant {name!r} must have either its bytes or their sha256",
            "keep the bytes; write the sha256 only where they are left out",
            function,
        )
    try:
        nbytes = kind.nbytes
    except BrainIRError as error:
        raise violation(f"the constant {name!r}: {error}", "correct the type", function) from None
    if data is None:
        if not _SHA256.fullmatch(constant.sha256 or ""):
            raise violation(
                f"the sha256 of the constant {name!r} is not 64 hexadecimal digits",
                "write sha256(bytes).hexdigest()",
                function,
            )
        return
    if len(data) != nbytes:
        raise violation(
            f"the constant {name!r} has {len(data)} bytes, but {kind} takes {nbytes}",
            "make the constant with Constant.of",
            function,
        )
    if not only_used_bits(data, kind.dtype):
        raise violation(
            f"a byte of the constant {name!r} is not an element of {kind.dtype}",
            f"store each element in a byte from 0 to {(1 << USED_BITS[kind.dtype]) - 1}",
            function,
        )


@functools.lru_cache(maxsize=1 << 14)
def _inferred(op: str, operands: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(str, BY_TYPES[op](op, tuple(map(TensorType.parse, operands)))))


def _check_types(function: Function, values: Environment, table: dict[str, Function]) -> None:
    """Recompute the types of all results."""
    for index, node in enumerate(function.nodes):
        op, operands = node.op, tuple([values[operand] for operand in node.inputs])
        try:
            # A weak type is found to fit below.
            if op in BY_TYPES and _inferred(op, operands) == node.types:
                continue
            found = result_types(node, tuple(map(TensorType.parse, operands)), table)
        except TypeRuleError as error:
            raise violation(
                str(error),
                "correct the operands or attributes; if a pass made this node, the pass is wrong",
                function,
                index,
            ) from None
        declared = tuple([values[name] for name in node.outputs])
        if found != tuple(map(TensorType.parse, declared)):
            raise violation(_difference(node, found, declared), "write the types that follow", function, index)


def _difference(node: Node, found: tuple[TensorType, ...], declared: tuple[str, ...]) -> str:
    if len(found) != len(declared):
        return f"it has {len(declared)} outputs, but its operands and attributes give {len(found)}"
    position = next(index for index, kind in enumerate(found) if str(kind) != declared[index])
    kind = found[position]
    follows = "an axis that is too long" if any(size >= _MAX_LENGTH for size in kind.shape) else str(kind)
    name = node.outputs[position]
    return f"{name!r} is declared {declared[position]}, but its operands and attributes give {follows}"

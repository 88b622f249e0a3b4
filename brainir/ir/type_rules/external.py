"""Type rules of operations that a program only names: their results are what the node says."""

from __future__ import annotations

from collections.abc import Sequence

from .. import ops
from ..errors import FormatError
from ..trees import leaf_count
from ..types import TensorType
from ..wording import counted
from .registry import Callees, TypeRuleError, Types, rule


def _declared(node: ops.Callback | ops.CustomCall) -> Types:
    try:
        return tuple([TensorType.parse(text).strong for text in node.types])
    except FormatError as error:
        raise TypeRuleError(str(error)) from None


@rule(ops.Callback)
def _callback(node: ops.Callback, operands: Types, callees: Callees) -> Types:
    if node.arguments.kind != "tuple":
        raise TypeRuleError(f"its positional arguments are a {node.arguments.kind}, and must be a tuple")
    _check_given_once(node.keywords)
    wanted = leaf_count(node.arguments) + sum(leaf_count(tree) for _, tree in node.keywords)
    if wanted != len(operands):
        raise TypeRuleError(f"it has {counted(len(operands), 'operand')} for {wanted} leaves of arguments")
    if node.op == "debug_callback" and node.outputs:
        raise TypeRuleError("a debug_callback has no results")
    return _declared(node)


@rule(ops.CustomCall)
def _custom_call(node: ops.CustomCall, operands: Types, callees: Callees) -> Types:
    _check_given_once(node.params)
    return _declared(node)


def _check_given_once(given: Sequence[tuple[str, object]]) -> None:
    names = [name for name, _ in given]
    if len(set(names)) != len(names):
        raise TypeRuleError(f"a name is given twice among {names}")

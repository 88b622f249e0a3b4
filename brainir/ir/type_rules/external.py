"""Type rules of operations that a program only names: their results are what the node says."""

from __future__ import annotations

from .. import ops
from ..errors import FormatError
from ..interface import leaf_count
from ..types import TensorType
from .checks import plural
from .registry import Callees, TypeRuleError, Types, rule


def _declared(node: ops.Callback | ops.CustomCall) -> Types:
    try:
        kinds = [TensorType.parse(text) for text in node.types]
    except FormatError as error:
        raise TypeRuleError(str(error)) from None
    return tuple([TensorType(kind.dtype, kind.shape) for kind in kinds])


@rule(ops.Callback)
def _callback(node: ops.Callback, operands: Types, callees: Callees) -> Types:
    wanted = leaf_count(node.arguments) + sum(leaf_count(tree) for _, tree in node.keywords)
    if wanted != len(operands):
        raise TypeRuleError(f"it has {plural(len(operands), 'operand')} for {wanted} leaves of arguments")
    if node.op == "debug_callback" and node.outputs:
        raise TypeRuleError("a debug_callback has no results")
    return _declared(node)


@rule(ops.CustomCall)
def _custom_call(node: ops.CustomCall, operands: Types, callees: Callees) -> Types:
    names = [name for name, _ in node.params]
    if len(set(names)) != len(names):
        raise TypeRuleError(f"an attribute is given twice among {names}")
    return _declared(node)

"""A flat view of a function, in which calls are replaced by the bodies of what they call."""

from __future__ import annotations

import keyword
from collections.abc import Callable

from ..ir.node import Node
from ..ir.ops import Call, CustomJvp, CustomVjp, Unary
from ..ir.program import Constant, Function, Program
from ..ir.types import is_literal

__all__ = ["fresh_name", "inline_calls"]

_LONGEST_STEM = 60


def fresh_name(wanted: str, taken: set[str]) -> str:
    """Return `wanted`, with a number behind it if it is taken, and take it."""
    name, count = wanted, 0
    while name in taken or keyword.iskeyword(name):
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


def inline_calls(
    function: Function,
    program: Program,
    *,
    keep_rules: bool = True,
    select: Callable[[Node], bool] | None = None,
) -> Function:
    """Replace calls by the bodies of the functions they call, however deeply nested.

    The function's own values keep their names, so facts about the result are facts about `function`. Values
    that come from a body are named after the first result of the call and their name there. The same program
    gives the same names.

    Parameters
    ----------
    function : Function
    program : Program
        Holds the functions that `function` calls.
    keep_rules : bool
        Leave ``custom_jvp`` and ``custom_vjp`` nodes, whose derivative rules an inlined body would lose. If
        False, they are replaced by their primal bodies, which is right for values but not for derivatives.
    select : callable, optional
        Inline only the nodes for which it is true; asked for nodes of `function`, not for those of bodies.

    Returns
    -------
    Function
        `function` itself if there is nothing to inline.
    """
    kinds = Call if keep_rules else Call | CustomJvp | CustomVjp
    chosen = [node for node in function.nodes if isinstance(node, kinds) and (select is None or select(node))]
    if not chosen:
        return function
    flat = _Inliner(program, kinds, {*function.value_types})
    flat.constants.extend(function.constants)
    wanted = {id(node) for node in chosen}
    for node in function.nodes:
        if id(node) in wanted:
            flat.expand(
                node,
                {operand: operand for operand in node.inputs},
                node.outputs,
                node.outputs[:1],
                node.scope,
            )
        else:
            flat.nodes.append(node)
    return Function(
        name=function.name,
        inputs=function.inputs,
        types=function.types,
        constants=tuple(flat.constants),
        nodes=tuple(flat.nodes),  # type: ignore[arg-type]  # nodes of the schemas only
        outputs=function.outputs,
    )


class _Inliner:
    def __init__(self, program: Program, kinds: object, taken: set[str]) -> None:
        self.program = program
        self.kinds = kinds
        self.taken = taken
        self.nodes: list[Node] = []
        self.constants: list[Constant] = []
        self.shared: dict[tuple[str, str], str] = {}

    def expand(
        self, call: Node, names: dict[str, str], results: tuple[str, ...], label: tuple[str, ...], scope: str
    ) -> None:
        """Append the body of `call`: `names` maps its operands, `results` names its results."""
        body = self.program.function(next(iter(call.callees())))
        stem = (label[0] if label else body.name)[-_LONGEST_STEM:].lstrip("0123456789.") or "x"
        inner = {name: names[operand] for name, operand in zip(body.inputs, call.inputs, strict=True)}
        for constant in body.constants:
            inner[constant.name] = self.constant(body, constant, stem)
        made = {name for node in body.nodes for name in node.outputs}
        for name, result in zip(body.outputs, results, strict=True):
            if name in made and name not in inner:
                inner[name] = result
        for node in body.nodes:
            new = (name for name in node.outputs if name not in inner)
            inner.update({name: fresh_name(f"{stem}.{name[-_LONGEST_STEM:]}", self.taken) for name in new})
            self.append(node, inner, call, scope)
        for name, result, kind in zip(body.outputs, results, call.types, strict=True):
            value = name if is_literal(name) else inner[name]
            if value != result:
                self.nodes.append(
                    Unary(
                        op="copy",
                        inputs=(value,),
                        outputs=(result,),
                        types=(kind,),
                        scope=scope,
                        source=call.source,
                    )
                )

    def append(self, node: Node, names: dict[str, str], call: Node, scope: str) -> None:
        names |= {operand: operand for operand in node.inputs if is_literal(operand)}
        outputs = tuple(names[name] for name in node.outputs)
        inner_scope = "/".join(part for part in (scope, node.scope) if part)
        if isinstance(node, self.kinds):  # type: ignore[arg-type]  # a class or a union of classes
            self.expand(node, names, outputs, outputs[:1], inner_scope)
            return
        changes = {
            "inputs": tuple(names[operand] for operand in node.inputs),
            "outputs": outputs,
            "scope": inner_scope,
            "source": node.source or call.source,
        }
        self.nodes.append(node.model_copy(update=changes))

    def constant(self, body: Function, constant: Constant, stem: str) -> str:
        """Add a constant of a body once, however often the body is inlined."""
        key = (body.name, constant.name)
        if key not in self.shared:
            self.shared[key] = fresh_name(f"{stem}.{constant.name[-_LONGEST_STEM:]}", self.taken)
            self.constants.append(constant.replace(name=self.shared[key]))
        return self.shared[key]

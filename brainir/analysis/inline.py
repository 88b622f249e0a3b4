"""A flat view of a function, in which calls are replaced by the bodies of what they call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from ..ir.constant import Constant
from ..ir.errors import AnalysisError
from ..ir.node import Node
from ..ir.ops import Call, Checkpoint, CustomJvp, CustomVjp, NoDerivative, Sharding, ShardingConstraint, Unary
from ..ir.program import Function, Program
from ..ir.types import is_literal
from .fresh_names import fresh_name

__all__ = ["Splicer", "inline_calls"]

_LONGEST_STEM = 60
_MOST_NODES = 1_000_000


def inline_calls(
    function: Function,
    program: Program,
    *,
    keep_rules: bool = True,
    checkpoints: bool = False,
    select: Callable[[Node], bool] | None = None,
) -> Function:
    """Replace calls by the bodies of the functions they call, however deeply nested.

    The function's own values keep their names, so facts about the result are facts about `function`. Values
    that come from a body are named after the first result of the call and their name there. The same program
    gives the same names. How a call lays out operands and results on a mesh, sharding constraints say in its place.

    Parameters
    ----------
    function : Function
    program : Program
        Holds the functions that `function` calls.
    keep_rules : bool
        Leave ``custom_jvp`` and ``custom_vjp`` nodes, whose derivative rules an inlined body would lose. If
        False, they are replaced by their primal bodies, which is right for values but not for derivatives.
    checkpoints : bool
        Replace ``checkpoint`` nodes too, whose bodies are then no longer computed again for the derivative.
    select : callable, optional
        Inline only the nodes for which it is true; asked for nodes of `function`, not for those of bodies.

    Returns
    -------
    Function
        `function` itself if there is nothing to inline.

    Raises
    ------
    AnalysisError
        If more than a million nodes would come from bodies. Twenty functions that each call the next one ten times
        would be a hundred million million million.
    """
    kinds: tuple[type[Node], ...] = (Call,) if keep_rules else (Call, CustomJvp, CustomVjp, NoDerivative)
    kinds += (Checkpoint,) if checkpoints else ()
    chosen = [
        node
        for node in (function.nodes if function.callees else ())
        if isinstance(node, kinds) and (select is None or select(node))
    ]
    if not chosen:
        return function
    flat = Splicer(function, program.table, opened=kinds)
    wanted = {id(node) for node in chosen}
    for node in function.nodes:
        if id(node) in wanted:
            flat.splice(node)
        else:
            flat.nodes.append(node)
    return flat.finish()


class Splicer:
    """Builds a function out of another one, with bodies of further functions among its nodes.

    The caller appends nodes of its own to `nodes`. Values of `function` keep their names; those of bodies get
    names that are new in it.

    Parameters
    ----------
    function : Function
        Gives name, inputs, constants and outputs.
    table : mapping of str to Function
        Holds the functions that are spliced in.
    opened : tuple of node schemas
        Nodes of spliced bodies that are replaced by the bodies of what they run, in turn.
    """

    def __init__(
        self, function: Function, table: Mapping[str, Function], *, opened: tuple[type[Node], ...] = ()
    ) -> None:
        self.function = function
        self.table = table
        self.opened = opened
        self.taken = {*function.value_types}
        self.nodes: list[Node] = []
        self.constants: list[Constant] = list(function.constants)
        self._shared: dict[tuple[str, str], str] = {}
        self._spliced = 0

    def fresh(self, wanted: str) -> str:
        """Return a name that no value of the function has, and take it."""
        return fresh_name(wanted, self.taken)

    def finish(self, outputs: Sequence[str] | None = None) -> Function:
        """Return the function with the nodes that were appended."""
        function = self.function
        return Function(
            name=function.name,
            inputs=function.inputs,
            types=function.types,
            constants=tuple(self.constants),
            nodes=tuple(self.nodes),  # type: ignore[arg-type]  # nodes of the schemas only
            outputs=function.outputs if outputs is None else tuple(outputs),
        )

    def splice(self, call: Node) -> None:
        """Append the body of the function that a node runs: its first callee, whose values are named after its results.

        How a call lays out operands and results on a mesh, sharding constraints say.
        """
        body = self.table[next(iter(call.callees()))]
        stem = _stem(call.outputs, body)
        taken, given = _shardings(call, body)
        operands = [
            operand if sharding is None else self._lay_out(call, operand, sharding, self.fresh(f"{stem}.laid"), kind)
            for operand, sharding, kind in zip(call.inputs, taken, body.types, strict=True)
        ]
        free = [
            result if sharding is None else self.fresh(f"{stem}.free")
            for result, sharding in zip(call.outputs, given, strict=True)
        ]
        inner = self._append_body(call, body, operands, free, stem)
        for name, wanted, kind in zip(body.outputs, free, call.types, strict=True):
            value = name if is_literal(name) else inner[name]
            if value != wanted:
                self.copy(value, wanted, kind, call)
        for wanted, result, sharding, kind in zip(free, call.outputs, given, call.types, strict=True):
            if sharding is not None:
                self._lay_out(call, wanted, sharding, result, kind)

    def splice_body(self, call: Node, body: Function, operands: Iterable[str], stem: str) -> tuple[str, ...]:
        """Append the body of a function, and return the names or literals that its results are.

        Parameters
        ----------
        call : Node
            The node that it stands for; values without a line of their own get its source line.
        body : Function
            One of the table, or a part of one, under its name.
        operands : iterable of str
        stem : str
            What the names of values inside begin with.
        """
        inner = self._append_body(call, body, operands, (), stem)
        return tuple(name if is_literal(name) else inner[name] for name in body.outputs)

    def copy(self, value: str, result: str, kind: str, like: Node) -> None:
        """Append a copy of a value or literal under another name, in the scope and line of a node."""
        self.nodes.append(
            Unary(op="copy", inputs=(value,), outputs=(result,), types=(kind,), scope=like.scope, source=like.source)
        )

    def _lay_out(self, call: Node, value: str, sharding: Sharding, result: str, kind: str) -> str:
        """Append a value laid out on a mesh as a call has it; return its name."""
        self.nodes.append(
            ShardingConstraint(
                sharding=sharding,
                inputs=(value,),
                outputs=(result,),
                types=(kind,),
                scope=call.scope,
                source=call.source,
            )
        )
        return result

    def _append_body(
        self, call: Node, body: Function, operands: Iterable[str], results: Sequence[str], stem: str
    ) -> dict[str, str]:
        """Append the nodes of a body; return the new names of its values. It takes `results` where it can."""
        self._spliced += 1 + len(body.nodes)
        if self._spliced > _MOST_NODES:
            raise AnalysisError(
                f"{self.function.name} would have more than {_MOST_NODES:,} nodes with its calls replaced by what they "
                "run; write a loop with scan in place of functions that run each other many times"
            )
        inner = dict(zip(body.inputs, operands, strict=True))
        for constant in body.constants:
            inner[constant.name] = self._constant(body, constant, stem)
        made = {name for node in body.nodes for name in node.outputs}
        for name, result in zip(body.outputs, results, strict=bool(results)):
            if name in made and name not in inner:
                inner[name] = result
        for node in body.nodes:
            new = (name for name in node.outputs if name not in inner)
            inner.update({name: self.fresh(f"{stem}.{name[-_LONGEST_STEM:]}") for name in new})
            self._append(node, inner, call)
        return inner

    def _append(self, node: Node, names: dict[str, str], call: Node) -> None:
        names |= {operand: operand for operand in node.inputs if is_literal(operand)}
        inputs = tuple(names[operand] for operand in node.inputs)
        outputs = tuple(names[name] for name in node.outputs)
        scope = "/".join(part for part in (call.scope, node.scope) if part)
        placed = node.placed(inputs, outputs, node.types, scope, node.source or call.source)
        if isinstance(node, self.opened):
            self.splice(placed)
        else:
            self.nodes.append(placed)

    def _constant(self, body: Function, constant: Constant, stem: str) -> str:
        """Add a constant of a body once, however often the body is spliced in."""
        key = (body.name, constant.name)
        if key not in self._shared:
            self._shared[key] = self.fresh(f"{stem}.{constant.name[-_LONGEST_STEM:]}")
            self.constants.append(constant.replace(name=self._shared[key]))
        return self._shared[key]


def _shardings(call: Node, body: Function) -> tuple[Sequence[Sharding | None], Sequence[Sharding | None]]:
    """Return how a call lays out the operands and the results of a body; None where the compiler chooses."""
    free = (None,) * len(body.inputs), (None,) * len(body.outputs)
    if not isinstance(call, Call):
        return free
    return call.in_shardings or free[0], call.out_shardings or free[1]


def _stem(results: Sequence[str], body: Function) -> str:
    return (results[0] if results else body.name)[-_LONGEST_STEM:].lstrip("0123456789.") or "x"

"""What an analysis or a pass has to tell a modeller, as data with stable codes."""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

from pydantic import model_validator

from ..ir.model import StatePath
from ..ir.node import Node
from ..ir.printer import format_node, format_path
from .facts import Facts, format_place

__all__ = ["FINDINGS", "Diagnostic", "Finding", "FindingName", "diagnostic", "place_of"]

FindingName: TypeAlias = Literal[
    "learned_online", "no_derivative", "hidden_group", "states_joined", "positions_mixed", "states_independent",
    "unused_state", "other_state",
    "readout", "only_through_another_weight", "through_another_weight", "blocked_by_stop_gradient",
    "weight_in_control_flow", "weight_in_while", "opaque_weight_operation", "unused_parameter",
    "recurrence_through_other_state", "unreachable_state",
    "units_added", "units_compared", "units_joined", "units_in_function", "units_of_two_scales", "units_of_result",
    "nan_gradient", "every_branch_computed", "left_alone",
    "cost_of_one_step", "cost_guessed",
    "scan_unrolled", "scan_descended",
]  # fmt: skip


class Finding(NamedTuple):
    """One kind of finding: its code, which never changes, what it means, and what can be done."""

    code: str
    meaning: str
    remedy: str


FINDINGS: dict[FindingName, Finding] = {
    "learned_online": Finding(
        "BIR100",
        "the parameter acts in a weight operation whose result reaches a hidden state: a trace learns it",
        "",
    ),
    "readout": Finding(
        "BIR101",
        "the parameter reaches no hidden state within a step",
        "nothing to do: it gets the ordinary gradient of each step",
    ),
    "only_through_another_weight": Finding(
        "BIR102",
        "the parameter reaches hidden states only through another weight operation in the same step",
        "it gets the ordinary gradient of each step; a window credits more",
    ),
    "through_another_weight": Finding(
        "BIR103",
        "the parameter reaches hidden states directly, and through another weight operation too",
        "the trace credits the direct paths only; a window credits the others too",
    ),
    "blocked_by_stop_gradient": Finding(
        "BIR104",
        "a stop_gradient lies on every path from the parameter",
        "remove the stop_gradient if the parameter is to be learned through it",
    ),
    "weight_in_control_flow": Finding(
        "BIR105",
        "the parameter meets data inside a cond, scan or while loop",
        "move the weight operation out of the cond, scan or while loop",
    ),
    "weight_in_while": Finding(
        "BIR109",
        "the parameter meets data inside a while loop, whose number of rounds is not known before it runs",
        "write it as a scan of fixed length, or move the weight operation out of the loop",
    ),
    "opaque_weight_operation": Finding(
        "BIR106",
        "the parameter meets data in an operation with several results",
        "return one floating point array from the function that holds the operation",
    ),
    "unused_parameter": Finding(
        "BIR107",
        "the step does not use the parameter",
        "nothing to do: the step does not use it",
    ),
    "no_derivative": Finding(
        "BIR108",
        "every path from the parameter to a hidden state goes through an operation whose derivative is zero",
        "use a surrogate derivative there (jax.custom_jvp), or a function that has a slope",
    ),
    "recurrence_through_other_state": Finding(
        "BIR201",
        "a state that is not hidden carries a derivative from step to step",
        "make it a HiddenState, so that credit flows through it position by position; of a delay, make each step one",
    ),
    "unreachable_state": Finding(
        "BIR202",
        "the step uses a state that cannot be reached from the module",
        "keep the state as an attribute of the module, so that it has a path",
    ),
    "unused_state": Finding(
        "BIR203",
        "the module has the state, but the step neither reads nor writes it",
        "nothing to do, if that is meant",
    ),
    "other_state": Finding(
        "BIR204",
        "the state is neither a parameter nor hidden, and carries no derivative",
        "make it a HiddenState, if credit should pass through it from step to step",
    ),
    "hidden_group": Finding(
        "BIR210",
        "the group that a hidden state is in",
        "",
    ),
    "states_joined": Finding(
        "BIR211",
        "two hidden states are in one group",
        "",
    ),
    "positions_mixed": Finding(
        "BIR212",
        "between two hidden states, or a state and itself, lies an operation that does not keep positions apart",
        "nothing to do: credit through it is dropped by traces, and kept within a window",
    ),
    "states_independent": Finding(
        "BIR213",
        "neither of two hidden states depends on the other's old value",
        "",
    ),
    "units_added": Finding(
        "BIR301",
        "a sum, difference, maximum or minimum of quantities of different dimensions",
        "bring both to one dimension before",
    ),
    "units_compared": Finding(
        "BIR302",
        "a comparison of quantities of different dimensions",
        "compare quantities of one dimension, or divide by a reference first",
    ),
    "units_joined": Finding(
        "BIR303",
        "one array or value out of quantities of different dimensions: concatenate, select, cond, loop",
        "keep quantities of different dimensions in arrays of their own",
    ),
    "units_in_function": Finding(
        "BIR304",
        "a transcendental function, or a power that varies, of a quantity that is not a number",
        "divide by a reference quantity first; if the number in that unit is meant, this is no error",
    ),
    "units_of_two_scales": Finding(
        "BIR305",
        "numbers in two units of one dimension are put together as they are",
        "convert one of them to the unit of the other",
    ),
    "units_of_result": Finding(
        "BIR306",
        "a result or new state is not in the unit that the interface declares",
        "correct the update or the declared unit",
    ),
    "nan_gradient": Finding(
        "BIR401",
        "a branch that became a select holds operations whose slope can be infinite",
        "keep their operands in range in the branch itself, for instance with jnp.where on the operand",
    ),
    "every_branch_computed": Finding(
        "BIR402",
        "where one branch was computed, all of them are now",
        "leave the cond as it is where its branches are expensive",
    ),
    "left_alone": Finding(
        "BIR403",
        "a pass left a node as it is, though it is of the kind that the pass rewrites",
        "raise the limit that the message names, or rewrite the model",
    ),
    "cost_of_one_step": Finding(
        "BIR501",
        "a while loop is counted as if it ran once",
        "multiply by the number of steps that it takes",
    ),
    "cost_guessed": Finding(
        "BIR502",
        "an operation has no cost rule that is known to agree with XLA",
        "measure the compiled program where the number matters",
    ),
    "scan_unrolled": Finding(
        "BIR411",
        "a scan with weights inside became copies of its body",
        "nothing to do: each copy has relations of its own, whose gradients add",
    ),
    "scan_descended": Finding(
        "BIR412",
        "a scan with weights inside is too long to unroll, and its body is taken as a step of its own",
        "nothing to do: see the field descent of the relation",
    ),
}
"""Every finding by name."""

_CODES: dict[str, str] = {name: finding.code for name, finding in FINDINGS.items()}


class Diagnostic(Facts):
    """One finding about one state or one node.

    Analyses of others have codes of their own, which do not begin with ``BIR``.

    Parameters
    ----------
    code : str
        The kind of finding, ``BIR101``; stable between releases.
    name : str
        The same in words.
    message : str
        The finding in a sentence.
    path : tuple of str and int
        The state it is about, or empty.
    node : str
        The operation it is about, or empty.
    source : str
        The model's line, or empty.
    remedy : str
        What can be done.
    """

    code: str
    name: str
    message: str
    path: StatePath = ()
    node: str = ""
    source: str = ""
    remedy: str = ""

    @model_validator(mode="after")
    def _is_told_apart(self) -> Diagnostic:
        """Keep the codes of brainir, and the names that go with them, for its own findings."""
        if (self.code.startswith("BIR") or self.name in _CODES) and _CODES.get(self.name) != self.code:
            raise ValueError(f"{self.code} {self.name} is no finding of brainir; give yours another code and name")
        return self

    def __repr__(self) -> str:
        about = f"{format_path(self.path)}: " if self.path else ""
        lines = [f"{self.code} {self.name}: {about}{self.message}"]
        if self.node:
            lines.append(f"  at {format_place(self.node, self.source)}")
        if self.remedy:
            lines.append(f"  {self.remedy}")
        return "\n".join(lines)


def diagnostic(name: FindingName, message: str, *, path: StatePath = (), node: Node | None = None) -> Diagnostic:
    """Make the diagnostic of a finding, with its code and remedy.

    Parameters
    ----------
    name : str
    message : str
    path : tuple of str and int
        The state it is about.
    node : Node, optional
        The operation it is about.
    """
    finding = FINDINGS[name]
    return Diagnostic(
        code=finding.code,
        name=name,
        message=message,
        path=path,
        node="" if node is None else format_node(node),
        source="" if node is None else node.source,
        remedy=finding.remedy,
    )


def place_of(node: Node) -> str:
    """Name a node in a sentence: its first result, its operation, and the model's line."""
    first = f"{node.outputs[0]} = " if node.outputs else ""
    return f"{first}{node.op}" + (f" at {node.source}" if node.source else "")

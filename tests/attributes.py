"""Programs with one attribute changed: ``python -m tests.attributes`` shows that no change goes unnoticed.

Each attribute of each operation of the programs of the tests gets other values. A changed program must be refused by
the verifier or by JAX, or its values and derivatives must be another computation for JAX: another StableHLO text.
Attributes that JAX keeps in a trace and leaves out of StableHLO must come back when it is traced again.
"""

from __future__ import annotations

import argparse
import functools
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

import jax

import brainir
from brainir.ir.errors import VerificationError
from brainir.ir.node import Node
from brainir.ir.program import Program
from brainir.ir.type_rules import TypeRuleError, result_types
from brainir.ir.types import TensorType, is_literal, literal_type
from tests.alone import lowered
from tests.compare import bits
from tests.programs import PROGRAMS, PROGRAMS_HERE
from tests.variants import copied, variants

Verdict = Literal["verifier", "JAX", "StableHLO", "trace", "nothing"]
"""What notices a change."""

UNNOTICED = {
    "Reshard.devices": "there is one device",
    "Squeeze.dimensions": "JAX sorts them",
    "Scan.split_transpose": "JAX from 0.10 on does not have it; before, it is an option of the transpose",
}
"""Attributes on which nothing depends, and why."""

TRACED = {
    "Call.donated": "an option of the outermost jit",
    "Call.keep_unused": "an option of the outermost jit",
    "CheckpointName.name": "policies of jax.checkpoint read it",
    "ConvertElementType.weak_type": "StableHLO has no weak types; what they become when they meet others, it notices",
    "CustomVmap.sequential": "how it is batched",
    "CustomVmap.rule": "which function the caller gives to batch it",
    "DevicePut.copy_semantics": "what becomes of memory, not of numbers",
    "DevicePut.targets": "there is one device",
    "Eig.enable_eigvec_derivs": "what may be differentiated",
    "Eigh.sort_eigenvalues": "the CPU always sorts them",
    "Geqp3.use_magma": "for GPUs",
    "NoDerivative.reason": "what an error says",
    "Qr.use_magma": "for GPUs",
    "RngUniform.shape": "the program does not return the random numbers",
    "Split.axis": "of a single piece; with more pieces the verifier notices it",
}
"""Attributes that JAX keeps in traces and leaves out of StableHLO on this machine, and why."""

# What JAX raises for what it cannot trace or lower.
_REFUSALS = (
    TypeError, ValueError, NotImplementedError, AssertionError, IndexError, KeyError, AttributeError, RuntimeError,
    OverflowError,
)  # fmt: skip


class Change(NamedTuple):
    """A program with one attribute of one node changed."""

    name: str
    attribute: str
    detail: str
    program: Program


def changes(name: str) -> Iterator[Change]:
    """Yield programs with one attribute of a program of the tests changed."""
    program = original(name)
    for position, function in enumerate(program.functions):
        for index, node in enumerate(function.nodes):
            for where, changed in variants(node):
                field = where.split()[0]
                if not field.endswith(".types") and set(changed.callees()) <= program.table.keys():
                    nodes = (*function.nodes[:index], changed, *function.nodes[index + 1 :])
                    functions = list(program.functions)
                    functions[position] = copied(function, nodes=nodes)
                    detail = f"{_attributes(node)} -> {_attributes(changed)}"
                    yield Change(name, field, detail, copied(program, functions=tuple(functions)))


def _attributes(node: Node) -> str:
    return f"{node.op} {node.attributes()}"


@functools.cache
def original(name: str) -> Program:
    """Return a program of the tests."""
    case = PROGRAMS[name]
    return brainir.lower(case.fn, *case.args)


@functools.cache
def _text(name: str) -> str:
    return _computation(name, original(name))


def _computation(name: str, program: Program) -> str:
    case = PROGRAMS[name]
    return lowered(brainir.to_callable(program), case.args, case.derivatives)[1]


def noticed(change: Change) -> Verdict:
    """Return what notices a change first."""
    try:
        program = _read(change.program)
    except brainir.BrainIRError:
        return "verifier"
    try:
        if _computation(change.name, program) != _text(change.name):
            return "StableHLO"
        again = brainir.lower(brainir.to_callable(program), *PROGRAMS[change.name].args)
    except (brainir.BrainIRError, *_REFUSALS):
        return "JAX"
    return "nothing" if brainir.fingerprint(again) == brainir.fingerprint(original(change.name)) else "trace"


def _read(program: Program) -> Program:
    """Write and read a program; with the types that a changed attribute gives, if they are others."""
    try:
        return brainir.loads(brainir.dumps(program))
    except VerificationError:
        return brainir.loads(brainir.dumps(_retyped(program)))


def _retyped(program: Program) -> Program:
    """Return a program whose nodes have the types that follow from their operands, as far as they have any."""
    functions = []
    for function in program.functions:
        types = {name: function.value_types[name] for name in (*function.inputs, *(c.name for c in function.constants))}
        nodes = []
        for node in function.nodes:
            try:
                operands = tuple(
                    literal_type(name) if is_literal(name) else TensorType.parse(types[name]) for name in node.inputs
                )
                found = tuple(map(str, result_types(node, operands, program.table)))
            except (TypeRuleError, brainir.BrainIRError):
                found = node.types
            if len(found) != len(node.types):
                found = node.types
            same = [old if old.removeprefix("~") == new else new for old, new in zip(node.types, found, strict=True)]
            nodes.append(node.replace(types=tuple(same)))
            types.update(zip(node.outputs, same, strict=True))
        functions.append(copied(function, nodes=tuple(nodes)))
    return copied(program, functions=tuple(functions))


def same_results(change: Change) -> bool:
    """Whether a changed program that JAX runs has the results of the original on its arguments, run without jit."""
    args = PROGRAMS[change.name].args
    found = jax.tree.leaves(brainir.to_callable(_read(change.program))(*args))
    expected = jax.tree.leaves(brainir.to_callable(original(change.name))(*args))
    return [bits(leaf) for leaf in found] == [bits(leaf) for leaf in expected]


def once(names: Iterable[str]) -> Iterator[Change]:
    """Yield the changes of some programs, each change of one operation with the same attributes once."""
    seen: set[str] = set()
    for name in names:
        for change in changes(name):
            if change.detail not in seen:
                seen.add(change.detail)
                yield change


def _main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.attributes", description=__doc__)
    parser.add_argument("programs", nargs="*", help="only these; all if none is named")
    parser.add_argument(
        "--results", nargs="*", default=[], help="attributes of which results must depend, as Compare.op"
    )
    options = parser.parse_args()
    verdicts: dict[str, Counter[Verdict]] = {}
    problems = []
    for change in once(options.programs or PROGRAMS_HERE):
        verdict = noticed(change)
        verdicts.setdefault(change.attribute, Counter())[verdict] += 1
        if verdict == "nothing" and change.attribute not in UNNOTICED:
            problems.append(f"unnoticed: {change.name}: {change.attribute}: {change.detail}")
        if verdict == "StableHLO" and change.attribute in options.results and same_results(change):
            problems.append(f"same results: {change.name}: {change.attribute}: {change.detail}")
    for attribute, found in sorted(verdicts.items()):
        reason = {**UNNOTICED, **TRACED}.get(attribute, "")
        print(f"{attribute:45} {', '.join(f'{verdict} {count}' for verdict, count in found.items())}  {reason}")
        if "trace" in found and not {"StableHLO", "JAX"} & found.keys() and not reason and not options.programs:
            problems.append(f"only in traces: {attribute}")
    total = sum(verdicts.values(), Counter[Verdict]())
    print(f"{total.total()} changes: {', '.join(f'{verdict} {count}' for verdict, count in total.items())}")
    print("\n".join(problems))
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(_main())

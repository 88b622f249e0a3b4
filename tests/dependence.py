"""What the analysis says that values depend on, against brute force."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import brainir
from brainir.analysis.dependence.flow import DependenceFlow
from brainir.analysis.dependence.lattice import NOTHING, Dependence, Source
from brainir.analysis.slicing import extract
from brainir.analysis.weights.scan import WeightScan
from brainir.ir.program import Function, Program
from brainir.ir.types import TensorType, is_literal
from tests.brute_force import Mask, seen

__all__ = ["check_every_value", "wrong_zeros"]


def allowed(flow: DependenceFlow, dependence: Dependence, source: int, kind: TensorType) -> Mask:
    """Return which elements of a source each element of a value may depend on."""
    size = flow.sources[source].size
    verdict = dependence.verdict(source)
    mask = np.full((kind.size, size), verdict == "mixing")
    if verdict == "elementwise":
        (where,) = flow.maps(dependence, source, kind.shape)
        where = where.reshape(-1)
        mask[np.flatnonzero(where >= 0), where[where >= 0]] = True
    return mask


def wrong_zeros(
    function: Function,
    flow: DependenceFlow,
    known: Mapping[str, Dependence],
    names: Sequence[str],
    found: list[list[Mask]],
) -> list[str]:
    """Return the values and sources for which the analysis claims a zero that is none."""
    wrong = []
    for name, row in zip(names, found, strict=True):
        dependence = NOTHING if is_literal(name) else known.get(name, NOTHING)
        for source, mask in enumerate(row[: len(flow.sources)]):
            if (mask & ~allowed(flow, dependence, source, function.type_of(name))).any():
                wrong.append(f"{name} by {source}: {dependence.verdict(source)}; {function.producers.get(name)}")
    return wrong


def check_every_value(program: Program, inputs: Sequence[Any], **options: Any) -> None:
    """Compare, for all values of a step, what they depend on with brute force on the regenerated function.

    Parameters
    ----------
    program : Program
    inputs : sequence of array
        The flat inputs of the step, among them the hidden states.
    options
        For :func:`tests.brute_force.seen`.
    """
    scan = WeightScan(program, opening=False)
    function = scan.function
    public = brainir.position_dependence(program)
    constants = {constant.name for constant in function.constants}
    names = [name for name in function.value_types if name not in constants]
    probe, _ = extract("probe", function, scan.program, function.inputs, names)
    run = brainir.to_callable(probe)
    operations = {node.op for each in program.functions for node in each.nodes}
    forward = "custom_vjp" not in operations
    by = [function.inputs.index(hidden.old) for hidden in scan.states.hidden]
    found = seen(lambda *operands: run(*operands), inputs, forward=forward, reverse=not forward, by=by, **options)
    sources = scan.states.sources
    slopes, either = (
        [[_by_position(row[number], source) for number, source in zip(by, sources, strict=True)] for row in rows]
        for rows in (found.slopes, found.either)
    )
    assert wrong_zeros(function, *scan.dependence, names, slopes) == []
    assert wrong_zeros(function, *scan.whole_dependence, names, either) == []
    for name, row in zip(names, either, strict=True):
        for path, mask in zip(public.states, row, strict=True):
            if name in program.entry_function.value_types and public.of(name, path) == "elementwise":
                where = public.index_map(name, path).reshape(-1)
                element, position = np.nonzero(mask)
                np.testing.assert_array_equal(where[element], position)


def _by_position(mask: Mask, source: Source) -> Mask:
    """Join the columns of elements that share a position."""
    joined: Mask = mask.reshape(len(mask), source.size, mask.shape[1] // source.size).any(axis=2)
    return joined

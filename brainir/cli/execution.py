"""The entry of a program as a compiled JAX function of flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from ..backend.evaluate import Evaluator
from ..backend.values import stored_value
from ..ir.errors import EmissionError
from ..ir.program import Program
from ..ir.types import TensorType

__all__ = ["run_entry", "stablehlo"]


def run_entry(program: Program, inputs: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Run the entry once; PRNG keys are their ``uint32`` words, going in and coming out."""
    entry = program.entry_function
    values = [stored_value(array, kind) for array, kind in zip(inputs, entry.input_types, strict=True)]
    results = _compiled(program)(*values)
    return [
        np.asarray(jax.random.key_data(result) if kind.is_key else result)
        for result, kind in zip(results, entry.output_types, strict=True)
    ]


def stablehlo(program: Program) -> str:
    """Return the entry as the text of a StableHLO module, as JAX lowers it; without places in files of this machine.

    Raises
    ------
    EmissionError
        If JAX cannot export the program.
    """
    specs = [*map(_spec, program.entry_function.input_types)]
    try:
        text: str = _compiled(program).lower(*specs).as_text("stablehlo")
    except (NotImplementedError, ValueError) as error:
        raise EmissionError(f"JAX cannot export {program.entry}: {error}") from error
    return text


def _spec(kind: TensorType) -> Any:
    dtype, shape = kind.storage
    return jax.eval_shape(lambda array: stored_value(array, kind), jax.ShapeDtypeStruct(shape, dtype))


def _compiled(program: Program) -> Any:
    if any(TensorType.parse(kind).is_wide for each in program.functions for kind in each.value_types.values()):
        # Only this process is affected, and it runs nothing but the program.
        jax.config.update("jax_enable_x64", True)
    return jax.jit(Evaluator(program).function(program.entry))

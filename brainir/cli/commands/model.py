"""Commands between JAX and stored programs. They import JAX; the others do not."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray

from ...ir.errors import EmissionError
from ...ir.program import Program
from ...ir.types import TensorType
from .. import arrays
from ..output import AsJson, Output, note, print_json, print_table, progress, write_program, write_text
from ..reading import ProgramFile, read_program
from ..targets import lower_target

__all__ = ["export", "lower", "run", "source"]

_SHOWN = 8


def lower(
    target: Annotated[str, typer.Argument(metavar="TARGET", help="package.module:name or file.py:name")],
    inputs: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", metavar="TYPE", help="Type of an input, f32[3,4] or name=f32[3,4]; repeat it."),
    ] = None,
    step: Annotated[bool, typer.Option("--step", help="A pure step fn(params, hidden, *inputs).")] = False,
    output: Output = "-",
    as_json: AsJson = False,
) -> None:
    """Lower a JAX function or a brainstate module.

    TARGET names a function without arguments that returns (model, *inputs); for a step it returns
    (fn, params, hidden, *inputs). With --input it names the model itself, or a function without arguments that
    returns it. A module must have its states initialised. Without --output the program goes to standard output.
    """
    with progress(f"Lowering {target}"):
        program = lower_target(target, inputs or (), step=step)
    write_program(program, output)
    if as_json and output != "-":
        print_json({"entry": program.entry, "kind": program.interface.kind, "nodes": program.node_count()})


def source(
    program: ProgramFile,
    output: Output = "-",
    beside: Annotated[
        bool, typer.Option("--beside", help="Large constants go to an .npz file beside the module.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Write a program as a Python module that needs only jax and numpy."""
    from ...backend.source import save_source, to_source

    loaded = read_program(program)
    if beside:
        if output == "-":
            raise EmissionError("--beside needs a file: give --output model.py")
        save_source(loaded, output)
        note(f"wrote {output}")
        if as_json:
            print_json({"entry": loaded.entry, "module": output})
        return
    with progress("Writing source"):
        text = to_source(loaded)
    if as_json and output == "-":
        print_json({"entry": loaded.entry, "source": text})
        return
    write_text(text, output)
    if as_json:
        print_json({"entry": loaded.entry, "module": output})


def run(
    program: ProgramFile,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--inputs",
            "-i",
            metavar="FILE",
            help="An .npz or JSON file of arrays by name; - is stdin. Repeat it: a later one has precedence.",
        ),
    ] = None,
    zeros: Annotated[bool, typer.Option("--zeros", help="Zeros for inputs that are not given.")] = False,
    output: Annotated[str, typer.Option("--output", "-o", help="An .npz or JSON file for the results.")] = "",
    as_json: AsJson = False,
) -> None:
    """Run a program once.

    Arrays have the names that `brainir show` prints. A new state has the name of the old one, so that the file of
    results can be one of the inputs of the next step; the result is `out`. Values with a unit are numbers in that unit.
    """
    if output:
        arrays.check_output(output)
    loaded = read_program(program)
    names = arrays.result_names(loaded)
    found = {name: array for path in inputs or () for name, array in arrays.read_arrays(path).items()}
    given = arrays.input_arrays(loaded, found, zeros=zeros)
    with progress(f"Running {loaded.entry}"):
        from ..execution import run_entry

        results = dict(zip(names, run_entry(loaded, given), strict=True))
    if output:
        arrays.write_arrays(results, output)
        note(f"wrote {output}: {', '.join(results)}")
    if as_json:
        print_json(arrays.as_lists(results))
    elif not output:
        units = arrays.units_of_results(loaded)
        rows = [
            (name, TensorType(array.dtype.name, array.shape), unit, _values(array))
            for (name, array), unit in zip(results.items(), units, strict=True)
        ]
        print_table("", ("result", "type", "unit", "value"), rows)


def _values(array: NDArray[Any]) -> str:
    if array.size <= _SHOWN:
        return " ".join(map(str, array.ravel().tolist()))
    numbers = array.astype(np.float64) if array.dtype.kind != "c" else np.abs(array)
    return f"{numbers.min():.6g} to {numbers.max():.6g}, mean {numbers.mean():.6g}"


class ExportFormat(enum.StrEnum):
    """What `brainir export` writes."""

    STABLEHLO = "stablehlo"
    DOT = "dot"
    SVG = "svg"
    MERMAID = "mermaid"
    MODEL_EXPLORER = "model-explorer"


def export(
    program: ProgramFile,
    form: Annotated[ExportFormat, typer.Option("--format", "-f", help="What to write.")] = ExportFormat.STABLEHLO,
    output: Output = "-",
    as_json: AsJson = False,
) -> None:
    """Write a program for other tools: StableHLO, or a picture of its graph."""
    loaded = read_program(program, constants=form is ExportFormat.STABLEHLO)
    with progress(f"Exporting {loaded.entry}"):
        text = _exported(loaded, form)
    if as_json and output == "-":
        print_json({"entry": loaded.entry, "format": str(form), "text": text})
        return
    write_text(text, output)
    if as_json:
        print_json({"entry": loaded.entry, "format": str(form), "file": output})


def _exported(program: Program, form: ExportFormat) -> str:
    if form is ExportFormat.STABLEHLO:
        from ..execution import stablehlo

        return stablehlo(program)
    from ... import view

    writers = {
        ExportFormat.DOT: view.to_dot,
        ExportFormat.SVG: view.to_svg,
        ExportFormat.MERMAID: view.to_mermaid,
        ExportFormat.MODEL_EXPLORER: view.to_model_explorer,
    }
    return writers[form](program)

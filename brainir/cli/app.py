"""The table of commands, and what all of them share: the options in front, and how errors are shown."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..ir.errors import BrainIRError, VerificationError
from .commands import analyse, change, check, files, look, model
from .output import report_error

__all__ = ["app"]

_COMMANDS = {
    "Models and programs": (model.lower, model.run, model.source, model.export),
    "Look": (look.show, look.stats, look.view),
    "Check and compare": (check.verify, check.diff, check.schema, files.upgrade),
    "Analyse": (analyse.groups, analyse.relations, analyse.why, analyse.cost, analyse.units, analyse.learner),
    "Change": (change.relabel, change.perturb, change.passes),
}


class _Commands(TyperGroup):
    """Turns the errors of brainir into one block of text and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command; 1 if a program failed verification, 2 for every other error."""
        try:
            return super().invoke(ctx)
        except (BrainIRError, ModuleNotFoundError) as error:
            if ctx.params.get("traceback"):
                traceback.print_exception(error)
            elif isinstance(error, ModuleNotFoundError):
                # Programs are stored, analysed and compared where JAX is not installed.
                report_error(
                    f"brainir {ctx.invoked_subcommand} needs the module {error.name!r}, which is not installed"
                )
            else:
                report_error(error)
            raise typer.Exit(1 if isinstance(error, VerificationError) else 2) from error


def _version(wanted: bool) -> None:
    if wanted:
        from .. import __version__

        typer.echo(f"brainir {__version__}")
        raise typer.Exit


def _options(
    traceback: Annotated[
        bool, typer.Option("--traceback", envvar="BRAINIR_TRACEBACK", help="Show where an error was raised.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Lower JAX programs to a stored IR; look at, check, analyse, compare and run what is stored.

    A PROGRAM is a file that `brainir lower` or `brainir.save` wrote; `-` reads it from standard input. Exit codes: 0
    all is well, 1 a difference, units that do not go together or a program that fails verification, 2 an error.
    """


def _first_line(command: Callable[..., None]) -> str:
    return (inspect.getdoc(command) or "").partition("\n")[0]


def _build() -> typer.Typer:
    made = typer.Typer(
        cls=_Commands,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    made.callback()(_options)
    for panel, commands in _COMMANDS.items():
        for command in commands:
            # Said whole: what click makes of a docstring itself ends in three dots after 45 characters.
            made.command(rich_help_panel=panel, short_help=_first_line(command))(command)
    return made


app = _build()

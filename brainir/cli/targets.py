"""What ``brainir lower`` takes: an import path to a model or function, and its example inputs."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any

from ..ir.errors import BrainIRError, LoweringError
from ..ir.program import Program
from ..ir.types import TensorType

__all__ = ["lower_target"]

_PACKAGE = Path(__file__).parents[1]
_INSTALLED = re.compile(r"^<|[\\/](site|dist)-packages[\\/]|[\\/]lib[\\/]python3")


class TargetError(LoweringError):
    """The command line names something that is not there or not what it should be."""


class _ModelCode:
    """Runs code of the model: whatever it raises is an error of the model, told with the line that raised it."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception) and not isinstance(error, BrainIRError | ModuleNotFoundError):
            said = f"{type(error).__name__}: {error}".rstrip(": ")
            raise TargetError(f"{self._doing} raised {said}{_place(trace)}") from error


def _place(trace: TracebackType | None) -> str:
    """Return the last line of a traceback that is neither brainir's nor that of an installed package."""
    own = [
        frame
        for frame in traceback.extract_tb(trace)
        if not Path(frame.filename).is_relative_to(_PACKAGE) and not _INSTALLED.search(frame.filename)
    ]
    return f"\n  {own[-1].filename}:{own[-1].lineno}, in {own[-1].name}\n    {own[-1].line}" if own else ""


def lower_target(target: str, inputs: Sequence[str], *, step: bool) -> Program:
    """Lower what an import path names.

    Parameters
    ----------
    target : str
        ``package.module:name`` or ``file.py:name``. Without `inputs`, the name is a function without arguments
        that returns ``(model, *inputs)``, model being a function or a brainstate module. With them, it is the
        model, or a function without arguments that returns it.
    inputs : sequence of str
        Types of the inputs, ``f32[3,4]`` or ``name=f32[3,4]`` for one that is passed by keyword.
    step : bool
        The model is a pure step ``fn(params, hidden, *inputs) -> (hidden, out)``.

    Raises
    ------
    TargetError
        If there is no such thing, or it is not a model with inputs.
    LoweringError
        If it cannot be lowered.
    """
    model = _find(target)
    if _is_factory(model):
        model = _called(model, target)
    positional: list[Any] = []
    named: dict[str, Any] = {}
    if inputs:
        for text in inputs:
            name, separator, kind = text.rpartition("=")
            if separator:
                named[name] = _example(kind)
            else:
                positional.append(_example(kind))
    else:
        if not isinstance(model, tuple) or not model or not callable(model[0]):
            raise TargetError(
                f"{target} must be a function without arguments that returns (model, *inputs); "
                "for a model itself, give the types of its inputs, as in --input f32[3,4]"
            )
        model, *positional = model
    return _lower(model, target, positional, named, step=step)


def _lower(model: Any, target: str, positional: list[Any], named: dict[str, Any], *, step: bool) -> Program:
    from .. import lower, lower_module, lower_step

    brainstate = sys.modules.get("brainstate")
    with _ModelCode(f"tracing {target}"):
        if brainstate is not None and isinstance(model, brainstate.nn.Module):
            return lower_module(model, *positional, **named)
        if not callable(model):
            given = type(model).__name__
            raise TargetError(f"{target} gives an object of type {given}, which is no function and no model")
        if not step:
            return lower(model, *positional, **named)
        if named or len(positional) < 2:
            raise TargetError(f"a step needs params and hidden: {target} must return (fn, params, hidden, *inputs)")
        return lower_step(model, *positional)


def _find(target: str) -> Any:
    place, separator, path = target.rpartition(":")
    if not separator or not place or not path:
        raise TargetError(f"{target!r} is not an import path; write package.module:name or file.py:name")
    found: Any = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    for name in path.split("."):
        if not hasattr(found, name):
            known = ", ".join(each for each in getattr(found, "__dict__", ()) if not each.startswith("_"))
            raise TargetError(f"{place} has no {path!r}" + (f"; it has {known}" if known else ""))
        found = getattr(found, name)
    return found


def _import_module(name: str) -> ModuleType:
    # The command is installed elsewhere, and people mean the folder that they are in.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        with _ModelCode(f"importing {name}"):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise TargetError(f"there is no module {name!r} here or among the installed packages") from None
        raise TargetError(f"{name} needs the module {error.name!r}, which is not installed") from error


def _import_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise TargetError(f"there is no file {path}; check the name and the working directory")
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise TargetError(f"{path} cannot be imported; its name must end in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    try:
        with _ModelCode(f"importing {path}"):
            spec.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise TargetError(f"{path} needs the module {error.name!r}, which is not installed") from error
    return module


def _is_factory(found: Any) -> bool:
    """Whether it is a function that takes no arguments; a module is called with its inputs."""
    return inspect.isfunction(found) and not inspect.signature(found).parameters


def _called(factory: Any, target: str) -> Any:
    with _ModelCode(target):
        made = factory()
    if made is None:
        raise TargetError(f"{target} returns None; it must return a model, or (model, *inputs)")
    return made


def _example(text: str) -> Any:
    """Return an input of a type as it is written in programs, weak types and keys included."""
    from ..backend.values import abstract

    return abstract(TensorType.parse(text))

"""The model's line behind an equation, written so that it does not depend on the machine."""

from __future__ import annotations

import functools
import os
import re
import sysconfig
from pathlib import Path
from types import CodeType
from typing import Any

from . import jax_compat

__all__ = ["is_model_file", "source_of"]

_FRAMEWORKS = frozenset(
    [
        "brainevent",
        "brainir",
        "brainpy",
        "brainpy_state",
        "brainscale",
        "brainstate",
        "braintools",
        "braintrace",
        "brainunit",
        "jax",
        "jaxlib",
        "numpy",
        "saiunit",
    ]
)
_STDLIB = os.path.join(sysconfig.get_path("stdlib"), "")
_OWN = os.path.join(str(Path(__file__).parent.parent), "")
_OWN_MODELS = frozenset({os.path.join(_OWN, "brainscale.py")})


@functools.lru_cache(maxsize=4096)
def is_model_file(file: str) -> bool:
    """Whether a file is model code rather than part of Python, JAX or the frameworks on top of it."""
    if not file or file.startswith(_OWN):
        return file in _OWN_MODELS
    _, installed, inside = file.replace(os.sep, "/").rpartition("/site-packages/")
    if installed:
        return inside.partition("/")[0].removesuffix(".py") not in _FRAMEWORKS
    return not file.startswith(_STDLIB)


@functools.lru_cache(maxsize=4096)
def _shown(file: str) -> str:
    """Return the path from the top-level package on; nothing for code typed into a console or notebook."""
    if file.startswith("<") or re.search(r"ipykernel_\d+", file):
        return ""
    path = Path(file)
    top = path.parent
    while (top / "__init__.py").exists() and top != top.parent:
        top = top.parent
    return path.relative_to(top).as_posix()


def _line(code: CodeType, line: int) -> str:
    shown, name = _shown(code.co_filename), _function_name(code)
    return f"{shown}:{line} ({name})" if shown else f"({name})"


def _function_name(code: CodeType) -> str:
    """Return the name of the function around a comprehension, which is no function of its own since Python 3.12."""
    names = code.co_qualname.split(".")
    while len(names) > 1 and names[-1] in ("<listcomp>", "<dictcomp>", "<setcomp>"):
        names = names[:-2] if names[-2] == "<locals>" else names[:-1]
    return names[-1]


def source_of(equation: Any) -> str:
    """Return ``file.py:12 (function)`` for the innermost model code behind an equation, or an empty string."""
    return _source(jax_compat.equation_traceback(equation))


# A traceback is a hashable record of code objects and places in them. The same line gives equal ones.
@functools.lru_cache(maxsize=1 << 14)
def _source(traceback: Any) -> str:
    codes, offsets, line_number = jax_compat.traceback_frames(traceback)
    for code, offset in zip(codes, offsets, strict=True):
        if is_model_file(code.co_filename):
            return _line(code, line_number(code, offset))
        if code.co_filename.startswith(_OWN):
            return ""
    return ""

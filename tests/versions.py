"""What every supported JAX version writes for the programs of the tests: ``python -m tests.versions`` writes the file.

The texts are compared to the byte, by their hash, without the model's lines: which line an equation comes from is what
JAX notes, and that differs inside transformed functions. Where JAX itself traces another computation, `DIFFERENCES`
says from or up to which version, and why.
"""

import hashlib
import importlib.metadata
import json
import re
from collections.abc import Callable
from pathlib import Path

import jax

import brainir

HASHES = Path(__file__).with_name("versions.json")
Versions = tuple[int, ...]
WRITTEN_UNDER: Versions = (0, 10, 2)
"""The JAX of ``.venv``, which writes the files."""


def before(*version: int) -> Callable[[Versions], bool]:
    """Return whether a JAX version is older than this."""
    return lambda found: found < version


def since(*version: int) -> Callable[[Versions], bool]:
    """Return whether a JAX version is this or newer."""
    return lambda found: found >= version


_STATIC_INDEX = "before JAX 0.9.1, indexing with numbers slices in more steps"
_OBJECT = "it is traced to an object with functions (call_hi_primitive)"
DIFFERENCES: dict[str, tuple[Callable[[Versions], bool], str]] = {
    "a result that has no tangent": (since(0, 12), _OBJECT),
    "calls": (since(0, 11, 2), "JAX 0.11.2 keeps calls with inline=True"),
    "gathers": (before(0, 9), "JAX 0.8 does not wrap indices that it takes for valid"),
    "gradient of a choice": (before(0, 10), "JAX 0.10 fills residuals that a branch does not have with empty arrays"),
    "gradient of a loop": (
        lambda version: version < (0, 8, 1) or version >= (0, 11, 2),
        "JAX 0.8.1 adds cotangents in another order; JAX 0.11.2 has other residuals (one_minus_square)",
    ),
    "places of elements in two words": (since(0, 11), "JAX 0.11 takes keys apart with unstack"),
    "polynomials": (since(0, 12), "JAX 0.12 has polynomials as one primitive"),
    "root": (since(0, 11, 2), _OBJECT),
    "rules that use other rules": (before(0, 10), "JAX 0.10 has another derivative of xlogy at NaN"),
    "scatters of extremes": (before(0, 8, 2), "JAX 0.8.0 does not wrap indices that it takes for valid"),
    "shapes": (before(0, 9, 1), _STATIC_INDEX),
    "solve by an inverse": (before(0, 9, 1), _STATIC_INDEX),
    "sparse matrices": (since(0, 12), _OBJECT),
    "tangent of a loop": (since(0, 11, 2), "JAX 0.11.2 has 1 - x * x as one primitive (one_minus_square)"),
}
"""Programs for which JAX traces another computation: in which versions, and why."""


def without_lines(program: brainir.Program) -> str:
    """Return the text of a program without the model's lines."""
    return re.sub(r', "source": "[^"]*"', "", brainir.dumps(program))


def digest(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode()).hexdigest()


def differs(name: str, version: Versions = jax.__version_info__) -> str:
    """Return why a JAX version traces a program otherwise than the one that wrote the file; nothing if it does not."""
    holds, reason = DIFFERENCES.get(name, (lambda _: False, ""))
    return reason if holds(version) else ""


MODELS = Path(__file__).with_name("models") / "versions.json"
_STACK = "before JAX 0.10, jnp.stack is not one operation"
_WIDTH = "braintools 0.4 lets the gradient through the width of a surrogate"
_STACKED = ("GroupedALIF_Delta", "GroupedALIF_ExpCu", "TwoTimescales")


def model_differs(name: str, text: str, version: Versions = jax.__version_info__) -> str:
    """Return why a model is another program than for the versions that wrote the file; nothing if it is not."""
    if name in _STACKED and version < (0, 10):
        return _STACK
    return _WIDTH if "surrogate" in text and _installed("braintools") >= (0, 4) else ""


def _installed(package: str) -> Versions:
    major, minor, *_ = importlib.metadata.version(package).split(".")
    return int(major), int(minor)


def model_texts() -> dict[str, str]:
    """Return the text of every model that can be stored, without the model's lines."""
    from tests.models import MODELS as models

    # Dropout of brainstate checks its rate through a host callback.
    cases = {name: case for name, case in models.items() if name != "dropout_RNN"}
    return {
        name: without_lines(brainir.lower_module(case.build(), *case.inputs(0))) for name, case in sorted(cases.items())
    }


if __name__ == "__main__":
    from tests.programs import PROGRAMS

    found = {
        name: digest(without_lines(brainir.lower(case.fn, *case.args)))
        for name, case in sorted(PROGRAMS.items())
        if case.since <= jax.__version_info__
    }
    HASHES.write_text(json.dumps(found, indent=1) + "\n")
    MODELS.write_text(json.dumps({name: digest(text) for name, text in model_texts().items()}, indent=1) + "\n")

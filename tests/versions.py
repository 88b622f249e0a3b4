"""What every supported JAX version writes for the programs of the tests: ``python -m tests.versions`` writes the file.

The texts are compared to the byte, by their hash, without the model's lines: which line an equation comes from is what
JAX notes, and that differs inside transformed functions. Where JAX itself traces another computation, `DIFFERENCES`
says from or up to which version, and why.
"""

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

import brainir
from tests.compare import JAX

HASHES = Path(__file__).with_name("versions.json")
Versions = tuple[int, int]


def before(*version: int) -> Callable[[Versions], bool]:
    """Return whether a JAX version is older than this."""
    return lambda found: found < version


def since(*version: int) -> Callable[[Versions], bool]:
    """Return whether a JAX version is this or newer."""
    return lambda found: found >= version


_STATIC_INDEX = "before JAX 0.10, indexing with numbers slices in more steps"
_OBJECT = "JAX 0.12 traces it to an object with functions (call_hi_primitive)"
DIFFERENCES: dict[str, tuple[Callable[[Versions], bool], str]] = {
    "a result that has no tangent": (since(0, 12), _OBJECT),
    "calls": (since(0, 12), "JAX 0.12 keeps calls with inline=True"),
    "gathers": (before(0, 9), "JAX 0.8 does not wrap indices that it takes for valid"),
    "gradient of a choice": (before(0, 10), "JAX 0.10 fills residuals that a branch does not have with empty arrays"),
    "gradient of a loop": (
        lambda version: version < (0, 9) or version >= (0, 12),
        "JAX 0.9 adds cotangents in another order; JAX 0.12 has other residuals (one_minus_square)",
    ),
    "places of elements in two words": (since(0, 12), "JAX 0.12 takes keys apart with unstack"),
    "root": (since(0, 12), _OBJECT),
    "rules that use other rules": (before(0, 10), "JAX 0.10 has another derivative of xlogy at NaN"),
    "scatters of extremes": (before(0, 9), "JAX 0.8 does not wrap indices that it takes for valid"),
    "shapes": (before(0, 10), _STATIC_INDEX),
    "solve by an inverse": (before(0, 10), _STATIC_INDEX),
    "sparse matrices": (since(0, 12), _OBJECT),
    "tangent of a loop": (since(0, 12), "JAX 0.12 has 1 - x * x as one primitive (one_minus_square)"),
}
"""Programs for which JAX traces another computation: in which versions, and why."""


def digest(program: brainir.Program) -> str:
    """Return the hash of the text of a program without the model's lines."""
    text = re.sub(r', "source": "[^"]*"', "", brainir.dumps(program))
    return hashlib.sha256(text.encode()).hexdigest()


def differs(name: str, version: Versions = JAX) -> str:
    """Return why a JAX version traces a program otherwise than the one that wrote the file; nothing if it does not."""
    holds, reason = DIFFERENCES.get(name, (lambda _: False, ""))
    return reason if holds(version) else ""


if __name__ == "__main__":
    from tests.programs import PROGRAMS

    found = {
        name: digest(brainir.lower(case.fn, *case.args)) for name, case in sorted(PROGRAMS.items()) if case.since <= JAX
    }
    HASHES.write_text(json.dumps(found, indent=1) + "\n")

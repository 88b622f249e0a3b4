"""Generated modules where little more than jax and numpy can be imported: ``python -m tests.alone FOLDER`` runs them.

:func:`write` puts a module there, with its weights beside it, its arguments, and the StableHLO text of the original.
A module with the same text is the same executable as the original. Those with another text are run, all of them with
``--all``, and :func:`differences` compares what they gave with what the original gives.

Values and derivatives are one computation. This file imports nothing of brainir, so that an environment with jax and
numpy can run it.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from tests.compare import bits, stablehlo
from tests.quick_compile import quick_options

BLOCKED = (
    "brainir", "brainstate", "brainunit", "saiunit", "brainpy", "braintools", "brainevent", "brainscale", "braintrace",
    "pydantic", "safetensors",
)  # fmt: skip
KEYS = {
    "key<fry>": "threefry2x32", "key<fry4>": "threefry4x32", "key<phx2>": "philox2x32", "key<phx4>": "philox4x32",
    "key<rbg>": "rbg", "key<urbg>": "unsafe_rbg",
}  # fmt: skip
ROOT = Path(__file__).parents[1]


class Blocker:
    """Refuses imports of the packages that generated modules do without."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.partition(".")[0] in BLOCKED:
            raise ImportError(f"{name} is blocked")


def is_inexact(leaf: Any) -> bool:
    return bool(jnp.issubdtype(jnp.result_type(leaf), jnp.inexact))


def along(fn: Callable[..., Any], args: tuple[Any, ...]) -> tuple[Callable[..., Any], list[Any]]:
    """Return the inexact results of a function as a function of its inexact arguments, and these."""
    leaves, structure = jax.tree.flatten(args)
    moving = [index for index, leaf in enumerate(leaves) if is_inexact(leaf)]

    def moved(*operands: Any) -> list[Any]:
        full = list(leaves)
        for index, operand in zip(moving, operands, strict=True):
            full[index] = operand
        return [leaf for leaf in jax.tree.leaves(fn(*jax.tree.unflatten(structure, full))) if is_inexact(leaf)]

    return moved, [jnp.asarray(leaves[index]) for index in moving]


def lowered(fn: Callable[..., Any], args: tuple[Any, ...], derivatives: str) -> tuple[Any, str]:
    """Lower what gives a function's results, and its cotangents or, for "forward", its tangents; also as text."""

    # Jitted first: derivatives of a derivative are then added up in the order of its jaxpr, as in a program.
    fn = jax.jit(fn)

    def directions(leaves: list[Any]) -> list[Any]:
        return [jnp.cos(3 * leaf + 1) for leaf in leaves]

    def compute(*args: Any) -> Any:
        results = jax.tree.leaves(fn(*args))
        moved, primals = along(fn, args)
        if not primals or not any(map(is_inexact, results)):
            return results
        if derivatives == "forward":
            return results, jax.jvp(moved, primals, directions(primals))[1]
        found, pull = jax.vjp(moved, *primals)
        return results, pull(directions(found))

    made = jax.jit(compute).lower(*args)
    return made, stablehlo(made)


# Arguments and results as text


def encoded(leaf: Any) -> list[Any]:
    """Return an array, a key or a plain number as what JSON holds."""
    if isinstance(leaf, bool | int | float):
        return ["number", repr(leaf)]
    dtype, shape, data = bits(leaf)
    return [dtype, list(shape), data.hex()]


def decoded(kind: str, *rest: Any) -> Any:
    if kind == "number":
        return ast.literal_eval(rest[0])
    shape, data = rest
    dtype = jnp.uint32 if kind in KEYS else jnp.dtype(kind)
    array = jnp.asarray(np.frombuffer(bytes.fromhex(data), dtype).reshape(shape))
    return jax.random.wrap_key_data(array, impl=KEYS[kind]) if kind in KEYS else array


def outlined(tree: Any, leaves: list[Any]) -> Any:
    """Return a tree of dicts, tuples and lists with numbers in place of its leaves, which go to `leaves`."""
    if type(tree) is dict:
        return {key: outlined(value, leaves) for key, value in tree.items()}
    if type(tree) in (tuple, list):
        return type(tree)(outlined(value, leaves) for value in tree)
    if tree is None:
        return None
    leaves.append(tree)
    return len(leaves) - 1


def filled(outline: Any, leaves: list[Any]) -> Any:
    if isinstance(outline, dict):
        return {key: filled(value, leaves) for key, value in outline.items()}
    if isinstance(outline, tuple | list):
        return type(outline)(filled(value, leaves) for value in outline)
    return None if outline is None else leaves[outline]


class Case(NamedTuple):
    """A generated module and the function that it comes from.

    Parameters
    ----------
    name : str
    save : callable
        Writes the module to a path.
    entry : str
        The function of the module.
    fn : callable
        The original, with the calling convention of the module for plain arrays.
    args : tuple
        Arrays and numbers in dicts, tuples and lists.
    derivatives : {"both", "forward", "reverse"}
        Which derivatives JAX has of the original.
    """

    name: str
    save: Callable[[Path], None]
    entry: str
    fn: Callable[..., Any]
    args: tuple[Any, ...]
    derivatives: str = "both"

    def place(self, folder: Path) -> Path:
        return folder / "".join(letter if letter.isalnum() else "_" for letter in self.name)


def write(folder: Path, cases: Iterable[Case]) -> None:
    """Write cases, each into a folder of its own."""
    for case in cases:
        place = case.place(folder)
        place.mkdir(parents=True)
        case.save(place / "module.py")
        leaves: list[Any] = []
        written = {
            "entry": case.entry,
            "arguments": repr(outlined(case.args, leaves)),
            "leaves": [*map(encoded, leaves)],
            "derivatives": case.derivatives,
            "text": lowered(case.fn, case.args, case.derivatives)[1],
        }
        (place / "case.json").write_text(json.dumps(written))


def run(folder: Path, python: str = sys.executable, *options: str) -> str:
    """Run the modules of a folder in a process of their own, and return what it says."""
    # jax is installed here, but nothing beside this file is, so only the folder and the root of the tests are given.
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [python, "-W", "error", "-m", "tests.alone", str(folder), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=environment)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    return done.stdout.strip()


def differences(folder: Path, cases: Iterable[Case]) -> Iterator[str]:
    """Yield what modules gave that differs, in any bit, from what the original gives.

    Derivatives around barriers, which the compiler groups as they come, can be rounded otherwise.
    """
    for case in cases:
        place = case.place(folder)
        found = json.loads((place / "found.json").read_text())
        if found == "the same executable":
            continue
        made, text = lowered(case.fn, case.args, case.derivatives)
        results = made.compile(compiler_options=quick_options())(*case.args)
        values = len(results[0]) if isinstance(results, tuple) else len(results)
        expected = [*map(encoded, jax.tree.leaves(results))]
        if len(found) != len(expected):
            yield f"{case.name}: {len(found)} leaves instead of {len(expected)}"
        for index, (got, wanted) in enumerate(zip(found, expected, strict=False)):
            is_loose = index >= values and "optimization_barrier" in text
            if got != wanted and not (is_loose and is_rounding(decoded(*got), decoded(*wanted))):
                yield f"{case.name}: leaf {index} is {decoded(*got)} instead of {decoded(*wanted)}"


def is_rounding(found: Any, wanted: Any) -> bool:
    """Whether a derivative differs from another one by no more than single precision rounds."""
    return found.shape == wanted.shape and bool(np.abs(found - wanted).max() <= 1e-6 * np.abs(wanted).max())


# In the process that has only jax and numpy


def find(place: Path, *, always: bool) -> Any:
    """Return the results of a module, or that they are those of the original."""
    case = json.loads((place / "case.json").read_text())
    spec = importlib.util.spec_from_file_location(place.name, place / "module.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    args = filled(ast.literal_eval(case["arguments"]), [decoded(*leaf) for leaf in case["leaves"]])
    made, text = lowered(getattr(module, case["entry"]), args, case["derivatives"])
    if text == case["text"] and not always:
        return "the same executable"
    return [*map(encoded, jax.tree.leaves(made.compile(compiler_options=quick_options())(*args)))]


def main(folder: Path, *, always: bool) -> int:
    sys.meta_path.insert(0, Blocker())
    places = sorted(path for path in folder.iterdir() if path.is_dir())
    count = 0
    for place in places:
        found = find(place, always=always)
        count += found != "the same executable"
        (place / "found.json").write_text(json.dumps(found))
    loaded = sorted({name.partition(".")[0] for name in sys.modules} & set(BLOCKED))
    print(f"{len(places)} modules, {count} of them run" + (f"; loaded: {loaded}" if loaded else ""))
    return bool(loaded)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), always="--all" in sys.argv))

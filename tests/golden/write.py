"""Write golden files that are not there yet: ``python -m tests.golden.write`` in the root of the repository.

A file that exists is never written again. It shows that programs which were stored once are still read, have the same
fingerprint and give the same results. What the installed JAX does not have, another one writes. Of programs that JAX
versions trace in different ways, each JAX version keeps a file of its own, which the others run.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import json
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import brainir
from brainir.ir.constant import Constant
from brainir.ir.ops import Broadcast, Callback, CustomCall, RaggedAllToAll
from brainir.ir.program import SCHEMA_VERSION, Function, Program
from brainir.ir.types import DTYPES, USED_BITS, TensorType
from tests.compare import JAX
from tests.golden.operations import KEPT, OPERATIONS
from tests.golden.run import changed, checksums, run
from tests.programs import PROGRAMS_HERE
from tests.versions import differs

FOLDER = Path(__file__).parent


OLDEST = (0, 8)
"""The oldest JAX that is supported."""


class Pair(NamedTuple):
    """A result with two fields."""

    first: Any
    second: Any


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Scaled:
    """A value with a static field."""

    value: Any
    scale: float = dataclasses.field(metadata={"static": True})


@jax.custom_jvp
def spike(v: Any) -> Any:
    """Step function with a triangular surrogate derivative."""
    return (v > 0).astype(v.dtype)


@spike.defjvp
def _spike_jvp(primals: Any, tangents: Any) -> Any:
    (v,) = primals
    return spike(v), jnp.maximum(0.0, 1.0 - jnp.abs(v)) * tangents[0]


@jax.custom_vjp
def clip_gradient(x: Any) -> Any:
    """Identity whose cotangent is clipped."""
    return x


clip_gradient.defvjp(lambda x: (x, ()), lambda _, g: (jnp.clip(g, -1.0, 1.0),))

X, M = jnp.linspace(-1.5, 2.0, 4), jnp.sin(jnp.arange(12.0)).reshape(3, 4)
DECAY = jnp.array([0.9, 0.5, 0.25])
LARGE = (np.arange(66_000) % 251).astype(np.uint8)


def _elementary(x: Any, y: Any) -> Any:
    return jnp.tanh(x) * 2.0 + y, lax.integer_pow(x, 3), jnp.where(x > 0.5, x, -y), lax.round(x), x.astype(jnp.bfloat16)


def _containers(pair: dict[str, Any], nothing: None, *, gain: Any) -> Any:
    x, y = pair["x"], pair["y"][0]
    return OrderedDict(z=Pair(x * gain, [y]), a={3: Scaled(x + y, 0.5)}), nothing


def _recurrent(params: Any, hidden: Any, x: Any) -> Any:
    v = DECAY * hidden["v"] + params["w"] @ x - hidden["s"]
    s = spike(v - 1.0)
    return {"s": s, "v": v}, s.sum()


def _loops(w: Any, xs: Any) -> Any:
    def advance(h: Any, x: Any) -> Any:
        h = lax.cond(x.sum() > 0, jnp.tanh, lambda h: h * 0.5, h @ w + x)
        return h, h[0]

    last, firsts = lax.scan(advance, xs[0], xs, reverse=True)
    return lax.while_loop(lambda c: c[0] < 5, lambda c: (c[0] + 1, c[1] * 1.5), (0, last)), firsts


def _indexing(x: Any, rows: Any) -> Any:
    table = x[rows].at[:, 1].add(3.0)
    return table, lax.dynamic_slice(x, (rows[0], 0), (2, 2)), jnp.cumsum(x, axis=1), jnp.argmax(x, axis=0), x.T[::-1]


def _contractions(x: Any, y: Any) -> Any:
    batched = lax.dot_general(x, y, (((2,), (1,)), ((0,), (0,))), precision=lax.Precision.HIGHEST)
    return batched, jnp.pad(x, ((0, 0), (1, 0), (0, 2))), x.reshape(4, 6).max(axis=1), jnp.concatenate([x, x], axis=2)


def _random(seed: Any) -> Any:
    key = jax.random.key(seed)
    first, second = jax.random.split(key)
    return jax.random.bits(first, (3,)), jax.random.uniform(jax.random.fold_in(second, 7), (2,))


def _gradients(x: Any) -> Any:
    return jax.value_and_grad(lambda x: (clip_gradient(jnp.sin(x) * 3.0) * spike(x)).sum())(x)


def _large(x: Any) -> Any:
    return jnp.asarray(LARGE)[::1000] * x


FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "elementary": (_elementary, (X, X[::-1]), {}),
    "containers": (_containers, ({"x": X, "y": (X + 1,)}, None), {"gain": jnp.float32(2.0)}),
    "loops": (_loops, (0.1 * jnp.eye(4), M), {}),
    "indexing": (_indexing, (M, jnp.array([1, 0])), {}),
    "contractions": (_contractions, (jnp.arange(24.0).reshape(2, 3, 4), jnp.ones((2, 4, 3))), {}),
    "random": (_random, (jnp.uint32(3),), {}),
    "gradients": (_gradients, (X,), {}),
    "large": (_large, (jnp.uint8(3),), {}),
}


def _element_types() -> Program:
    """Return a program that holds a constant of every element type but those of 64 bits, which JAX has off."""
    constants = []
    for name, dtype in DTYPES.items():
        if name != "float0" and not TensorType(name, ()).is_wide:
            octets = bytes(k & (1 << USED_BITS.get(name, 8)) - 1 for k in range(0, 256, 5 if dtype.itemsize > 1 else 9))
            array = np.frombuffer(octets[: len(octets) // dtype.itemsize * dtype.itemsize], dtype)
            constants.append(Constant.of(f"c_{name}", TensorType(name, array.shape), array))
    body = Function(
        name="element_types", inputs=(), types=(), constants=tuple(constants), outputs=("c_float16", "c_bool")
    )
    lowered = brainir.lower(lambda: (jnp.zeros(3), jnp.zeros(3)))
    return lowered.replace(entry="element_types", functions=(body,))


Made = tuple[Program, tuple[Any, ...]]
"""A program and inputs of its entry."""


def _programs() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Yield the name of each golden file, and what makes its program."""
    for name, (fn, args, kwargs) in FUNCTIONS.items():
        yield name, functools.partial(_function, name, fn, args, kwargs)
    for name, case in OPERATIONS.items():
        if case.since <= JAX:
            yield name, functools.partial(_function, name, case.fn, case.args, {})
    yield "recurrent", _step
    yield "element_types", lambda: (_element_types(), ())
    for name in ("Gif_Delta", "GatedGRU", "ALIF_STPExpCu"):
        yield f"module_{name}", functools.partial(_module, name)


WRITTEN_BY_ALL = ("GroupedALIF_Delta", "IF_Delta", "LRU")
"""Models of which each JAX version keeps a file."""


def _programs_of_this_jax() -> Iterator[tuple[str, Callable[[], Made]]]:
    """Yield what makes each program that this JAX writes in another way than others, and of some models."""
    for name, case in PROGRAMS_HERE.items():
        if differs(name):
            yield name.replace(" ", "_"), functools.partial(_function, name, case.fn, case.args, {})
    if importlib.util.find_spec("brainpy") is not None:
        for name in WRITTEN_BY_ALL:
            yield f"module_{name}", functools.partial(_module, name)


def _function(name: str, fn: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Made:
    program = brainir.lower(fn, *args, keep=KEPT.get(name, ()), **kwargs).replace(metadata=(("model", name),))
    return program, tuple(jax.tree.leaves((args, kwargs)))


def _step() -> Made:
    params, hidden = {"w": M}, {"v": DECAY, "s": jnp.zeros(3)}
    return brainir.lower_step(_recurrent, params, hidden, X), tuple(jax.tree.leaves((params, hidden, X)))


def _module(name: str) -> Made:
    # Needs brainstate and brainpy, which the oldest JAX does not have.
    from tests.models.cases import MODELS

    case = MODELS[name]
    module = case.build()
    program = brainir.lower_module(module, *case.inputs(0))
    states = brainir.read_states(module, program)
    given = jax.tree.leaves(([states[state.path] for state in program.interface.states], case.inputs(0)))
    return program, tuple(getattr(leaf, "mantissa", leaf) for leaf in given)


def stored(value: Any) -> dict[str, str]:
    """Return an array as a constant is stored."""
    array = np.asarray(value)
    return Constant.of("x", TensorType(array.dtype.name, array.shape), array).model_dump()


def _write(folder: Path, name: str, program: Program, inputs: tuple[Any, ...]) -> None:
    brainir.save(program, folder / f"{name}.json")
    record: dict[str, Any] = {"fingerprint": brainir.fingerprint(program)}
    # What the caller binds is no part of the file, and so no part of what the file promises; some run on GPUs only.
    without = Callback | CustomCall | Broadcast | RaggedAllToAll
    if not any(isinstance(node, without) for body in program.functions for node in body.nodes):
        record["inputs"] = [stored(value) for value in inputs]
        record["outputs"] = [stored(value) for value in run(program, inputs)]
    if name in OPERATIONS and OPERATIONS[name].since > OLDEST:
        record["since"] = OPERATIONS[name].since
    (folder / f"{name}.results").write_text(json.dumps(record, indent=1) + "\n")


def _write_all(folder: Path, programs: Iterator[tuple[str, Callable[[], Made]]]) -> None:
    folder.mkdir(exist_ok=True)
    if (folder / "SHA256SUMS").exists() and (edited := changed(folder)):
        raise SystemExit(f"golden files are never edited; restore these: {edited}")
    for title, make in programs:
        if not (folder / f"{title}.json").exists():
            _write(folder, title, *make())
    (folder / "SHA256SUMS").write_text(checksums(folder))


if __name__ == "__main__":
    _write_all(FOLDER / f"version_{SCHEMA_VERSION}", _programs())
    _write_all(FOLDER / f"jax_{JAX[0]}.{JAX[1]}", _programs_of_this_jax())

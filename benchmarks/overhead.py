"""What brainir adds to the time that JAX takes: lowering, tracing what was regenerated, running it, and reading files.

Run it with ``make bench`` or ``python benchmarks/overhead.py``. All numbers are ratios within one run. Every call
traces a new function with the same body, so that JAX traces it from scratch; of functions further in, such as those of
``jax.numpy``, both sides have in memory what they remembered, or nothing. The sides take turns, and the least time of
each counts, of the processor for what one thread does, and of the clock for running. Each side starts when the garbage
collector has just looked through the process, so that none pays for what another left.

first    ``lower``, verification included, to ``make_jaxpr``, where neither remembers anything; bound 1.5, with
         derivative rules 2.5
lower    the same where both remember what they met before; bound 1.5
build    ``to_callable`` and ``make_jaxpr`` of what it returns, to that of the original, neither remembering anything;
         bound 1.2
retrace  ``make_jaxpr`` of a regenerated function to that of the original, where both were traced before; bound 1.2
run      the regenerated function, compiled, to the original; bound 1, but for noise; XLA takes minutes
         for the first, and a module is compiled with what keeps its states
load     ``loads``, verification included, to ``make_jaxpr``; bound 1

Some rows are beyond some bounds. Bare calls of ``jax.lax`` are what JAX traces quickest; building comes on top. Three
calls of ``jnp.linalg`` are traced by JAX from its memory, in the time of three equations; reading the file is not. A
function that is nothing but a derivative rule, and a solver with the rule of its adjoint equation, show what it costs
to trace rules once in a process: ``make_jaxpr`` does not look at them. The last two rows are over the programs of the
tests, most of a few equations, which JAX traces in less than half a millisecond: half of them, and nine of ten, cost no
more than this. Those beyond a bound are named.
"""

from __future__ import annotations

import functools
import gc
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import brainstate
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jax.experimental.ode import odeint

import brainir
from brainir.frontend.memory import forgetting
from brainir.ir.collector import collector_paused
from tests.models.cases import MODELS
from tests.programs import PROGRAMS_HERE

REPEATS, FIRST_REPEATS, SMALL_REPEATS = 5, 3, 30
EQUATIONS = 20_000


class Workload(NamedTuple):
    """How a program is traced and lowered anew, and how the original and what is regenerated are called."""

    trace: Callable[[], object]
    lower: Callable[[], brainir.Program]
    original: Callable[..., Any]
    regenerated: Callable[[brainir.Program], Callable[..., Any]]
    args: tuple[Any, ...]
    compiles: bool = True


def chain(x: Any, w: Any) -> Any:
    """Return 5,000 layers of four operations each."""
    for _ in range(EQUATIONS // 4):
        x = jnp.tanh(x) * w + 0.5 * x
    return x


def bare_chain(x: Any, w: Any) -> Any:
    """Return 1,000 layers of four operations of ``jax.lax`` each."""
    for _ in range(1_000):
        x = lax.add(lax.mul(lax.tanh(x), w), lax.mul(x, w))
    return x


def solutions(a: Any, b: Any) -> Any:
    """Return an inverse, a solution and a determinant."""
    return jnp.linalg.inv(a), jnp.linalg.solve(a, b), jnp.linalg.det(a)


def decay(y: Any, times: Any) -> Any:
    """Return the solution of a differential equation, whose derivative is an adjoint equation."""
    return odeint(lambda y, t: -y * jnp.cos(t), y, times)


@jax.custom_jvp
def spike(v: Any) -> Any:
    """Step function with a triangular surrogate derivative."""
    return (v > 0).astype(v.dtype)


@spike.defjvp
def _spike_jvp(primals: Any, tangents: Any) -> Any:
    (v,) = primals
    return spike(v), jnp.maximum(0.0, 1.0 - jnp.abs(v)) * tangents[0]


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def clipped(x: Any, limit: float) -> Any:
    """Identity whose cotangent is clipped."""
    return x


clipped.defvjp(lambda x, limit: (x, ()), lambda limit, _, g: (jnp.clip(g, -limit, limit),))


def spiking_layers(params: Any, hidden: Any, x: Any) -> Any:
    """Take a step of ten layers of adaptive neurons."""
    new = []
    for weights, state in zip(params, hidden, strict=True):
        current = jnp.tanh(x @ weights["in"]) + state["s"] @ weights["rec"]
        v = clipped(0.9 * state["v"] + current - state["s"] * weights["threshold"], 1.0)
        a = 0.99 * state["a"] + 0.01 * state["s"]
        x = spike(v - weights["threshold"] - 0.1 * a)
        new.append({"v": v, "a": a, "s": x})
    return new, x


def spiking_network(width: int = 32, layers: int = 10) -> tuple[Any, Any, Any]:
    """Return parameters, hidden states and an input of :func:`spiking_layers`."""
    rng = np.random.default_rng(0)

    def square() -> Any:
        return jnp.asarray(0.3 * rng.normal(size=(width, width)), jnp.float32)

    params = [{"in": square(), "rec": square(), "threshold": jnp.ones(width)} for _ in range(layers)]
    hidden = [{name: jnp.zeros(width) for name in "vas"} for _ in range(layers)]
    return params, hidden, jnp.ones(width)


def attention(weights: Any, x: Any) -> Any:
    """Return multi-head causal self-attention of ``(time, width)``."""
    q, k, v = jnp.moveaxis((x @ weights["qkv"]).reshape(len(x), 3, 4, -1), 1, 0)
    scores = jnp.einsum("thd,shd->hts", q, k) / np.sqrt(q.shape[-1])
    scores = jnp.where(jnp.tril(jnp.ones((len(x), len(x)), bool)), scores, -1e9)
    return jnp.einsum("hts,shd->thd", jax.nn.softmax(scores), v).reshape(x.shape) @ weights["out"]


def normalised(scale: Any, x: Any) -> Any:
    """Return layer normalisation without offset."""
    centred = x - x.mean(-1, keepdims=True)
    return scale * centred * lax.rsqrt((centred**2).mean(-1, keepdims=True) + 1e-5)


def transformer_loss(params: Any, tokens: Any) -> Any:
    """Return the cross entropy of the next token."""
    x = params["embedding"][tokens[:-1]]
    for block in params["blocks"]:
        x = x + attention(block["attention"], normalised(block["first"], x))
        x = x + jax.nn.gelu(normalised(block["second"], x) @ block["up"]) @ block["down"]
    logits = x @ params["embedding"].T
    return optax.softmax_cross_entropy_with_integer_labels(logits, tokens[1:]).mean()


OPTIMIZER = optax.adamw(1e-3)


def train_step(params: Any, state: Any, tokens: Any) -> Any:
    """Take one step of AdamW."""
    loss, gradients = jax.value_and_grad(transformer_loss)(params, tokens)
    updates, state = OPTIMIZER.update(gradients, state, params)
    return optax.apply_updates(params, updates), state, loss


def transformer(layers: int = 12, width: int = 16, vocabulary: int = 32, length: int = 12) -> tuple[Any, Any, Any]:
    """Return parameters, the state of the optimizer, and tokens."""
    rng = np.random.default_rng(0)

    def weight(*shape: int) -> Any:
        return jnp.asarray(0.1 * rng.normal(size=shape), jnp.float32)

    blocks = [
        {
            "attention": {"qkv": weight(width, 3 * width), "out": weight(width, width)},
            "first": jnp.ones(width),
            "second": jnp.ones(width),
            "up": weight(width, 4 * width),
            "down": weight(4 * width, width),
        }
        for _ in range(layers)
    ]
    params = {"embedding": weight(vocabulary, width), "blocks": blocks}
    return params, OPTIMIZER.init(params), jnp.asarray(rng.integers(0, vocabulary, length))


def function_workload(fn: Callable[..., Any], args: tuple[Any, ...], compiles: bool = True) -> Workload:
    """Return how to treat a function."""
    return Workload(
        trace=lambda: jax.make_jaxpr(lambda *given: fn(*given))(*args),
        lower=lambda: brainir.lower(lambda *given: fn(*given), *args),
        original=fn,
        regenerated=brainir.to_callable,
        args=args,
        compiles=compiles,
    )


def module_workload(name: str) -> Workload:
    """Return how to treat a brainstate module; brainstate traces it for both sides."""
    case = MODELS[name]
    module, inputs = case.build(), case.inputs(0)
    program = brainir.lower_module(module, *inputs)
    states = brainir.read_states(module, program)

    def trace() -> object:
        function = brainstate.transform.StatefulFunction(lambda *given: module(*given), return_only_write=False)
        return function.make_jaxpr(*inputs)

    return Workload(
        trace, lambda: brainir.lower_module(module, *inputs), module, brainir.to_callable, (states, *inputs), False
    )


def least(
    actions: dict[str, Callable[[], object]],
    clock: Callable[[], float],
    repeats: int,
    before: Callable[[], object] = lambda: None,
) -> dict[str, float]:
    """Return the least time of each action, in seconds; they take turns, and something is done before each."""
    times = dict.fromkeys(actions, float("inf"))
    for _ in range(repeats):
        for name, action in actions.items():
            before()
            start = clock()
            action()
            times[name] = min(times[name], clock() - start)
    return times


def forget() -> None:
    """Forget what JAX and brainir remember of what they traced and lowered."""
    jax.clear_caches()
    forgetting.forget()
    gc.collect()


def ratios(work: Workload) -> dict[str, float]:
    """Return a row of the table."""
    program = work.lower()
    text = brainir.dumps(program)
    regenerated = work.regenerated(program)

    def build() -> None:
        jax.make_jaxpr(work.regenerated(program))(*work.args)

    first = least(
        {"trace": work.trace, "first": work.lower, "build": build}, time.process_time, FIRST_REPEATS, before=forget
    )
    again = least(
        {
            "trace": work.trace,
            "lower": work.lower,
            "retrace": lambda: jax.make_jaxpr(lambda *given: regenerated(*given))(*work.args),
            "load": lambda: brainir.loads(text),
        },
        time.process_time,
        REPEATS,
        before=gc.collect,
    )
    found = {name: spent[name] / spent["trace"] for spent in (first, again) for name in spent if name != "trace"}
    if not work.compiles:
        return found
    ours, theirs = jax.jit(regenerated), jax.jit(work.original)
    run = least(
        {
            "ours": lambda: jax.block_until_ready(ours(*work.args)),
            "theirs": lambda: jax.block_until_ready(theirs(*work.args)),
        },
        time.perf_counter,
        300,
    )
    return {**found, "run": run["ours"] / run["theirs"]}


def small_ratios() -> dict[str, list[tuple[float, str]]]:
    """Return the ratios of the programs of the tests with their names, in order, for some columns of the table."""
    found: dict[str, list[tuple[float, str]]] = {"lower": [], "retrace": []}
    for title, case in PROGRAMS_HERE.items():
        work = function_workload(case.fn, case.args)
        regenerated = work.regenerated(work.lower())
        sides = {"lower": work.lower, "retrace": function_workload(regenerated, case.args).trace}
        gc.collect()
        for name, side in sides.items():
            with collector_paused():
                spent = least({"trace": work.trace, name: side}, time.process_time, SMALL_REPEATS)
            found[name].append((spent[name] / spent["trace"], title))
    return {name: sorted(each) for name, each in found.items()}


HEADER = ("first", "lower", "build", "retrace", "run", "load")
BOUNDS = {"lower": 1.5, "retrace": 1.2}


def show(title: str, row: dict[str, float]) -> None:
    """Print a row of the table."""
    cells = (f"{row[name]:9.2f}" if name in row else f"{'-':>9}" for name in HEADER)
    print(f"{title:22}" + "".join(cells), flush=True)


if __name__ == "__main__":
    workloads = {
        "20,000 equations": function_workload(chain, (jnp.ones(16), jnp.ones(16)), compiles=False),
        "spiking layers": function_workload(spiking_layers, spiking_network()),
        "transformer": function_workload(train_step, transformer()),
        "the guide's network": module_workload("ALIF_STPExpCu"),
        "a cell of brainstate": module_workload("GRUCell"),
        "calls of jax.lax": function_workload(bare_chain, (jnp.ones(16), jnp.ones(16)), compiles=False),
        "jnp.linalg": function_workload(solutions, (jnp.eye(4), jnp.ones(4))),
        "jax.nn.relu alone": function_workload(jax.nn.relu, (jnp.ones(16),)),
        "odeint": function_workload(decay, (jnp.ones(4), jnp.linspace(0.0, 1.0, 3))),
    }
    print(f"{'to tracing with JAX':22}" + "".join(f"{name:>9}" for name in HEADER))

    for title, workload in workloads.items():
        show(title, ratios(workload))
    small = small_ratios()
    for title, share in {"half of the tests'": 0.5, "nine of ten": 0.9}.items():
        show(title, {name: each[int(share * (len(each) - 1))][0] for name, each in small.items()})
    for column, bound in BOUNDS.items():
        beyond = [f"{title} {ratio:.2f}" for ratio, title in small[column] if ratio > bound]
        print(f"{column} beyond {bound}: {', '.join(beyond) or 'none'}")

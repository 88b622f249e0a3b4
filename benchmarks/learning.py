"""Online learning: brainir against braintrace, same model, data and process, and against the speed of memory.

Times are the shortest of compiled sequences that run in turn, divided by their steps; what counts are the ratios. Run
with ``make bench BENCHMARKS=benchmarks/learning.py``.
"""

import argparse
import functools
import time
from collections.abc import Callable
from typing import Any

import brainpy
import brainstate
import braintools
import braintrace
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

import brainir

STEPS = 50
STEPS_OF_BATCHES = 10
MEMORY = 3 / 5
"""What the traces may take, of what braintrace's take."""

DT = 0.1 * u.ms


class Network(brainstate.nn.Module):
    """Spiking neurons behind one dense layer on the input and on the recurrent spikes.

    Parameters
    ----------
    n_in, n_rec : int
    plastic : bool
        The guide's network, with adaptation and short-term plasticity; else leaky neurons.
    """

    def __init__(self, n_in: int, n_rec: int, *, plastic: bool) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        blocks = [rng.normal(0, np.sqrt(2 / size), (size, n_rec)) for size in (n_in, n_rec)]
        weight = jnp.asarray(np.concatenate(blocks), jnp.float32) * u.mS
        common = {"tau": 5.0 * u.ms, "V_th": 1.0 * u.mV, "spk_fun": braintools.surrogate.ReluGrad()}
        self.neu = (
            brainpy.state.ALIF(n_rec, tau_a=100.0 * u.ms, beta=0.1 * u.mV, spk_reset="soft", **common)
            if plastic
            else brainpy.state.LIF(n_rec, spk_reset="soft", **common)
        )
        self.stp = brainpy.state.STP(n_rec, tau_f=500.0 * u.ms, tau_d=100.0 * u.ms) if plastic else None
        self.syn = brainpy.state.AlignPostProj(
            comm=braintrace.nn.Linear(n_in + n_rec, n_rec, w_init=weight, b_init=braintools.init.ZeroInit(unit=u.mS)),
            syn=brainpy.state.Expon.desc(n_rec, tau=10.0 * u.ms),
            out=brainpy.state.CUBA.desc(),
            post=self.neu,
        )

    def update(self, x: jax.Array) -> jax.Array:
        """Take one step and return the spikes."""
        spikes = self.neu.get_spike()
        recurrent = spikes if self.stp is None else self.stp(spikes)
        self.syn(jnp.concatenate([x, recurrent], axis=-1))
        self.neu()
        return self.neu.get_spike()


def loss(out: jax.Array, target: jax.Array) -> jax.Array:
    """Return the mean squared error."""
    return jnp.mean((out - target) ** 2)


def fastest(runs: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Run all in turn, at least twice and for some seconds; return the shortest time of each, in ms."""
    found = dict.fromkeys(runs, float("inf"))
    start, rounds = time.perf_counter(), 0
    while rounds < 2 or (time.perf_counter() - start < seconds and rounds < 100):
        for name, run in runs.items():
            before = time.perf_counter()
            jax.block_until_ready(run())
            found[name] = min(found[name], 1e3 * (time.perf_counter() - before))
        rounds += 1
    return found


def size(tree: Any) -> int:
    """Return the bytes of all arrays."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def sequence(n_in: int, n_rec: int, batch: int | None) -> tuple[jax.Array, jax.Array]:
    """Return inputs and targets."""
    rng = np.random.default_rng(1)
    lead = (STEPS,) if batch is None else (STEPS_OF_BATCHES, batch)
    xs = 3.0 * (rng.random((*lead, n_in)) < 0.1)
    return jnp.asarray(xs, jnp.float32), jnp.asarray(rng.random((*lead, n_rec)) < 0.05, jnp.float32)


def ours(model: Network, algorithm: str, xs: jax.Array, targets: jax.Array, options: dict[str, Any]) -> Any:
    """Compile brainir's run; return it, the bytes of its traces and the seconds that building and compiling took."""
    start = time.perf_counter()
    program = brainir.lower_module(model, xs[0])
    learner = brainir.compile_learner(program, algorithm, loss=loss, **options)
    states = brainir.read_states(model, program)
    params = {path: value for path, value in states.items() if isinstance(model.states()[path], brainstate.ParamState)}
    carry = learner.init(states)
    compiled = jax.jit(learner.run).lower(params, carry, xs, targets).compile()
    jax.block_until_ready(compiled(params, carry, xs, targets))
    return lambda: compiled(params, carry, xs, targets), size(carry["traces"]), time.perf_counter() - start


def step_by_step(model: Network, xs: jax.Array, targets: jax.Array) -> Any:
    """Compile a scan of brainir's D-RTRL step, which keeps the traces up to date at every step."""
    program = brainir.lower_module(model, xs[0])
    learner = brainir.compile_learner(program, loss=loss)
    states = brainir.read_states(model, program)
    params = {path: value for path, value in states.items() if isinstance(model.states()[path], brainstate.ParamState)}

    def run(carry: Any, xs: jax.Array, targets: jax.Array) -> Any:
        def body(state: Any, given: Any) -> Any:
            carry, total = state
            carry, value, grads = learner.step(params, carry, *given)
            return (carry, jax.tree.map(jnp.add, total, grads)), value

        return jax.lax.scan(body, (carry, jax.tree.map(jnp.zeros_like, params)), (xs, targets))

    carry = learner.init(states)
    compiled = jax.jit(run).lower(carry, xs, targets).compile()
    return lambda: compiled(carry, xs, targets)


def theirs(model: Network, algorithm: str, xs: jax.Array, targets: jax.Array, options: dict[str, Any]) -> Any:
    """Do the same with braintrace."""
    start = time.perf_counter()
    batch = xs.shape[1] if xs.ndim > 2 else None
    with brainstate.environ.context(fit=True):
        learner = braintrace.compile(model, algorithm, xs[0], batch_size=batch, **options)
    params = model.states(brainstate.ParamState)

    @brainstate.transform.jit
    def run(xs: jax.Array, targets: jax.Array) -> Any:
        def body(total: Any, given: Any) -> Any:
            x, target = given
            gradient = brainstate.transform.grad(lambda: loss(learner(x), target), params, return_value=True)
            grads, value = gradient()
            return jax.tree.map(jnp.add, total, grads), value

        return brainstate.transform.scan(body, jax.tree.map(jnp.zeros_like, params.to_dict_values()), (xs, targets))

    jax.block_until_ready(run(xs, targets))
    traces = learner.states(braintrace.EligibilityTrace) if hasattr(braintrace, "EligibilityTrace") else {}
    kept = size([state.value for state in traces.values()])
    return lambda: run(xs, targets), kept, time.perf_counter() - start


def streaming(arrays: int, rows: int, columns: int) -> Callable[[], Any]:
    """Compile a sequence of steps that do nothing but read and write some arrays, in place and on all cores."""

    @jax.jit
    def run(values: Any) -> Any:
        def body(values: Any, _: None) -> Any:
            return [0.999 * value + 0.001 for value in values], None

        return jax.lax.scan(body, values, None, length=STEPS)[0]

    values = [jnp.ones((rows, columns)) for _ in range(arrays)]
    jax.block_until_ready(run(values))
    return lambda: run(values)


def build(n_in: int, n_rec: int, batch: int | None, *, plastic: bool) -> Network:
    """Return a network with its states initialised."""
    model = Network(n_in, n_rec, plastic=plastic)
    brainstate.nn.init_all_states(model, **({} if batch is None else {"batch_size": batch}))
    return model


def compare(name: str, n_in: int, n_rec: int, batch: int | None, plastic: bool, algorithm: str, seconds: float) -> None:
    """Print one line: our time and theirs, and theirs by ours; the same for memory, and for building."""
    xs, targets = sequence(n_in, n_rec, batch)
    low_rank = algorithm == "es_d_rtrl"
    network = functools.partial(build, n_in, n_rec, batch, plastic=plastic)
    mine, mine_bytes, mine_build = ours(network(), algorithm, xs, targets, {"decay": 0.9} if low_rank else {})
    peer, peer_bytes, peer_build = theirs(network(), algorithm, xs, targets, {"decay_or_rank": 0.9} if low_rank else {})
    times = fastest({"ours": mine, "theirs": peer}, seconds)
    print(
        f"{name:<28} {times['ours'] / len(xs):8.3f} {times['theirs'] / len(xs):9.3f} ms"
        f" {times['theirs'] / times['ours']:7.1f}x  {mine_bytes / 1e6:7.2f} {peer_bytes / 1e6:7.2f} MB"
        f" {mine_bytes / peer_bytes:5.2f}  {mine_build:6.1f} {peer_build:6.1f} s {mine_build / peer_build:5.2f}",
        flush=True,
    )
    if algorithm == "d_rtrl" and mine_bytes > MEMORY * peer_bytes:
        raise SystemExit(f"the traces take {mine_bytes / peer_bytes:.2f} of braintrace's, more than {MEMORY}")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each line")
    parser.add_argument("--small", action="store_true", help="128 neurons instead of 512")
    given = parser.parse_args()
    brainstate.environ.set(dt=DT)
    n_in, n_rec = 100, 128 if given.small else 512
    # What is loaded at the first use belongs to no line.
    tiny = sequence(3, 4, None)
    ours(build(3, 4, None, plastic=True), "d_rtrl", *tiny, {})
    theirs(build(3, 4, None, plastic=True), "d_rtrl", *tiny, {})
    print(
        f"one step, {n_in} inputs, {n_rec} neurons; traces; building, compiling and the first run: brainir, braintrace"
    )
    for algorithm, plastic, batch in (
        ("d_rtrl", True, None),
        ("d_rtrl", False, None),
        ("es_d_rtrl", True, None),
        ("es_d_rtrl", False, None),
        ("d_rtrl", True, 16),
        ("d_rtrl", False, 16),
    ):
        name = f"{algorithm}, {'guide' if plastic else 'LIF'}{'' if batch is None else f', batch {batch}'}"
        compare(name, n_in, n_rec, batch, plastic, algorithm, given.seconds)
    xs, targets = sequence(n_in, n_rec, None)
    runs = {
        "streaming": streaming(3, n_in + n_rec, n_rec),
        "scan of step": step_by_step(build(n_in, n_rec, None, plastic=True), xs, targets),
        "run": ours(build(n_in, n_rec, None, plastic=True), "d_rtrl", xs, targets, {})[0],
    }
    times = fastest(runs, given.seconds)
    for name in ("scan of step", "run"):
        ratio = times[name] / times["streaming"]
        print(f"d_rtrl, guide, {name}: {ratio:.1f} times the streaming of the two live traces and the gradient")


if __name__ == "__main__":
    main()

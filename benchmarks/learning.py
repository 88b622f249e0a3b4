"""Online learning: brainir against braintrace, same model, data and process, and against the speed of memory.

Every number is the best of several runs of a compiled sequence, divided by its steps. Run with ``make bench``.
"""

import argparse
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


def best(run: Callable[[], Any], repeats: int) -> float:
    """Return the shortest time of a call, in ms for each step."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        times.append(time.perf_counter() - start)
    return 1e3 * min(times) / STEPS


def size(tree: Any) -> int:
    """Return the bytes of all arrays."""
    return sum(leaf.nbytes for leaf in jax.tree.leaves(tree))


def sequence(n_in: int, n_rec: int, batch: int | None) -> tuple[jax.Array, jax.Array]:
    """Return inputs and targets."""
    rng = np.random.default_rng(1)
    lead = (STEPS,) if batch is None else (STEPS, batch)
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


def streaming(arrays: int, rows: int, columns: int, repeats: int) -> float:
    """Return the time of reading and writing some arrays once."""

    @jax.jit
    def run(values: Any) -> Any:
        def body(values: Any, _: None) -> Any:
            return [0.999 * value + 0.001 for value in values], None

        return jax.lax.scan(body, values, None, length=STEPS)[0]

    values = [jnp.ones((rows, columns)) for _ in range(arrays)]
    jax.block_until_ready(run(values))
    return best(lambda: run(values), repeats)


def compare(name: str, n_in: int, n_rec: int, batch: int | None, plastic: bool, algorithm: str, repeats: int) -> None:
    """Print one line."""
    xs, targets = sequence(n_in, n_rec, batch)
    decay = 0.9 if algorithm == "es_d_rtrl" else None

    def build() -> Network:
        model = Network(n_in, n_rec, plastic=plastic)
        brainstate.nn.init_all_states(model, **({} if batch is None else {"batch_size": batch}))
        return model

    mine, mine_bytes, mine_build = ours(build(), algorithm, xs, targets, {} if decay is None else {"decay": decay})
    peer, peer_bytes, peer_build = theirs(
        build(), algorithm, xs, targets, {} if decay is None else {"decay_or_rank": decay}
    )
    rounds = [(best(mine, repeats), best(peer, repeats)) for _ in range(2)]
    mine_ms, peer_ms = (min(each) for each in zip(*rounds, strict=True))
    memory = f"{mine_bytes / 1e6:7.2f} MB {peer_bytes / 1e6:7.2f} MB" if peer_bytes else f"{mine_bytes / 1e6:7.2f} MB"
    print(
        f"{name:<34} {mine_ms:8.3f} ms {peer_ms:8.3f} ms {peer_ms / mine_ms:6.1f}x   {memory}   "
        f"{mine_build:5.1f} s {peer_build:5.1f} s"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="128 neurons instead of 512")
    given = parser.parse_args()
    brainstate.environ.set(dt=DT)
    n_in, n_rec = 100, 128 if given.small else 512
    print(f"time of a step, memory of the traces, time to build and compile; {n_in} inputs, {n_rec} neurons")
    print(f"{'':<34} {'brainir':>11} {'braintrace':>11} {'':>7}   {'brainir':>10} {'braintrace':>10}   build")
    for algorithm in ("d_rtrl", "es_d_rtrl"):
        for plastic in (True, False):
            network = "guide's network" if plastic else "LIF network"
            compare(f"{algorithm}, {network}", n_in, n_rec, None, plastic, algorithm, given.repeats)
    for plastic in (True, False):
        name = f"d_rtrl, {'guide' if plastic else 'LIF'}, batch 16"
        compare(name, n_in, n_rec, 16, plastic, "d_rtrl", given.repeats)
    model = Network(n_in, n_rec, plastic=True)
    brainstate.nn.init_all_states(model)
    xs, targets = sequence(n_in, n_rec, None)
    single = step_by_step(model, xs, targets)
    run, _, _ = ours(model, "d_rtrl", xs, targets, {})
    floor = streaming(3, n_in + n_rec, n_rec, given.repeats)
    for name, ms in (("run", best(run, given.repeats)), ("scan of step", best(single, given.repeats))):
        print(f"d_rtrl, guide's network, {name}: {ms / floor:.1f} times the streaming of two traces and the gradient")


if __name__ == "__main__":
    main()

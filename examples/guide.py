"""The guide's network, end to end: a module becomes IR, is analysed, and comes back as JAX.

Run it with ``make demo``. It writes ``guide.json`` and ``guide_source.py`` into a folder (``build/demo`` unless another
is given as the first argument), and exits with an error if original and regenerated step differ in a single bit.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

import brainir
from brainir.brainscale import ALIF_STPExpCu_Dense_Layer

STEPS = 100
N_IN, N_REC = 3, 4

Step = Callable[[Any, Any], tuple[Any, Any]]


def heading(text: str) -> None:
    """Print a section heading."""
    print(f"\n── {text} {'─' * max(0, 88 - len(text))}")


def make_network() -> brainstate.nn.Module:
    """Build the network with the same weights at every call."""
    brainstate.environ.set(dt=0.1 * u.ms)
    brainstate.random.seed(1)
    network = ALIF_STPExpCu_Dense_Layer(N_IN, N_REC)
    brainstate.nn.init_all_states(network)
    return network


def inputs() -> Iterator[jax.Array]:
    """Yield the input of each step, strong enough for spikes."""
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        yield jnp.asarray(rng.random(N_IN) * 60, jnp.float32)


def bits(tree: Any) -> list[bytes]:
    """Return the bytes of every array of a pytree."""
    return [np.asarray(leaf).tobytes() for leaf in jax.tree.leaves(tree)]


def compare(name: str, program: brainir.Program, step: Step, *, jit: bool) -> None:
    """Run a regenerated step beside the module and check that spikes and states agree to the bit."""
    network = make_network()
    original: Callable[[Any], Any] = network
    if jit:
        original, step = brainstate.transform.jit(lambda x: network(x)), jax.jit(step)
    states, spikes = brainir.read_states(network, program), 0
    for t, x in enumerate(inputs()):
        expected = original(x)
        states, out = step(states, x)
        if bits((out, states)) != bits((expected, brainir.read_states(network, program))):
            sys.exit(f"{name}: step {t} differs from the module")
        spikes += int(jnp.sum(out))
    if not spikes:
        sys.exit(f"{name}: the network is silent, so the comparison says little")
    print(f"  {name:<28} {'with' if jit else 'without':>7} jit: {STEPS} steps agree to the bit ({spikes} spikes)")


def main(folder: Path) -> None:
    """Lower, analyse, store, regenerate, compare."""
    network = make_network()
    program = brainir.lower_module(network, next(inputs()))

    heading("module information")
    print(brainir.module_info(program))
    heading("hidden groups")
    for group in brainir.find_hidden_groups(program):
        print(group)
    heading("parameter-to-state relations")
    for relation in brainir.find_hidden_param_op_relations(program):
        print(relation)
    heading("perturbation")
    print(brainir.add_hidden_perturbation(program))

    heading("the program (first 12 nodes)")
    lines = str(program).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("def "))
    print("\n".join([*lines[start : start + 13], "  ..."]))

    heading("stored and loaded")
    folder.mkdir(parents=True, exist_ok=True)
    brainir.save(program, folder / "guide.json")
    loaded = brainir.load(folder / "guide.json")
    source = brainir.to_source(loaded)
    (folder / "guide_source.py").write_text(source)
    for file in ("guide.json", "guide_source.py"):
        print(f"  {folder / file}: {(folder / file).stat().st_size:,} bytes")
    print(f"  fingerprint {brainir.fingerprint(loaded)[:16]}, equal: {loaded == program}")

    heading("original and regenerated")
    namespace: dict[str, Any] = {}
    exec(compile(source, str(folder / "guide_source.py"), "exec"), namespace)
    steps = {"callable from the JSON": brainir.to_callable(loaded), "Python source": namespace[loaded.entry]}
    for name, step in steps.items():
        for jit in (False, True):
            compare(name, loaded, step, jit=jit)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/demo"))

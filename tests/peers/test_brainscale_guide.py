"""The guide's code gives the same with ``import brainscale`` as with ``from brainir import brainscale``."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import brainpy
import brainscale as peer
import brainstate
import braintools
import braintrace
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import brainscale as ours
from tests.compare import assert_same_bits

N_IN, N_REC = 3, 4
SEED = 38
Make = Callable[[], brainstate.nn.Module]


def inputs(t: int) -> jax.Array:
    """Return the input of step `t`, strong enough that neurons spike."""
    return jnp.asarray(3.0 * np.random.default_rng((SEED, t)).random(N_IN), dtype=jnp.float32)


class GuideNetwork(brainstate.nn.Module):
    """The guide's network around a dense layer of a given class.

    Parameters
    ----------
    linear : type
        Called as ``linear(n_in, n_out, w_init=..., b_init=...)``.
    """

    def __init__(self, linear: type) -> None:
        super().__init__()
        rng = np.random.default_rng(SEED)
        blocks = [rng.normal(0.0, np.sqrt(2.0 / size), (size, N_REC)) for size in (N_IN, N_REC)]
        weight = jnp.asarray(np.concatenate(blocks), dtype=jnp.float32)
        self.neu = brainpy.state.ALIF(
            N_REC,
            tau=5.0 * u.ms,
            tau_a=100.0 * u.ms,
            V_th=1.0 * u.mV,
            beta=0.1 * u.mV,
            spk_fun=braintools.surrogate.ReluGrad(),
            spk_reset="soft",
        )
        self.stp = brainpy.state.STP(N_REC, tau_f=500.0 * u.ms, tau_d=100.0 * u.ms)
        self.syn = brainpy.state.AlignPostProj(
            comm=linear(N_IN + N_REC, N_REC, w_init=weight * u.mS, b_init=braintools.init.ZeroInit(unit=u.mS)),
            syn=brainpy.state.Expon.desc(N_REC, tau=10.0 * u.ms),
            out=brainpy.state.CUBA.desc(),
            post=self.neu,
        )

    def update(self, x: jax.Array) -> jax.Array:
        released = self.stp(self.neu.get_spike())
        self.syn(jnp.concatenate([x, released], axis=-1))
        self.neu()
        spikes: jax.Array = self.neu.get_spike()
        return spikes


def ready(make: Make) -> brainstate.nn.Module:
    """Make a module with initialised states; two calls give equal values."""
    brainstate.environ.set(dt=0.1 * u.ms)
    brainstate.random.seed(SEED)
    module = make()
    brainstate.nn.init_all_states(module)
    return module


def kind(var: Any) -> tuple[str, tuple[int, ...]]:
    """Return element type and shape of a JAX variable or of a brainir value."""
    array = getattr(var, "aval", var)
    return str(array.dtype), tuple(array.shape)


def guide(brainscale: ModuleType, module: brainstate.nn.Module) -> dict[str, Any]:
    """Run the guide, and return what it shows; brainscale's lists have no fixed order, so they are sets here."""
    info = brainscale.extract_module_info(module, inputs(0))
    groups, group_of = brainscale.find_hidden_groups_from_minfo(info)
    relations = brainscale.find_hidden_param_op_relations_from_minfo(info, group_of)
    perturbation = brainscale.add_hidden_perturbation_from_minfo(info)
    perturbed = zip(perturbation.perturb_hidden_paths, perturbation.perturb_vars, strict=True)
    return {
        "states": len(info.compiled_model_states),
        "old hidden values": {tuple(path): kind(var) for path, var in info.hidden_path_to_invar.items()},
        "new hidden values": {tuple(path): kind(var) for path, var in info.hidden_path_to_outvar.items()},
        "parameters": {tuple(path): [kind(var) for var in found] for path, found in info.weight_path_to_invars.items()},
        "groups": {
            frozenset(map(tuple, group.hidden_paths)): (
                len(group.hidden_states),
                sorted(map(kind, group.hidden_invars)),
                sorted(map(kind, group.hidden_outvars)),
            )
            for group in groups
        },
        "group of": {tuple(path): frozenset(map(tuple, group.hidden_paths)) for path, group in group_of.items()},
        "relations": sorted(
            (
                tuple(each.path),
                kind(each.x),
                kind(each.y),
                [sorted(map(tuple, group.hidden_paths)) for group in each.hidden_groups],
                sorted(map(tuple, each.connected_hidden_paths)),
            )
            for each in relations
        ),
        "perturbations": {tuple(path): kind(var) for path, var in perturbed},
        "perturbed states": len(perturbation.perturb_hidden_states),
    }


def renamed(found: dict[str, Any], old: tuple[str, ...], new: tuple[str, ...]) -> dict[str, Any]:
    """Return what the guide shows, with one parameter path replaced."""
    return {
        **found,
        "parameters": {new if path == old else path: kinds for path, kinds in found["parameters"].items()},
        "relations": [(new if path == old else path, *rest) for path, *rest in found["relations"]],
    }


def peer_network() -> brainstate.nn.Module:
    """Make the network as the guide has it, with brainscale's own layer."""
    return GuideNetwork(peer.nn.Linear)


def test_the_guide_gives_the_same_for_brainscales_own_layer() -> None:
    module = ready(peer_network)
    assert guide(ours, module) == guide(peer, module)


def test_the_guide_gives_what_it_says() -> None:
    found = guide(ours, ready(peer_network))
    counts = [len(found[name]) for name in ("old hidden values", "groups", "group of", "relations", "perturbations")]
    assert counts == [5, 1, 5, 1, 5]
    assert found["states"] == 6
    assert found["parameters"] == {("syn", "comm", "weight_op"): [("float32", (4,)), ("float32", (7, 4))]}


@pytest.mark.parametrize(
    ("make", "parameter"),
    [
        (lambda: GuideNetwork(brainstate.nn.Linear), "weight"),
        (lambda: GuideNetwork(braintrace.nn.Linear), "weight"),
        (lambda: ours.ALIF_STPExpCu_Dense_Layer(N_IN, N_REC), "weight_op"),
    ],
    ids=["brainstate's Linear", "braintrace's Linear", "ALIF_STPExpCu_Dense_Layer"],
)
def test_the_guide_gives_the_same_for_other_layers(make: Make, parameter: str) -> None:
    expected = guide(peer, ready(peer_network))
    module = ready(make)
    found = guide(ours, module)
    assert renamed(found, ("syn", "comm", parameter), ("syn", "comm", "weight_op")) == expected
    # brainscale sees no parameter here, but it sees the same states.
    seen = guide(peer, module)
    assert seen == {**found, "parameters": {}, "relations": []}


# By name, brainscale looks its activations up in a module of brainstate that is deprecated.
CELLS: dict[str, Make] = {
    "brainscale GRUCell": lambda: peer.nn.GRUCell(N_IN, N_REC, activation=jnp.tanh),
    "brainscale LSTMCell": lambda: peer.nn.LSTMCell(N_IN, N_REC, activation=jnp.tanh),
    "brainscale ValinaRNNCell": lambda: peer.nn.ValinaRNNCell(N_IN, N_REC, activation=jnp.tanh),
    "braintrace GRUCell": lambda: braintrace.nn.GRUCell(N_IN, N_REC, activation=jnp.tanh),
    "braintrace LSTMCell": lambda: braintrace.nn.LSTMCell(N_IN, N_REC, activation=jnp.tanh),
    "braintrace ValinaRNNCell": lambda: braintrace.nn.ValinaRNNCell(N_IN, N_REC, activation=jnp.tanh),
}
NETWORKS: dict[str, Make] = {
    "brainscale network": peer_network,
    "braintrace network": lambda: GuideNetwork(braintrace.nn.Linear),
}


# A weight that reaches the state through another weight only is no relation; brainscale warns of it.
RESET_GATE = pytest.mark.filterwarnings(r"ignore:\s*Warning. The ETraceParam \('Wr', 'weight_op'\):UserWarning")


@pytest.mark.parametrize("name", [pytest.param("GRUCell", marks=RESET_GATE), "LSTMCell", "ValinaRNNCell"])
def test_the_guide_gives_the_same_for_the_cells_of_both(name: str) -> None:
    """The weights of braintrace's cells are called ``weight``, those of brainscale's ``weight_op``."""
    module = ready(CELLS[f"brainscale {name}"])
    expected = guide(peer, module)
    assert expected["relations"]
    assert guide(ours, module) == expected
    found = guide(ours, ready(CELLS[f"braintrace {name}"]))
    for path in list(found["parameters"]):
        found = renamed(found, path, (*path[:-1], "weight_op"))
    assert found == expected


@pytest.mark.parametrize("name", [*CELLS, *NETWORKS])
def test_operators_of_both_are_dense_weights(name: str) -> None:
    program = brainir.lower_module(ready({**CELLS, **NETWORKS}[name]), inputs(0))
    relations = brainir.find_hidden_param_op_relations(program)
    assert relations
    for relation in relations:
        assert relation.kind == "dense"
        assert sorted(leaf.part for leaf in relation.leaves) == ["bias", "weight"]


@pytest.mark.parametrize("name", [*CELLS, *NETWORKS])
def test_regenerated_step_equals_the_module_to_the_bit_over_20_steps(name: str) -> None:
    module = ready({**CELLS, **NETWORKS}[name])
    program = brainir.loads(brainir.dumps(brainir.lower_module(module, inputs(0))))
    step = jax.jit(brainir.to_callable(program))
    original = brainstate.transform.jit(lambda x: module(x))
    states = brainir.read_states(module, program)
    moved = False
    for t in range(20):
        states, out = step(states, inputs(t))
        assert_same_bits(out, original(inputs(t)), f"out of step {t}")
        assert_same_bits(states, brainir.read_states(module, program), f"states after step {t}")
        moved |= bool(np.any(np.asarray(out) != 0.0))
    assert moved

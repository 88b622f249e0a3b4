"""The table of models, with the inputs of their steps and what the analyses should find in them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import brainpy
import brainstate
import brainunit as u
import jax.numpy as jnp
import numpy as np

from .cells import (
    LRU,
    CountingRNN,
    DropoutRNN,
    GatedGRU,
    GatedLSTM,
    MiniGRU,
    MiniLSTM,
    MinimalRNN,
    NestedInputs,
    TwoLayerGRU,
    TwoTimescales,
)
from .networks import (
    ALIFSTPExpCuDense,
    Clocked,
    DeltaDense,
    ExpCoDense,
    ExpCuDense,
    GroupedALIF,
    Observed,
    PoissonDriven,
    PreExpCuDense,
    Timed,
    TwoLayerLIF,
    alif,
    exp_if,
    gif,
    lif,
    std,
    stp,
)
from .parameters import BATCH, DT, N_IN, N_REC, SEED, Kaiming


@dataclass(frozen=True)
class ModelCase:
    """A model, the inputs of its steps, and what the analyses should find in it.

    Attributes
    ----------
    name : str
        Key of the case in `MODELS`.
    build : callable
        Seeds brainstate's generator, makes the module and initialises all of its states. Two calls give equal
        states. A model that draws from ``brainstate.random`` must be built again before each run that is to
        be repeated: building resets the global generator, and running moves it on.
    inputs : callable
        ``inputs(t)`` is the tuple of positional arguments of step ``t``; it depends on ``t`` only.
    counts : tuple of int, optional
        Hidden states, hidden groups, parameter-to-state relations and perturbations, where they are known.
    """

    name: str
    build: Callable[[], brainstate.nn.Module]
    inputs: Callable[[int], tuple[Any, ...]]
    counts: tuple[int, int, int, int] | None = None


def uniform(*shape: int, scale: float = 1.0) -> Callable[[int], tuple[Any, ...]]:
    """Return inputs of one array of `shape`, uniform in ``[0, scale)`` and new at each step."""

    def inputs(t: int) -> tuple[Any, ...]:
        return (jnp.asarray(scale * np.random.default_rng((SEED, t)).random(shape), dtype=jnp.float32),)

    return inputs


def timed(t: int) -> tuple[Any, ...]:
    """Return the time of step `t`, a quantity in ms, and a strong input."""
    return (jnp.float32(t) * DT, *uniform(N_IN, scale=6.0)(t))


def currents(t: int) -> tuple[Any, ...]:
    """Return input currents that make the neurons spike."""
    (x,) = uniform(N_IN, scale=30.0)(t)
    return (x * u.mA,)


def nested(t: int) -> tuple[Any, ...]:
    """Return the two arguments of `NestedInputs` at step `t`."""
    (x,) = uniform(2 * N_IN + 3)(t)
    sides = {"left": x[:N_IN], "right": x[N_IN : 2 * N_IN]}
    return sides, (x[-3], (x[-2], x[-1]))


def case(
    name: str,
    make: Callable[[], brainstate.nn.Module],
    inputs: Callable[[int], tuple[Any, ...]],
    counts: tuple[int, int, int, int] | None = None,
    batch_size: int | None = None,
) -> ModelCase:
    """Make a `ModelCase`.

    Parameters
    ----------
    name, inputs, counts
        As in `ModelCase`.
    make : callable
        Makes the module; `ModelCase.build` calls it and initialises the states.
    batch_size : int, optional
        Leading axis of the hidden states.
    """

    def build() -> brainstate.nn.Module:
        brainstate.environ.set(dt=DT)
        brainstate.random.seed(SEED)
        module = make()
        if batch_size is None:
            brainstate.nn.init_all_states(module)
        else:
            brainstate.nn.init_all_states(module, batch_size=batch_size)
        return module

    return ModelCase(name, build, inputs, counts)


WEAK = uniform(N_IN)
STRONG = uniform(N_IN, scale=3.0)

_CASES = (
    # Spiking networks. The guide's network comes first.
    case("ALIF_STPExpCu_Dense", lambda: ALIFSTPExpCuDense(N_IN, N_REC), STRONG, (5, 1, 1, 5)),
    case("IF_Delta", lambda: DeltaDense(brainpy.state.IF(N_REC), N_IN), WEAK, (1, 1, 1, 1)),
    case("ALIF_Delta", lambda: DeltaDense(alif(), N_IN), WEAK, (2, 1, 1, 2)),
    case("LIF_ExpCu", lambda: ExpCuDense(lif(), N_IN), STRONG, (2, 1, 1, 2)),
    case("LIF_STDExpCu", lambda: ExpCuDense(lif(), N_IN, std()), STRONG, (3, 1, 1, 3)),
    case("LIF_STPExpCu", lambda: ExpCuDense(lif(), N_IN, stp()), STRONG, (4, 1, 1, 4)),
    case("ALIF_ExpCu", lambda: ExpCuDense(alif(), N_IN), STRONG, (3, 1, 1, 3)),
    case("ALIF_STDExpCu", lambda: ExpCuDense(alif(), N_IN, std()), STRONG, (4, 1, 1, 4)),
    case("ALIF_STPExpCu", lambda: ExpCuDense(alif(), N_IN, stp()), STRONG, (5, 1, 1, 5)),
    case("LIF_ExpCo", lambda: ExpCoDense(lif(), N_IN), STRONG, (4, 1, 3, 4)),
    case("ALIF_ExpCo", lambda: ExpCoDense(alif(), N_IN), STRONG, (5, 1, 3, 5)),
    case("LIF_PreExpCu", lambda: PreExpCuDense(lif(), N_IN), STRONG, (2, 1, 2, 2)),
    case("GroupedALIF_Delta", lambda: DeltaDense(GroupedALIF(N_REC), N_IN), WEAK, (1, 1, 1, 1)),
    case("GroupedALIF_ExpCu", lambda: ExpCuDense(GroupedALIF(N_REC), N_IN), STRONG, (2, 1, 1, 2)),
    case("Gif_Delta", lambda: DeltaDense(gif(), N_IN), WEAK, (4, 1, 1, 4)),
    case("Gif_ExpCu", lambda: ExpCuDense(gif(), N_IN), STRONG, (5, 1, 1, 5)),
    case("GifRef_ExpCu", lambda: Timed(ExpCuDense(gif(refractory=True), N_IN)), timed, (5, 1, 1, 5)),
    case(
        "LIFRef_Delta",
        lambda: Clocked(DeltaDense(brainpy.state.LIFRef(N_REC, tau_ref=0.5 * u.ms), N_IN)),
        WEAK,
        (1, 1, 1, 1),
    ),
    case(
        "ExpIF_Delta",
        lambda: DeltaDense(exp_if(), N_IN),
        uniform(N_IN, scale=5.0),
        (1, 1, 1, 1),
    ),
    case("AdExIF_Delta", lambda: DeltaDense(brainpy.state.AdExIF(N_REC), N_IN), STRONG, (2, 1, 1, 2)),
    case(
        "Izhikevich_Delta",
        lambda: DeltaDense(brainpy.state.Izhikevich(N_REC), N_IN),
        uniform(N_IN, scale=30.0),
        (2, 1, 1, 2),
    ),
    case("two_layer_LIF", TwoLayerLIF, uniform(N_IN, scale=10.0), (5, 3, 3, 5)),
    case(
        "batched_LIF_ExpCu",
        lambda: ExpCuDense(lif(), N_IN),
        uniform(BATCH, N_IN, scale=3.0),
        (2, 1, 1, 2),
        BATCH,
    ),
    case("observed_ALIF", Observed, currents, (2, 1, 1, 2)),
    case("poisson_LIF_Delta", PoissonDriven, WEAK, (1, 1, 1, 1)),
    # Rate networks.
    case(
        "ValinaRNNCell",
        lambda: brainstate.nn.ValinaRNNCell(N_IN, N_REC, w_init=Kaiming()),
        WEAK,
        (1, 1, 1, 1),
    ),
    case("GRUCell", lambda: brainstate.nn.GRUCell(N_IN, N_REC, w_init=Kaiming()), WEAK, (1, 1, 2, 1)),
    case("MGUCell", lambda: brainstate.nn.MGUCell(N_IN, N_REC, w_init=Kaiming()), WEAK, (1, 1, 2, 1)),
    # One fused weight each, not the one per gate that the known counts are for.
    case("LSTMCell", lambda: brainstate.nn.LSTMCell(N_IN, N_REC, w_init=Kaiming()), WEAK),
    case("URLSTMCell", lambda: brainstate.nn.URLSTMCell(N_IN, N_REC, w_init=Kaiming()), WEAK),
    case("GatedGRU", lambda: GatedGRU(N_IN, N_REC), WEAK, (1, 1, 2, 1)),
    case("GatedLSTM", lambda: GatedLSTM(N_IN, N_REC), WEAK, (2, 1, 4, 2)),
    case("MinimalRNN", lambda: MinimalRNN(N_IN, N_REC), WEAK, (1, 1, 2, 1)),
    case("MiniGRU", lambda: MiniGRU(N_IN, N_REC), WEAK, (1, 1, 2, 1)),
    case("MiniLSTM", lambda: MiniLSTM(N_IN, N_REC), WEAK, (1, 1, 3, 1)),
    case("LRU", lambda: LRU(N_IN, N_REC), WEAK, (2, 1, 5, 2)),
    case("TwoTimescales", lambda: TwoTimescales(N_IN, N_REC), WEAK, (1, 1, 1, 1)),
    case("two_layer_GRU", TwoLayerGRU, WEAK, (2, 2, 4, 2)),
    case("batched_GatedGRU", lambda: GatedGRU(N_IN, N_REC), uniform(BATCH, N_IN), (1, 1, 2, 1), BATCH),
    case("dropout_RNN", DropoutRNN, WEAK, (1, 1, 1, 1)),
    case("nested_inputs", lambda: NestedInputs(N_IN, N_REC), nested, (1, 1, 3, 1)),
    case("counting_RNN", lambda: CountingRNN(N_IN, N_REC), WEAK, (1, 1, 1, 1)),
)

MODELS: dict[str, ModelCase] = {model.name: model for model in _CASES}

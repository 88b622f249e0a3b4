"""Drop-in for the names that brainscale's guide "IR analysis and optimization" uses.

Change ``import brainscale`` to ``from brainir import brainscale`` and the guide runs, on plain brainstate layers and on
brainscale's and braintrace's own. The functions return brainir's results, with the fields that the guide names.
"""

from __future__ import annotations

from typing import Any

import brainstate

from .analysis import (
    HiddenGroup,
    HiddenParamOpRelation,
    HiddenPerturbation,
    ModuleInfo,
    add_hidden_perturbation,
    find_hidden_groups,
    find_hidden_param_op_relations,
    module_info,
)
from .frontend.module import lower_module
from .ir.errors import AnalysisError, BrainIRError
from .ir.model import StatePath
from .ir.program import Program

__all__ = [
    "ALIF_STPExpCu_Dense_Layer",
    "add_hidden_perturbation_from_minfo",
    "add_hidden_perturbation_in_module",
    "extract_module_info",
    "find_hidden_groups_from_minfo",
    "find_hidden_groups_from_module",
    "find_hidden_param_op_relations_from_minfo",
    "find_hidden_param_op_relations_from_module",
]

Groups = tuple[tuple[HiddenGroup, ...], dict[StatePath, HiddenGroup]]


def extract_module_info(model: Any, *args: Any, **kwargs: Any) -> ModuleInfo:
    """Lower one step of a module and return its states, parameters and program.

    Parameters
    ----------
    model : brainstate.nn.Module
        With its states initialised.
    *args, **kwargs
        Example inputs of one step.

    Raises
    ------
    LoweringError, StateError
        As :func:`brainir.lower_module`.
    """
    return module_info(lower_module(model, *args, **kwargs))


def _program(minfo: ModuleInfo) -> Program:
    if not isinstance(minfo, ModuleInfo):
        raise AnalysisError(f"minfo is what extract_module_info gives, not {type(minfo).__name__}")
    return minfo.closed_jaxpr


def find_hidden_groups_from_minfo(minfo: ModuleInfo) -> Groups:
    """Return the hidden groups, and the group of each hidden state by path."""
    groups = find_hidden_groups(_program(minfo))
    return groups, {path: group for group in groups for path in group.hidden_paths}


def find_hidden_groups_from_module(model: Any, *args: Any, **kwargs: Any) -> Groups:
    """Lower one step of a module and return its hidden groups, and the group of each hidden state by path."""
    return find_hidden_groups_from_minfo(extract_module_info(model, *args, **kwargs))


def find_hidden_param_op_relations_from_minfo(
    minfo: ModuleInfo, hid_path_to_group: dict[StatePath, HiddenGroup] | None = None
) -> tuple[HiddenParamOpRelation, ...]:
    """Return the relations between weight operations and the hidden states that they drive.

    Parameters
    ----------
    minfo : ModuleInfo
    hid_path_to_group : dict, optional
        As :func:`find_hidden_groups_from_minfo` gives it; it follows from `minfo` and need not be given.
    """
    del hid_path_to_group
    return find_hidden_param_op_relations(_program(minfo))


def find_hidden_param_op_relations_from_module(
    model: Any, *args: Any, **kwargs: Any
) -> tuple[HiddenParamOpRelation, ...]:
    """Lower one step of a module and return its relations."""
    return find_hidden_param_op_relations_from_minfo(extract_module_info(model, *args, **kwargs))


def add_hidden_perturbation_from_minfo(minfo: ModuleInfo) -> HiddenPerturbation:
    """Return the program with a perturbation added to the new value of each hidden state."""
    return add_hidden_perturbation(_program(minfo))


def add_hidden_perturbation_in_module(model: Any, *args: Any, **kwargs: Any) -> HiddenPerturbation:
    """Lower one step of a module and return it with perturbations."""
    return add_hidden_perturbation_from_minfo(extract_module_info(model, *args, **kwargs))


class _Linear(brainstate.nn.Linear):
    """``brainstate.nn.Linear`` whose parameter state is called ``weight_op``, as in brainscale's layer."""

    @property
    def weight(self) -> Any:
        return self.weight_op

    @weight.setter
    def weight(self, state: Any) -> None:
        self.weight_op = state


class ALIF_STPExpCu_Dense_Layer(brainstate.nn.Module):
    """The guide's network: adaptive neurons, short-term plasticity, exponential synapses, one plain dense layer.

    Needs brainpy and braintools (``pip install 'brainir[models]'``).

    Parameters
    ----------
    n_in, n_rec : int
        Numbers of inputs and of recurrent neurons.
    inp_stp : bool
        Whether the input passes short-term plasticity of its own.
    tau_mem, tau_syn, tau_f, tau_d, tau_a : quantity, ms
        Time constants of membrane, synapse, facilitation, depression and adaptation: 5, 10, 500, 100, 100 by default.
    V_th, beta : quantity, mV
        Threshold and strength of adaptation: 1 and 0.1 by default.
    spk_fun : callable, optional
        Spike function with surrogate gradient; ``braintools.surrogate.ReluGrad()`` by default.
    spk_reset : {"soft", "hard"}
    rec_init, ff_init : callable, optional
        Initialisers of the recurrent and the input block; ``braintools.init.KaimingNormal()`` by default.

    Raises
    ------
    BrainIRError
        If brainpy or braintools is not installed.
    """

    def __init__(
        self,
        n_in: int,
        n_rec: int,
        inp_stp: bool = False,
        *,
        tau_mem: Any = None,
        tau_syn: Any = None,
        V_th: Any = None,
        beta: Any = None,
        tau_f: Any = None,
        tau_d: Any = None,
        tau_a: Any = None,
        spk_fun: Any = None,
        spk_reset: str = "soft",
        rec_init: Any = None,
        ff_init: Any = None,
    ) -> None:
        try:
            import brainpy
            import braintools
        except ModuleNotFoundError as error:
            raise BrainIRError(
                f"ALIF_STPExpCu_Dense_Layer needs {error.name}, which is not installed: pip install 'brainir[models]'"
            ) from error
        import brainunit as u
        import jax.numpy as jnp

        super().__init__()
        stp = {
            "tau_f": 500.0 * u.ms if tau_f is None else tau_f,
            "tau_d": 100.0 * u.ms if tau_d is None else tau_d,
        }
        self.inp_stp = inp_stp
        self.neu = brainpy.state.ALIF(
            n_rec,
            tau=5.0 * u.ms if tau_mem is None else tau_mem,
            tau_a=100.0 * u.ms if tau_a is None else tau_a,
            V_th=1.0 * u.mV if V_th is None else V_th,
            beta=0.1 * u.mV if beta is None else beta,
            spk_fun=braintools.surrogate.ReluGrad() if spk_fun is None else spk_fun,
            spk_reset=spk_reset,
        )
        self.stp = brainpy.state.STP(n_rec, **stp)
        if inp_stp:
            self.stp_inp = brainpy.state.STP(n_in, **stp)
        make_input = ff_init or braintools.init.KaimingNormal()
        make_recurrent = rec_init or braintools.init.KaimingNormal()
        weight = jnp.concatenate([make_input([n_in, n_rec]), make_recurrent([n_rec, n_rec])])
        self.syn = brainpy.state.AlignPostProj(
            comm=_Linear(n_in + n_rec, n_rec, w_init=weight * u.mS, b_init=braintools.init.ZeroInit(unit=u.mS)),
            syn=brainpy.state.Expon.desc(n_rec, tau=10.0 * u.ms if tau_syn is None else tau_syn),
            out=brainpy.state.CUBA.desc(),
            post=self.neu,
        )

    def update(self, inp_spk: Any) -> Any:
        """Take one step; `inp_spk` is ``(..., n_in)``, the result, the new spikes, ``(..., n_rec)``."""
        import jax.numpy as jnp

        if self.inp_stp:
            inp_spk = self.stp_inp(inp_spk)
        last_spk = self.neu.get_spike()
        self.syn(jnp.concatenate([inp_spk, self.stp(last_spk)], axis=-1))
        self.neu()
        return self.neu.get_spike()

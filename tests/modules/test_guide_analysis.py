"""The analyses of brainstate modules: the guide's results, and the known counts of the models."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import brainscale
from brainir.analysis import relation_diagnostics
from brainir.ir.program import Program
from tests.models import MODELS, N_IN, N_REC

GUIDE = MODELS["ALIF_STPExpCu_Dense"]
# Dropout checks its probability in a debug callback, which a program cannot hold.
COUNTED = [name for name, model in MODELS.items() if model.counts is not None and name != "dropout_RNN"]


@pytest.fixture(scope="module")
def guide() -> Program:
    return brainir.lower_module(GUIDE.build(), *GUIDE.inputs(0))


def test_module_information_of_the_guide(guide: Program) -> None:
    info = brainir.module_info(guide)
    paths = list(info.hidden_path_to_invar)
    assert paths[:4] == [("neu", "V"), ("neu", "a"), ("stp", "u"), ("stp", "x")]
    assert paths[4][:2] == ("neu", "_before_updates")
    assert paths[4][-2:] == ("syn", "g")
    assert len(info.compiled_model_states) == 6
    assert {(value.dtype, value.shape) for value in info.hidden_outvars} == {("float32", (N_REC,))}
    assert [value.shape for value in info.weight_invars] == [(N_REC,), (N_IN + N_REC, N_REC)]


def test_hidden_groups_of_the_guide(guide: Program) -> None:
    (group,) = brainir.find_hidden_groups(guide)
    assert len(group.hidden_paths) == len(group.hidden_states) == 5
    assert len(group.hidden_invars) == len(group.hidden_outvars) == 5
    assert group.varshape == (N_REC,)
    assert [each.kind for each in group.blocked] == ["weight"]
    brainir.verify(group.transition)


def test_relations_of_the_guide(guide: Program) -> None:
    (relation,) = brainir.find_hidden_param_op_relations(guide)
    assert relation.kind == "dense"
    assert [(leaf.keys, leaf.part) for leaf in relation.leaves] == [
        (("bias",), "bias"),
        (("weight",), "weight"),
    ]
    assert relation.x is not None
    assert (relation.x.dtype, relation.x.shape) == ("float32", (N_IN + N_REC,))
    assert relation.y.shape == (N_REC,)
    assert len(relation.hidden_groups) == 1
    assert [path[-1] for path in relation.connected_hidden_paths] == ["V", "g"]
    assert {how for _, how in relation.how} == {"direct"}
    assert relation.elementwise_tail
    assert relation_diagnostics(guide) == ()


def test_perturbation_of_the_guide(guide: Program) -> None:
    found = brainir.add_hidden_perturbation(guide)
    assert len(found.perturb_vars) == len(found.perturb_hidden_paths) == len(found.perturb_hidden_states) == 5
    assert {value.type for value in found.perturb_vars} == {f"f32[{N_REC}]"}
    brainir.verify(found.program)


def test_the_tail_and_the_transition_keep_surrogate_gradients(guide: Program) -> None:
    """Both, run on their own, have the derivative that the step has."""
    (group,) = brainir.find_hidden_groups(guide)
    transition = brainir.to_callable(group.transition)
    values = [np.full(value.shape, 0.7, np.float32) for value in group.transition_invars]
    spiking = jax.jacobian(lambda v: transition(v, *values[1:])[1])(values[0])
    assert np.all(np.diagonal(spiking) > 0.0)


@pytest.mark.parametrize("name", COUNTED)
def test_counts_are_the_known_ones(name: str) -> None:
    model = MODELS[name]
    program = brainir.lower_module(model.build(), *model.inputs(0))
    groups = brainir.find_hidden_groups(program)
    relations = brainir.find_hidden_param_op_relations(program)
    perturbation = brainir.add_hidden_perturbation(program)
    for part in (perturbation.program, *(group.transition for group in groups)):
        brainir.verify(part)
    for relation in relations:
        brainir.verify(relation.operation)
        brainir.verify(relation.y_to_hidden)
    hidden = sum(len(group.hidden_paths) for group in groups)
    assert (hidden, len(groups), len(relations), len(perturbation.perturb_vars)) == model.counts


# One fused matrix for all gates: one relation where known counts are for one weight per gate.
@pytest.mark.parametrize(("name", "kinds"), [("LSTMCell", ["dense"]), ("URLSTMCell", ["dense", "bias"])])
def test_fused_gates_are_one_relation(name: str, kinds: list[str]) -> None:
    model = MODELS[name]
    relations = brainir.find_hidden_param_op_relations(brainir.lower_module(model.build(), *model.inputs(0)))
    assert [relation.kind for relation in relations] == kinds
    assert relations[0].tail == "several"


@pytest.mark.parametrize("name", ["ALIF_STPExpCu_Dense", "LIF_ExpCo", "GatedLSTM", "LRU"])
def test_the_gradient_of_a_perturbation_is_that_of_the_new_state(name: str) -> None:
    """Perturbing at step t and running on is the same as changing the state between the steps."""
    model = MODELS[name]
    module = model.build()
    program = brainir.lower_module(module, *model.inputs(0))
    states = brainir.read_states(module, program)
    found = brainir.add_hidden_perturbation(program)
    plain, perturbed = brainir.to_callable(program), brainir.to_callable(found.program)

    def rest(states: Any) -> Any:
        total = jnp.float32(0.0)
        for t in (1, 2):
            states, _ = plain(states, *model.inputs(t))
            total += sum(jnp.sum(jnp.asarray(leaf) ** 2) for leaf in jax.tree.leaves(states))
        return total

    quantities = [states[path] for path in found.perturb_hidden_paths]
    zeros = [jax.tree.map(jnp.zeros_like, quantity) for quantity in quantities]
    by_p = jax.grad(lambda p: rest(_only_hidden(perturbed(states, *model.inputs(0), *p)[0], states, found)))(zeros)
    new, _ = plain(states, *model.inputs(0))

    def added(p: Any) -> Any:
        changed = dict(zip(found.perturb_hidden_paths, p, strict=True))
        return {path: value + changed[path] if path in changed else value for path, value in new.items()}

    # Only states that are the last to be computed have no later use within the step.
    last = found.perturb_hidden_paths.index(_last_state(program))
    by_hand = jax.grad(lambda p: rest(_only_hidden(added(p), states, found)))(zeros)
    for first, second in zip(jax.tree.leaves(by_p[last]), jax.tree.leaves(by_hand[last]), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-5, atol=1e-7)
        assert np.any(np.asarray(first) != 0.0)


def _only_hidden(new: Any, old: Any, found: Any) -> Any:
    return {path: new[path] if path in found.perturb_hidden_paths else old[path] for path in new}


def _last_state(program: Program) -> Any:
    info = brainir.module_info(program)
    places = {name: index for index, node in enumerate(program.entry_function.nodes) for name in node.outputs}
    return max(info.hidden_paths, key=lambda path: places.get(info.hidden_path_to_outvar[path].name, -1))


@pytest.mark.parametrize(
    "function",
    [
        brainscale.find_hidden_groups_from_minfo,
        lambda given: brainscale.find_hidden_param_op_relations_from_minfo(given, {}),
        brainscale.add_hidden_perturbation_from_minfo,
    ],
)
def test_what_is_no_module_information_is_refused(function: Callable[[Any], object]) -> None:
    with pytest.raises(brainir.BrainIRError, match="minfo is what extract_module_info gives, not int"):
        function(3)

"""Groups, relations and perturbations are those of brainscale and braintrace, or the difference is listed and proved.

The list is the table in ``docs/peers.md``, which ``python -m tests.peers.test_zoo`` writes.
"""

import functools
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import brainscale
import brainstate
import braintrace
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir import brainscale as ours
from tests.peers.zoo import RULES, Entry, N, models, ready

PAGE = Path(__file__).parents[2] / "docs" / "peers.md"
START, END = "<!-- table -->\n", "<!-- end -->\n"
PEERS = {"brainscale": brainscale, "braintrace": braintrace}
ERRORS = (brainir.BrainIRError, brainscale.CompilationError, braintrace.CompilationError)
PLAIN = models(brainstate.nn)


class Found(NamedTuple):
    """What an analysis finds: members of groups, connected states of each relation, perturbed states."""

    groups: tuple[tuple[str, ...], ...]
    relations: tuple[tuple[str, tuple[str, ...]], ...]
    perturbed: tuple[str, ...]

    def __str__(self) -> str:
        groups = " ".join("{" + ", ".join(group) + "}" for group in self.groups)
        several = {each: self.relations.count(each) for each in self.relations}
        relations = "; ".join(
            f"{path} → {', '.join(states)}" + (f" ({count} times)" if count > 1 else "")
            for (path, states), count in several.items()
        )
        return f"{groups}; {relations or 'no relation'}"


def _name(path: Any) -> str:
    return str(path[-1])


def analysed(api: ModuleType, entry: Entry) -> Found | str:
    """Return what a library finds in a model, or the name of the error that it raises."""
    module = ready(entry)
    # The peers raise bare ValueErrors, NotImplementedErrors and errors of their own; which one is what is compared.
    try:
        info = api.extract_module_info(module, entry.x)
        groups, group_of = api.find_hidden_groups_from_minfo(info)
        relations = api.find_hidden_param_op_relations_from_minfo(info, group_of)
        perturbation = api.add_hidden_perturbation_from_minfo(info)
    except (ValueError, NotImplementedError, *ERRORS) as error:
        return type(error).__name__
    found = (
        (".".join(map(str, each.path[-2:])), tuple(sorted(map(_name, each.connected_hidden_paths))))
        for each in relations
    )
    return Found(
        tuple(sorted(tuple(sorted(map(_name, group.hidden_paths))) for group in groups)),
        tuple(sorted(found)),
        tuple(sorted(map(_name, perturbation.perturb_hidden_paths))),
    )


@functools.cache
def results(library: str) -> dict[str, tuple[Found | str, Found | str]]:
    """Return, for each model made of the layers of a library, what it finds and what brainir finds."""
    api = PEERS[library]
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own deprecations
        for name, entry in models(api.nn).items():
            found[name] = (analysed(api, entry), analysed(ours, entry))
    return found


def table() -> str:
    """Write the list of disagreements."""
    lines = ["| library | model | it finds | brainir finds | proof |", "|---|---|---|---|---|"]
    for library in PEERS:
        for name, (theirs, mine) in results(library).items():
            if theirs != mine:
                proof = _PROOFS[proof_of(name, theirs, mine)]
                lines.append(f"| {library} | {name} | {theirs} | {mine} | {proof} |")
    return "\n".join(lines) + "\n"


_PROOFS = {
    "moves": "the Jacobian of the step is not diagonal where the states meet",
    "couples": "the Jacobian of the step is diagonal, and not zero, where the states meet",
    "learns": "the gradient of the new states by the parameter is not zero, and no other weight lies between",
    "parts": "the same states; brainir lists each leaf that meets data element by element once",
}


def proof_of(name: str, theirs: Found | str, mine: Found | str) -> str:
    """Name the proof that a disagreement needs."""
    assert isinstance(mine, Found), f"{name}: {mine}"
    if isinstance(theirs, Found):
        if theirs.groups == mine.groups:
            return "parts" if set(theirs.relations) == set(mine.relations) else "learns"
        if len(mine.groups) > len(theirs.groups):
            return "moves"
    return "couples"


@pytest.mark.parametrize("library", PEERS)
def test_every_disagreement_is_listed(library: str) -> None:
    rows = [line for line in table().splitlines() if line.startswith(f"| {library} |")]
    text = PAGE.read_text(encoding="utf-8")
    listed = [line for line in text[text.index(START) : text.index(END)].splitlines() if f"| {library} |" in line]
    assert listed == rows


@pytest.mark.parametrize("library", PEERS)
def test_every_disagreement_is_proved(library: str) -> None:
    for name, (theirs, mine) in results(library).items():
        if theirs != mine:
            proof = proof_of(name, theirs, mine)
            if proof in ("moves", "couples"):
                assert coupling(name) == proof, name
            else:
                assert isinstance(theirs, Found)
                assert isinstance(mine, Found)
                check_gradients(models(PEERS[library].nn)[name], theirs, mine)


def coupling(name: str) -> str:
    """Return how the two states of a model see each other, by the Jacobian of its rule: brainir has no part in it."""
    rule = RULES[name.removeprefix("two states, ")]
    h, z = jnp.linspace(-0.5, 0.6, N), jnp.linspace(0.9, 0.2, N)
    jacobian = jax.jacobian(rule, argnums=(0, 1))(h, z, jnp.full(N, 0.1))
    blocks = [np.asarray(jacobian[0][1]), np.asarray(jacobian[1][0])]
    meeting = [block for block in blocks if np.abs(block).max() > 0]
    diagonal = all(np.array_equal(block, np.diag(np.diag(block))) for block in meeting)
    return "couples" if meeting and diagonal else "moves"


def check_gradients(entry: Entry, theirs: Found, mine: Found) -> None:
    """Check that each relation that only brainir lists has a gradient, and that it covers each leaf once."""
    module = ready(entry)
    params = module.states(brainstate.ParamState)
    gradients = brainstate.transform.grad(lambda: jnp.sum(jnp.sin(module(entry.x))), params)()
    by_name = {".".join(map(str, path[-2:])): leaves for path, leaves in gradients.items()}
    for path, _ in {*mine.relations} - {*theirs.relations}:
        sizes = [float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(by_name[path])]
        assert max(sizes) > 1e-4
    relations = brainir.find_hidden_param_op_relations(brainir.lower_module(ready(entry), entry.x))
    leaves = [(each.path, leaf.keys) for each in relations for leaf in each.leaves]
    assert len(leaves) == len({*leaves})


@pytest.mark.parametrize("name", PLAIN)
def test_plain_layers_give_what_those_of_the_peers_give(name: str) -> None:
    plain = analysed(ours, PLAIN[name])
    for library in PEERS:
        mine = results(library)[name][1] if name in results(library) else ""
        if isinstance(mine, Found) and isinstance(plain, Found):
            assert (plain.groups, plain.perturbed) == (mine.groups, mine.perturbed)
            # A plain cell may hold in one parameter what another holds in several.
            assert {states for _, states in plain.relations} <= {states for _, states in mine.relations}


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    before, rest = text.split(START)
    PAGE.write_text(before + START + table() + END + rest.split(END)[1], encoding="utf-8")
    sys.stdout.write(table())

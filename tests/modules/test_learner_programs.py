"""The step of a learner as a program: run where the model's packages are not installed, and compared."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import brainstate
import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.brainscale import ALIF_STPExpCu_Dense_Layer
from tests.quick_compile import quick_options

ELSEWHERE = """
import json
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.startswith(("brainstate", "brainunit", "saiunit", "brainpy", "brainevent", "braintools", "braintrace")):
            raise ImportError(f"{name} is blocked")

sys.meta_path.insert(0, Blocker())

import jax
import numpy as np
import brainir

args = {}
with np.load(sys.argv[2]) as kept:
    for name in kept.files:
        *path, last = name.split("|")
        place = args
        for key in path:
            place = place.setdefault(key, {})
        place[last] = kept[name]
step = jax.jit(brainir.to_callable(brainir.load(sys.argv[1])), compiler_options=json.loads(sys.argv[4]))
carry, loss, grads = step(args["params"], args["carry"], args["x"], args["target"])
np.savez(sys.argv[3], *jax.tree.leaves((carry["traces"], loss, grads["syn.comm.weight_op"])))
"""


Built = tuple[brainir.Learner, Any, Any]


def _learner(tau: u.Quantity) -> Built:
    brainstate.environ.set(dt=0.1 * u.ms)
    brainstate.random.seed(3)
    module = ALIF_STPExpCu_Dense_Layer(3, 4)
    module.neu.tau = tau
    brainstate.nn.init_all_states(module)
    program = brainir.lower_module(module, jnp.ones(3))
    states = brainir.read_states(module, program)
    learned = {state.path for state in program.interface.states if state.role == "param"}
    learner = brainir.compile_learner(program, loss=lambda out, target: jnp.sum((out - target) ** 2))
    hidden = {path: value for path, value in states.items() if path not in learned}
    return learner, {path: states[path] for path in learned}, hidden


@pytest.fixture(scope="module")
def built() -> Built:
    return _learner(5.0 * u.ms)


def _plain(tree: Any, prefix: str) -> dict[str, Any]:
    """Return the numbers of nested dicts by the keys on the way, quantities as numbers in their unit."""
    if isinstance(tree, dict):
        return {name: leaf for key, value in tree.items() for name, leaf in _plain(value, f"{prefix}|{key}").items()}
    return {prefix: np.asarray(u.get_mantissa(tree))}


def test_the_program_of_a_learner_runs_without_the_packages_of_the_model(built: Built, tmp_path: Path) -> None:
    learner, params, hidden = built
    x, target = 4.0 * jnp.ones(3), jnp.ones(4)
    step = jax.jit(learner.step, compiler_options=quick_options())
    carry = learner.init(hidden)
    for _ in range(6):
        carry, _, _ = step(params, carry, x, target)
    given = {**_plain(learner.named(params), "params"), **_plain(learner.named(carry), "carry")}
    brainir.save(learner.program, tmp_path / "step.json")
    np.savez(tmp_path / "given.npz", **given, x=x, target=target)
    names = [str(tmp_path / name) for name in ("step.json", "given.npz", "found.npz")]
    command = [sys.executable, "-c", ELSEWHERE, *names, json.dumps(quick_options())]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    after, value, grads = step(params, carry, x, target)
    expected = jax.tree.leaves((after["traces"], value, *grads.values()))
    assert max(float(jnp.abs(leaf).max()) for leaf in expected[-2:]) > 0
    with np.load(tmp_path / "found.npz") as found:
        assert len(found.files) == len(expected)
        for name, leaf in zip(found.files, expected, strict=True):
            np.testing.assert_allclose(found[name], leaf, rtol=1e-5, atol=1e-7)


def test_programs_of_learners_of_two_versions_of_a_model_are_compared(built: Built) -> None:
    other, _, _ = _learner(7.0 * u.ms)
    found = brainir.diff(built[0].program, other.program)
    assert found
    assert "7.0" in str(found)

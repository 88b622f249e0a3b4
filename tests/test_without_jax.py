"""What runs where JAX is not installed: importing, loading, verifying, analysing."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import brainir

FACTS = (
    "module_info",
    "find_hidden_groups",
    "find_hidden_param_op_relations",
    "add_hidden_perturbation",
    "cost",
    "check_units",
)

NAMES = """
import brainir
brainir.analysis.relation_diagnostics, brainir.testing.assert_program, brainir.view.to_html
assert all(name in dir(brainir) for name in brainir.__all__)
"""

BLOCK = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("jax", "jaxlib", "brainstate", "brainunit", "saiunit"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""

ANALYSE = """
import json, sys
import brainir
from brainir.analysis import inline_calls, open_control_flow, relation_diagnostics

program = brainir.load(sys.argv[1])
brainir.verify(program)
facts = {"fingerprint": brainir.fingerprint(program), "text": str(program)}
for name in sys.argv[2].split():
    found = getattr(brainir, name)(program)
    facts[name] = [each.to_json() for each in found] if isinstance(found, tuple) else found.to_json()
facts["position_dependence"] = brainir.position_dependence(program).to_json()
facts["why"] = [brainir.why(program, state.path).to_json() for state in program.interface.states]
passed = brainir.run_passes(program)
facts["run_passes"] = brainir.dumps(passed)
facts["diff"] = brainir.diff(program, passed).to_json()
facts["jacobians"] = [group.jacobian_structure.to_json() for group in brainir.find_hidden_groups(program)]
facts["tails"] = [each.tail_structure.to_json() for each in brainir.find_hidden_param_op_relations(program)]
facts["diagnostics"] = [each.to_json() for each in relation_diagnostics(program)]
facts["opened"] = open_control_flow(program).to_json()
facts["inlined"] = [node.op for node in inline_calls(program.entry_function, program).nodes]
facts["json"] = brainir.dumps(program)
json.dump(facts, sys.stdout)
"""


def run(code: str, *args: str) -> str:
    """Run code in a new process and return what it prints."""
    command = [sys.executable, "-W", "error", "-c", code, *args]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(brainir.__file__).parent.parent)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def step(params: Any, hidden: Any, x: Any) -> Any:
    current = x @ params["w"] + hidden["spike"] @ jnp.abs(params["u"])
    v = hidden["v"] * 0.9 + current + params["b"]
    trace = hidden["trace"] * 0.5 + hidden["spike"]
    spike = jax.nn.sigmoid(v - trace)
    return {"v": v - spike, "spike": spike, "trace": trace}, jnp.cumsum(jax.nn.relu(v)) @ params["u"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> str:
    zeros = {name: jnp.zeros(4) for name in ("v", "spike", "trace")}
    params = {"w": jnp.ones((3, 4)), "u": jnp.ones((4, 4)), "b": jnp.ones(4)}
    path = tmp_path_factory.mktemp("without_jax") / "step.json"
    brainir.save(brainir.lower_step(step, params, zeros, jnp.ones(3)), path)
    return str(path)


def test_importing_brainir_does_not_import_jax() -> None:
    code = "import sys, brainir; print(sorted({'jax', 'jaxlib', 'brainstate', 'saiunit'} & set(sys.modules)))"
    assert run(code).strip() == "[]"


def test_public_modules_are_there_without_being_imported() -> None:
    run(BLOCK + NAMES)


def test_what_needs_jax_says_so_where_it_is_missing() -> None:
    code = BLOCK + "import brainir\ntry:\n    brainir.lower\nexcept ImportError as error:\n    print(error)"
    assert "jax" in run(code)


def test_the_quick_start_installs_what_is_needed_without_jax() -> None:
    root = Path(brainir.__file__).parent.parent
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["cli"]]
    names = {re.match(r"\w+", each)[0] for each in needed} - {"brainstate", "brainunit", "jax", "jaxlib"}  # type: ignore[index]
    (listed,) = re.findall(r"--no-deps -e \.\npip install (.*)", (root / "docs/quickstart.md").read_text())
    assert {*listed.split()} == names


COMMANDS = """
import contextlib, sys
from brainir.cli import main

file, *commands = sys.argv[1:]
for command in commands:
    sys.argv = ["brainir", *command.split(), file]
    with contextlib.suppress(SystemExit):
        main()
"""


def test_commands_that_need_jax_say_so_in_one_line_where_it_is_missing(file: str) -> None:
    code = BLOCK + "sys.stderr = sys.stdout\n" + COMMANDS
    said = run(code, file, "run --zeros", "source", "export")
    assert said.splitlines() == [
        f"error: brainir {command} needs the module 'jax', which is not installed"
        for command in ("run", "source", "export")
    ]


def test_analyses_find_the_same_in_a_process_without_jax(file: str) -> None:
    names = " ".join(FACTS)
    without = json.loads(run(BLOCK + ANALYSE, file, names))
    assert without == json.loads(run("import jax\n" + ANALYSE, file, names))
    assert without["json"] == brainir.dumps(brainir.load(file))
    assert {*brainir._HOMES[".analysis"]} - {*without} == set(), "name it in FACTS; with more arguments, in ANALYSE"
    assert '"spike"' in without["module_info"]
    assert len(without["find_hidden_groups"]) > 0
    assert len(without["find_hidden_param_op_relations"]) > 2

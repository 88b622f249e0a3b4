"""The command: every subcommand on real files, most in one process, a few through a real shell."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import brainir
from brainir.cli.app import app
from brainir.ir.interface import Unit
from brainir.ir.trees import LeafTree

ROOT = Path(__file__).parents[1]
MODEL = """
import jax
import jax.numpy as jnp
import numpy as np


def energy(x, w):
    return jnp.sum(jnp.tanh(w @ x) ** 2)


def example():
    return energy, jnp.ones(3), jnp.ones((4, 3))


def leaky(params, hidden, x):
    h = 0.9 * hidden["h"] + params["w"] @ x
    return {"h": h}, jnp.tanh(h)


def step():
    return leaky, {"w": jnp.ones((4, 3))}, {"h": jnp.zeros(4)}, jnp.ones(3)


def slow(params, hidden, x):
    h = 0.5 * hidden["h"] + params["w"] @ x
    return {"h": h}, jnp.tanh(h)


def slower():
    return slow, *step()[1:]


def printing():
    def printed(params, hidden, x):
        jax.debug.print("x {}", x)
        return leaky(params, hidden, x)

    return printed, *step()[1:]


def constant(x):
    return jnp.asarray(np.eye(30, dtype=np.float32)) @ x


def nested(x):
    return jax.jit(jnp.sin)(x)


def noisy(key, scale):
    return jax.random.normal(key, (3,)) * scale


def make():
    return energy


def nothing():
    return None


def raising():
    return 1 / 0


def mismatched(x):
    return x @ np.ones((5, 5))
"""
COMMANDS = {command.name or command.callback.__name__ for command in app.registered_commands}  # type: ignore[union-attr]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a model and its stored programs."""
    made = tmp_path_factory.mktemp("cli")
    (made / "mymodel.py").write_text(MODEL)
    namespace: dict[str, Any] = {"__name__": "mymodel"}
    exec(compile(MODEL, str(made / "mymodel.py"), "exec"), namespace)
    fn, *inputs = namespace["example"]()
    brainir.save(brainir.lower(fn, *inputs), made / "energy.json")
    fn, *inputs = namespace["step"]()
    brainir.save(brainir.lower_step(fn, *inputs), made / "leaky.json")
    return made


@pytest.fixture(autouse=True)
def _in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def call(*arguments: str, code: int = 0, text: str | None = None) -> Result:
    """Run a command and check its exit code."""
    result = CliRunner().invoke(app, [*arguments], input=text)
    assert result.exit_code == code, (result.output, result.exception)
    return result


def shell(line: str) -> "subprocess.CompletedProcess[str]":
    """Run a line in a shell, with a `brainir` that is this one."""
    function = f'brainir() {{ "{sys.executable}" -m brainir "$@"; }}\nset -o pipefail\n'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    return subprocess.run(["bash", "-c", function + line], capture_output=True, text=True, env=environment, check=False)


def test_a_shell_pipes_a_model_through_the_commands() -> None:
    done = shell(
        "brainir lower mymodel.py:step --step | tee piped.json | brainir show - && "
        "brainir verify piped.json --json && brainir lower mymodel:energy -i 'f32[3]' -i 'f32[4,3]' | brainir source -"
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert str(brainir.load("leaky.json")) in done.stdout
    assert '"valid": true' in done.stdout
    assert "def energy(x, w):" in done.stdout
    assert "\x1b" not in done.stdout


def test_an_error_in_a_shell_is_one_block_without_a_traceback() -> None:
    done = shell("brainir show nothere.json; echo code $?; brainir lower mymodel.py:absent; brainir --traceback show x")
    missing, absent, *traceback = done.stderr.splitlines()
    assert missing == "error: there is no file nothere.json; check the name and the working directory"
    assert absent.startswith("error: mymodel.py has no 'absent'; it has ")
    assert traceback[0].startswith("Traceback")
    assert done.stdout == "code 2\n"
    assert done.returncode == 2


SHELL = """
brainir lower mymodel.py:step --step -o shell.json
brainir show shell.json | head -n 1
brainir verify shell.json
brainir stats shell.json --json | grep '"nodes": 4'
brainir groups shell.json | grep 'hidden group 0'
brainir relations shell.json --json | grep '"path"'
brainir why shell.json w | grep w
brainir cost shell.json --json | grep flops
brainir units shell.json
brainir learner shell.json | grep 'learned with a trace'
brainir perturb shell.json -o perturbed.json
brainir passes shell.json inline | brainir diff shell.json -
brainir relabel perturbed.json --like shell.json -o relabelled.json
brainir source shell.json | grep 'def leaky(params, hidden, x):'
brainir run shell.json --zeros --json | grep '"h"'
brainir view shell.json -o page.html --against perturbed.json
brainir export shell.json -f dot | grep 'digraph'
brainir schema | grep '"title"'
brainir upgrade shell.json
"""


def test_every_command_works_on_real_files_in_a_real_shell() -> None:
    assert set(re.findall(r"brainir (\w+)", SHELL)) == COMMANDS, "SHELL has a line for each command"
    done = shell(f"set -e\n{SHELL}")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_every_command_has_help() -> None:
    listed = call("--help").output
    for command in COMMANDS:
        assert f" {command} " in listed
        shown = call(command, "--help").output
        assert f"Usage: brainir {command}" in shown.replace("Usage: root", "Usage: brainir")
        assert "--json" in shown


def test_the_page_of_the_command_line_lists_every_command() -> None:
    rows = re.findall(
        r"^\| (`.*?) \|", (ROOT / "docs/cli.md").read_text().partition("## The commands")[2], re.MULTILINE
    )
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == COMMANDS, "the table of docs/cli.md has each command"


def test_the_list_of_commands_cuts_no_description_short() -> None:
    assert "..." not in call("--help").output.partition("Commands:")[2]


def test_output_that_cannot_be_written_is_an_error_of_one_line() -> None:
    for command in ("show leaky.json", "stats leaky.json", "verify leaky.json --json"):
        done = shell(f"brainir {command} > /dev/full")
        assert done.returncode == 2
        assert done.stderr == "error: cannot write to standard output: No space left on device\n"


def test_usage_errors_give_two() -> None:
    assert "No such option" in call("show", "--no-such-option", code=2).output
    call("nosuchcommand", code=2)
    assert brainir.__version__ in call("--version").output


def test_lower_takes_factories_functions_and_steps() -> None:
    energy = brainir.load("energy.json")
    for arguments in (["mymodel.py:example"], ["mymodel.py:make", "-i", "f32[3]", "-i", "f32[4,3]"]):
        assert brainir.fingerprint(brainir.loads(call("lower", *arguments).stdout)) == brainir.fingerprint(energy)
    named = brainir.loads(call("lower", "mymodel.py:energy", "-i", "x=f32[3]", "-i", "w=f32[4,3]").stdout)
    assert [argument.name for argument in named.interface.arguments] == ["x", "w"]
    written = json.loads(call("lower", "mymodel.py:step", "--step", "-o", "again.json", "--json").stdout)
    assert written == {"entry": "leaky", "kind": "step", "nodes": 4}
    assert brainir.load("again.json").interface == brainir.load("leaky.json").interface


def test_lower_takes_keys_and_python_numbers_as_inputs() -> None:
    text = call("lower", "mymodel.py:noisy", "-i", "key<fry>[]", "-i", "~f32[]").stdout
    program = brainir.loads(text)
    assert program.entry_function.types == ("key<fry>[]", "~f32[]")
    key = jax.random.key(3)
    np.testing.assert_array_equal(brainir.to_callable(program)(key, 2.5), jax.random.normal(key, (3,)) * 2.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mymodel"], "write package.module:name or file.py:name"),
        (["absent.py:model"], "there is no file absent.py"),
        (["no_such_module:model"], "there is no module 'no_such_module'"),
        (["mymodel.py:energy"], "must be a function without arguments that returns (model, *inputs)"),
        (["mymodel.py:nothing"], "returns None"),
        (["mymodel.py:energy", "-i", "f32[3"], "f32[3"),
        (["mymodel.py:energy", "--step", "-i", "f32[3]"], "a step needs params and hidden"),
    ],
)
def test_lower_says_what_is_wrong_with_a_target(arguments: list[str], message: str) -> None:
    assert message in call("lower", *arguments, code=2).stderr


def test_an_error_of_the_model_is_told_with_its_line_and_is_no_difference() -> None:
    raised = call("lower", "mymodel.py:raising", code=2).stderr
    assert raised.startswith("error: mymodel.py:raising raised ZeroDivisionError: division by zero\n")
    assert "mymodel.py:" in raised
    assert raised.endswith(", in raising\n    return 1 / 0\n")
    traced = call("lower", "mymodel.py:mismatched", "-i", "f32[3]", code=2).stderr
    assert traced.startswith("error: tracing mymodel.py:mismatched raised TypeError: ")
    assert traced.endswith(", in mismatched\n    return x @ np.ones((5, 5))\n")
    Path("unfinished.py").write_text("x = (\n")
    told = call("lower", "unfinished.py:model", code=2).stderr
    assert told.startswith(
        "error: importing unfinished.py raised SyntaxError: '(' was never closed (unfinished.py, line 1)"
    )


def test_show_and_stats_print_what_is_stored() -> None:
    program = brainir.load("leaky.json")
    assert call("show", "leaky.json").stdout.rstrip() == str(program).rstrip()
    assert call("show", "leaky.json", "--function", "leaky").stdout.startswith("def leaky(")
    assert "has no function 'other'" in call("show", "leaky.json", "-f", "other", code=2).stderr
    assert brainir.loads(call("show", "leaky.json", "--json").stdout) == program
    facts = json.loads(call("stats", "leaky.json", "--json").stdout)
    assert (facts["nodes"], facts["parameters"], facts["fingerprint"]) == (4, 12, brainir.fingerprint(program))
    assert sum(facts["operations"].values()) == 4
    counted = call("stats", "leaky.json").stdout
    assert "dot_general" in counted
    assert f"  {brainir.fingerprint(program)}\n" in counted  # whole, and no spaces behind


def test_text_from_a_pipe_that_is_no_text_is_refused() -> None:
    result = CliRunner().invoke(app, ["show", "-"], input=b"\xff\xfe")
    assert (result.exit_code, "not UTF-8" in result.stderr) == (2, True)


def test_verify_gives_one_for_a_program_that_breaks_an_invariant() -> None:
    assert "is valid" in call("verify", "leaky.json").stdout
    broken = Path("leaky.json").read_text().replace('"h_new"', '"h_other"', 1)
    Path("broken.json").write_text(broken)
    assert "h_" in call("verify", "broken.json", code=1).stderr
    assert json.loads(call("verify", "broken.json", "--json", code=1).stdout)["valid"] is False
    assert "not JSON" in call("verify", "-", text="not json", code=2).stderr


def test_analyses_print_what_the_functions_return() -> None:
    program = brainir.load("leaky.json")
    (group,) = brainir.find_hidden_groups(program)
    (relation,) = brainir.find_hidden_param_op_relations(program)
    assert call("groups", "leaky.json").stdout == f"{group}\n"
    assert json.loads(call("groups", "leaky.json", "--json").stdout) == [json.loads(group.to_json())]
    assert call("relations", "leaky.json").stdout == f"{relation}\n"
    assert json.loads(call("relations", "leaky.json", "--json").stdout)["relations"] == [json.loads(relation.to_json())]
    hint = "energy is a plain function; lower a module, or a pure step with lower --step"
    assert call("groups", "energy.json").stdout == f"the program has no hidden states: {hint}\n"
    assert call("relations", "energy.json").stdout == f"no parameter reaches a hidden state: {hint}\n"


def test_why_is_that_of_the_library() -> None:
    explanation = brainir.why(brainir.load("leaky.json"), "w")
    assert call("why", "leaky.json", "w").stdout.rstrip() == str(explanation).rstrip()
    assert json.loads(call("why", "leaky.json", "w", "--json").stdout) == json.loads(explanation.to_json())
    assert "other" in call("why", "leaky.json", "other", code=2).stderr


def test_perturb_writes_the_perturbed_program() -> None:
    expected = brainir.add_hidden_perturbation(brainir.load("leaky.json")).program
    assert brainir.loads(call("perturb", "leaky.json").stdout) == expected
    summary = call("perturb", "leaky.json", "-o", "perturbed.json", "--json").stdout
    assert json.loads(summary)["perturb_hidden_paths"] == [["h"]]
    assert brainir.load("perturbed.json") == expected


def test_passes_write_the_rewritten_program() -> None:
    call("lower", "mymodel.py:nested", "-i", "f32[3]", "-o", "nested.json")
    nested = brainir.load("nested.json")
    assert len(nested.functions) > 1
    assert brainir.loads(call("passes", "nested.json").stdout) == brainir.run_passes(nested)
    summary = json.loads(call("passes", "nested.json", "inline", "-o", "flat.json", "--json").stdout)
    assert [each["name"] for each in summary["results"]] == ["inline"]
    assert brainir.load("flat.json") == brainir.run_passes(nested, ["inline"])
    assert "there is no pass 'other'" in call("passes", "nested.json", "other", code=2).stderr


def test_diff_gives_one_for_programs_that_differ() -> None:
    call("lower", "mymodel.py:slower", "--step", "-o", "slower.json")
    old, new = brainir.load("leaky.json"), brainir.load("slower.json")
    assert call("diff", "leaky.json", "slower.json", code=1).stdout == f"{brainir.diff(old, new)}\n"
    found = json.loads(call("diff", "leaky.json", "slower.json", "--json", code=1).stdout)
    assert found["equal"] is False
    renamed = Path("leaky.json").read_text().replace('"v1"', '"other"')
    assert json.loads(call("diff", "leaky.json", "-", "--json", text=renamed).stdout)["equal"] is True
    page = call("view", "slower.json", "--against", "leaky.json", "-o", "-").stdout
    assert page.rstrip() == brainir.view.to_html(new, against=old).rstrip()


def test_relabel_gives_the_names_of_the_older_version() -> None:
    renamed = Path("leaky.json").read_text().replace('"v1"', '"other"')
    assert brainir.loads(call("relabel", "-", "--like", "leaky.json", text=renamed).stdout) == brainir.load(
        "leaky.json"
    )
    assert (
        json.loads(call("relabel", "leaky.json", "--like", "leaky.json", "-o", "r.json", "--json").stdout)["nodes"] == 4
    )


def test_learner_reports_what_it_learns() -> None:
    report = brainir.compile_learner(brainir.load("leaky.json"), loss=lambda out, target: out.sum()).report()
    assert call("learner", "leaky.json").stdout == f"{report}\n"
    assert json.loads(call("learner", "leaky.json", "--json").stdout) == json.loads(report.to_json())
    assert "decay" in call("learner", "leaky.json", "-a", "es_d_rtrl", code=2).stderr
    call("learner", "leaky.json", "-a", "es_d_rtrl", "--decay", "0.9")


def test_learner_reports_on_steps_that_call_the_host() -> None:
    call("lower", "mymodel.py:printing", "--step", "-o", "printing.json")
    assert "learned with a trace:\n  w:" in call("learner", "printing.json").stdout


def test_perturb_says_where_there_is_nothing_to_perturb() -> None:
    call("lower", "mymodel.py:example", "-o", "energy.json")
    assert "no hidden states to perturb: energy is a plain function" in call("perturb", "energy.json").stderr


def test_the_decay_of_a_learner_can_be_a_rank() -> None:
    # Rank r is the decay (r - 1) / (r + 1), so 3 is 0.5; as a decay it would be refused.
    ranked, decayed = (
        call("learner", "leaky.json", "-a", "es_d_rtrl", "--decay", each).stdout for each in ("3", "0.5")
    )
    assert ranked == decayed
    assert "integer rank" in call("learner", "leaky.json", "-a", "es_d_rtrl", "--decay", "3.0", code=2).stderr
    assert "'much' is no number" in call("learner", "leaky.json", "--decay", "much", code=2).stderr


def test_cost_and_units_are_those_of_the_library() -> None:
    program = brainir.load("leaky.json")
    assert call("cost", "leaky.json").stdout.rstrip() == str(brainir.cost(program)).rstrip()
    assert json.loads(call("cost", "leaky.json", "--json").stdout)["flops"] == brainir.cost(program).flops
    assert call("units", "leaky.json").stdout.rstrip() == str(brainir.check_units(program)).rstrip()


def test_units_gives_one_for_a_sum_of_volts_and_seconds() -> None:
    program = brainir.lower(lambda v, t: v + t + 1.0, jnp.ones(3), jnp.ones(3))
    units = (
        Unit(text="mV", dimension=(2, 1, -3, -1, 0, 0, 0), scale=-3),
        Unit(text="ms", dimension=(0, 0, 1, 0, 0, 0, 0), scale=-3),
    )
    arguments = tuple(
        argument.replace(tree=LeafTree(unit=unit.text))
        for argument, unit in zip(program.interface.arguments, units, strict=True)
    )
    interface = program.interface.replace(arguments=arguments, units=units)
    brainir.save(program.replace(interface=interface), "volts.json")
    found = call("units", "volts.json", code=1).stdout
    assert found.count("BIR301") == 1
    strict = call("units", "volts.json", "--numbers", "dimensionless", code=1).stdout
    assert strict == f"{brainir.check_units(brainir.load('volts.json'), numbers='dimensionless')}\n"
    assert strict != found


def test_upgrade_rewrites_files() -> None:
    text = Path("leaky.json").read_text()
    assert call("upgrade", "leaky.json", "energy.json").stdout.splitlines()[0].startswith("leaky.json: version 1")
    assert json.loads(call("upgrade", "leaky.json", "--json").stdout)[0]["file"] == "leaky.json"
    assert Path("leaky.json").read_text() == text
    assert "no file" in call("upgrade", "absent.json", code=2).stderr


def test_schema_is_that_of_the_library() -> None:
    assert json.loads(call("schema").stdout) == brainir.json_schema()


@pytest.mark.parametrize("command", ["view", "source", "export", "run --zeros"])
def test_what_is_no_program_does_not_replace_one(command: str) -> None:
    stored = Path("leaky.json").read_text()
    refused = call(*command.split(), "leaky.json", "-o", "leaky.json", code=2)
    assert "leaky.json holds a program" in refused.output
    assert Path("leaky.json").read_text() == stored


def test_results_can_have_any_name_in_an_npz_file() -> None:
    states = {"file": jnp.ones(2), "allow_pickle": jnp.zeros(2)}
    program = brainir.lower_step(lambda _, hidden, x: ({k: h + x for k, h in hidden.items()}, x), {}, states, 2.0)
    brainir.save(program, "names.json")
    np.savez("x.npz", x=np.float32(2.0))
    call("run", "names.json", "--zeros", "--inputs", "x.npz", "-o", "next.npz")
    with np.load("next.npz", allow_pickle=False) as found:
        assert {name: array.tolist() for name, array in found.items()} == {
            "allow_pickle": [2.0, 2.0],
            "file": [2.0, 2.0],
            "out": 2.0,
        }
    call("run", "names.json", "--inputs", "x.npz", "--inputs", "next.npz", "-o", "next.json")
    assert json.loads(Path("next.json").read_text())["file"] == [4.0, 4.0]


def test_view_writes_one_page_that_loads_nothing() -> None:
    call("view", "leaky.json")
    page = Path("leaky.html").read_text()
    assert page == brainir.view.to_html(brainir.load("leaky.json"))
    assert not re.search(r"\b(src|href)=.(?!data:)", page.partition("<script>")[0])
    written = json.loads(call("view", "leaky.json", "-o", "other.html", "--json").stdout)
    assert written == {"entry": "leaky", "page": "other.html"}


def test_run_feeds_results_back_and_agrees_with_jax() -> None:
    w, x = np.arange(12, dtype=np.float32).reshape(4, 3) / 10, np.ones(3, np.float32)
    np.savez("inputs.npz", w=w, x=x, h=np.zeros(4, np.float32))
    call("run", "leaky.json", "-i", "inputs.npz", "-o", "first.npz")
    second = json.loads(call("run", "leaky.json", "-i", "inputs.npz", "-i", "first.npz", "--json").stdout)
    h = jnp.zeros(4)
    for _ in range(2):
        h = 0.9 * h + w @ x
    np.testing.assert_allclose(second["h"], h, rtol=1e-6)
    np.testing.assert_allclose(second["out"], jnp.tanh(h), rtol=1e-6)
    assert "f32[4]" in call("run", "leaky.json", "--zeros").stdout


def test_complex_numbers_of_single_precision_are_run_without_64_bit_types() -> None:
    brainir.save(brainir.lower(jnp.abs, jnp.array([3 + 4j, 1j], jnp.complex64)), "complex.json")
    assert "f32[2]" in call("run", "complex.json", "--zeros").stdout
    assert not jax.config.jax_enable_x64  # type: ignore[attr-defined]  # set by name


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"x": [1.0, 2.0, 3.0]}, "no value for w, h"),
        ({"y": 1.0}, "has no input 'y'"),
        ({"x": [1.0]}, "x must be f32[3], not f32[1]"),
        ({"x": "abc"}, "x must be f32[3]"),
        ([1], "must hold an object"),
    ],
)
def test_run_says_what_is_wrong_with_its_inputs(values: Any, message: str) -> None:
    zeros = [] if "no value" in message else ["--zeros"]
    assert message in call("run", "leaky.json", "-i", "-", *zeros, text=json.dumps(values), code=2).stderr


def test_source_runs_and_export_writes_for_other_tools() -> None:
    told = json.loads(call("source", "energy.json", "-o", "energy_source.py", "--json").stdout)
    assert told == {"entry": "energy", "module": "energy_source.py"}
    namespace: dict[str, Any] = {}
    exec(Path("energy_source.py").read_text(), namespace)
    assert namespace["energy"](jnp.ones(3), jnp.ones((4, 3))) == jnp.sum(jnp.tanh(jnp.full(4, 3.0)) ** 2)
    exported = call("export", "energy.json").stdout
    assert "stablehlo.tanh" in exported
    assert str(ROOT) not in exported
    assert call("export", "energy.json", "-f", "dot").stdout.startswith('digraph "energy" {')
    told = json.loads(call("export", "energy.json", "-f", "mermaid", "-o", "energy.mmd", "--json").stdout)
    assert told == {"entry": "energy", "format": "mermaid", "file": "energy.mmd"}
    assert Path("energy.mmd").read_text().startswith("flowchart TD")
    explored = json.loads(call("export", "energy.json", "-f", "model-explorer").stdout)
    assert [graph["id"] for graph in explored["graphs"]] == ["energy"]


def test_source_with_large_constants_beside_it() -> None:
    call("lower", "mymodel.py:constant", "-i", "f32[30]", "-o", "constant.json")
    call("source", "constant.json", "-o", "constant.py", "--beside")
    assert set(np.load("constant.npz")) == {"c0"}
    assert "needs a file" in call("source", "constant.json", "--beside", code=2).stderr


def test_looking_checking_and_analysing_import_no_jax() -> None:
    lines = [
        ["show", "leaky.json"], ["stats", "leaky.json"], ["verify", "leaky.json"], ["groups", "leaky.json"],
        ["relations", "leaky.json"], ["diff", "leaky.json", "leaky.json"], ["perturb", "leaky.json"],
        ["relabel", "leaky.json", "--like", "leaky.json"], ["passes", "leaky.json"], ["schema"], ["--help"],
        ["learner", "leaky.json"], ["view", "leaky.json", "-o", "-"], ["export", "leaky.json", "-f", "dot"],
    ]  # fmt: skip
    code = f"import sys; from brainir.cli.app import app\nfor line in {lines}: app(line, standalone_mode=False)\n"
    code += "sys.exit('jax' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


def test_without_the_extra_the_command_says_how_to_install_it() -> None:
    code = "import sys; sys.modules['typer'] = None; import brainir.cli; brainir.cli.main()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 2
    assert done.stderr == "The brainir command needs typer. Install it: pip install 'brainir[cli]'\n"

"""Programs on several devices come back as the functions they were; and on too few devices, say so."""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import brainir
from brainir.ir.errors import EmissionError, VerificationError
from brainir.ir.ops import Iota, MeshShape, Reshard, Sharding

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compare all programs in a process with eight devices; return one of them, saved."""
    path = tmp_path_factory.mktemp("parallel") / "program.json"
    run_on_eight_devices("tests.parallel_programs", str(path))
    return path


def run_on_eight_devices(*command: str) -> None:
    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=8", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-6000:]


def test_programs_on_eight_devices_come_back_with_values_and_derivatives(saved: Path) -> None:
    assert "shard_map" in saved.read_text()


def test_programs_on_explicit_axes_come_back_with_where_their_results_lie() -> None:
    run_on_eight_devices("tests.explicit_programs")


def test_too_few_devices_are_an_error_that_says_how_to_have_more(saved: Path) -> None:
    program = brainir.load(saved)
    step = brainir.to_callable(program)
    with pytest.raises(EmissionError, match=r"mesh of 8 devices \(x=4 x y=2\).*device_count=8"):
        jax.jit(step)(jnp.ones((8, 4)))


def test_axes_along_which_a_value_varies_have_no_order() -> None:
    mesh = jax.sharding.Mesh([[jax.devices()[0]]], ("x", "y"))
    cut = jax.sharding.PartitionSpec("x", "y")

    def program(axes: tuple[str, str]) -> brainir.Program:
        def varied(x: jax.Array) -> jax.Array:
            one = jnp.ones(())
            return x * (
                jax.lax.pcast(one, axes, to="varying") if hasattr(jax.lax, "pcast") else jax.lax.pvary(one, axes)
            )

        return brainir.lower(jax.shard_map(varied, mesh=mesh, in_specs=cut, out_specs=cut), jnp.ones((2, 2)))

    assert brainir.fingerprint(program(("x", "y"))) == brainir.fingerprint(program(("y", "x")))


@pytest.mark.parametrize(
    ("sizes", "spec", "reason"),
    [
        ((3,), ("x",), r"\[4\] cannot be cut into \[3\] equal parts"),
        ((2,), ("z",), "'z' is no axis of the mesh"),
        ((2,), ("x", None), "more axes than"),
        ((2,), ("*",), "named once"),
    ],
)
@pytest.mark.parametrize("op", ["reshard", "iota"])
def test_a_layout_that_no_array_can_have_is_refused(
    op: str, sizes: tuple[int, ...], spec: tuple[str | None, ...], reason: str
) -> None:
    def program(sizes: tuple[int, ...], **said: object) -> brainir.Program:
        sharding = Sharding(mesh=MeshShape(names=("x",), sizes=sizes, types=("explicit",)), **said)
        placed = {"inputs": ("x",) if op == "reshard" else (), "outputs": ("y",), "types": ("i32[4]",)}
        counted = {"dtype": "int32", "shape": (4,), "dimension": 0, "out_sharding": sharding}
        node = Reshard(**placed, sharding=sharding) if op == "reshard" else Iota(**placed, **counted)
        lowered = brainir.lower(lambda x: x + 1, jnp.arange(4))
        function = lowered.entry_function.model_copy(update={"inputs": ("x",), "nodes": (node,), "outputs": ("y",)})
        return lowered.model_copy(update={"functions": (function,)})

    brainir.verify(program((2,), spec=("x",)))
    with pytest.raises(VerificationError, match=reason):
        brainir.verify(program(sizes, spec=spec))
    with pytest.raises(VerificationError, match="named once"):
        brainir.verify(program((2,), spec=("x",), unreduced=("x",)))
    with pytest.raises(VerificationError, match="parts of a max need axes"):
        brainir.verify(program((2,), spec=("x",), unreduced_kind="max"))

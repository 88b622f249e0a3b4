"""What the tests run on: JAX on the CPU, and which directories of tests the installed packages allow."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# JAX reads this when it is first imported, here or in a subprocess that a test starts.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

# Compiling makes the first example of a property slow, and that says nothing about the property.
settings.register_profile("brainir", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("brainir")

TESTS = Path(__file__).parent

# Third-party warnings, where the tests of a directory cannot do without the code that gives them.
IGNORED_WARNINGS = {
    "libraries": (
        # jax-md sums in double precision where it can.
        "ignore:Explicitly requested dtype float64:UserWarning",
        # jaxley keeps its neurons in tables of pandas.
        "ignore::DeprecationWarning:jaxley.*",
    ),
    "peers": (
        # brainscale 0.1.0 builds jaxprs by hand.
        "ignore:core.Jaxpr is missing a DebugInfo object:DeprecationWarning",
        "ignore:jax.core.new_jaxpr_eqn is deprecated:DeprecationWarning",
    ),
}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


VERSIONS = {
    package: _version(package) for package in ("jax", "brainstate", "brainpy", "braintools", "brainscale", "braintrace")
}


def _directories_left_out() -> dict[str, str]:
    """Return the directories that are not run here, and why."""
    return {**_without_packages(), **({} if os.environ.get("BRAINIR_CHROMIUM") else {"browser": "not asked for"})}


def _without_packages() -> dict[str, str]:
    """Return the directories that cannot be imported with the installed packages, and why."""
    libraries = [name for name in ("flax", "equinox", "optax", "numpyro") if _version(name) is None]
    left_out = {"libraries": f"no {' and no '.join(libraries)}"} if libraries else {}
    return {**left_out, **_without_brainstate()}


def _without_brainstate() -> dict[str, str]:
    jax = tuple(int(part) for part in (VERSIONS["jax"] or "0.0").split(".")[:2])
    if jax < (0, 9):
        reason = "brainstate needs JAX 0.9"
        return {"modules": reason, "peers": reason}
    missing = {
        "modules": [name for name in ("brainstate", "brainpy", "braintools") if VERSIONS[name] is None],
        "peers": [name for name in ("brainscale", "braintrace") if VERSIONS[name] is None],
    }
    return {directory: f"no {' and no '.join(names)}" for directory, names in missing.items() if names}


LEFT_OUT = _directories_left_out()
collect_ignore = sorted(LEFT_OUT)


def pytest_report_header() -> list[str]:
    """Name the versions that decide what is tested, and what is not."""
    versions = [f"python {platform.python_version()}"]
    versions += [f"{package} {found or '-'}" for package, found in VERSIONS.items()]
    left_out = []
    for directory, reason in sorted(LEFT_OUT.items()):
        files = ", ".join(path.name for path in sorted((TESTS / directory).glob("test_*.py")))
        left_out.append(f"tests/{directory} ({reason}: {files})")
    return [f"versions: {', '.join(versions)}", f"left out: {'; '.join(left_out) or 'nothing'}"]


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test with the directory that it lives in, so that ``-m`` can select by need."""
    directory = item.path.relative_to(TESTS).parts[0]
    if directory in ("browser", "libraries", "modules", "peers"):
        item.add_marker(directory)
    for warning in IGNORED_WARNINGS.get(directory, ()):
        item.add_marker(pytest.mark.filterwarnings(warning))

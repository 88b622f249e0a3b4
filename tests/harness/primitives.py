"""Every primitive that the installed JAX defines, and what brainir does with it."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator

from jax.extend.core import Primitive

from brainir.frontend.lowering import lowered_primitives
from brainir.frontend.refused import REFUSED

__all__ = ["INTERNAL", "classes", "page", "primitives"]

_KERNELS = ("jax._src.pallas", "jax._src.mosaic", "jax._src.thunky", "jax._src.tpu_custom_call")
"""Where languages for kernels have primitives of their own, which stay inside a kernel."""

_OUTSIDE = (*_KERNELS, "jax._src.clusters", "jax._src.cloud_tpu", "jax._src.export.serialization", "jax._src.internal")
"""What is not imported: kernels, and modules that need what is not installed or does something when imported."""

_EXPERIMENTAL = (
    "buffer_callback", "checkify", "custom_partitioning", "fused", "hijax", "layout", "multihost_utils", "random",
    "rnn", "scheduling_groups", "shard_alike", "sparse", "xla_metadata",
)  # fmt: skip

INTERNAL: dict[str, tuple[str, ...]] = {
    "how a jit compiles another primitive; it is in no traced program": (
        "bcoo_spdot_general_unbatched",
        "coo_spmm",
        "coo_spmv",
        "csr_spmm",
        "csr_spmv",
        "dot_product_attention_bwd",
        "dot_product_attention_fp8_bwd",
        "dot_product_attention_fp8_fwd",
        "dot_product_attention_fwd",
        "eigh_jacobi",
        "full_to_shard",
        "philox2x32",
        "philox4x32",
        "scaled_matmul",
        "shard_to_full",
        "threefry4x32",
    ),
    "a step of a transformation; it is gone when that is done": (
        "call",
        "custom_jvp_call_jaxpr",
        "tie",
        "unreachable",
        "vmap",
        "zeros_like",
    ),
    "made by no public function": (
        "broadcast_to",
        "from_edtype",
        "select_and_scatter",
        "to_edtype",
    ),
    "an asynchronous form, made by no public function": (
        "all_gather_done",
        "all_gather_reduced_start",
        "all_gather_start",
        "all_to_all_done",
        "all_to_all_start",
        "pbroadcast_done",
        "pbroadcast_start",
        "ppermute_done",
        "ppermute_start",
        "psum_done",
        "psum_invariant_start",
        "psum_start",
        "reduce_scatter_done",
        "reduce_scatter_start",
        "unreduced_psum_start",
        "unreduced_reduce_scatter_start",
    ),
}
"""Reason to names of primitives that public JAX puts into no program."""


def primitives() -> set[str]:
    """Return the names of all primitives of the installed JAX but those of kernels."""
    _import_below([*importlib.import_module("jax._src").__path__], "jax._src.")
    for name in _EXPERIMENTAL:
        if importlib.util.find_spec(f"jax.experimental.{name}") is not None:
            importlib.import_module(f"jax.experimental.{name}")
    modules = [module for name, module in [*sys.modules.items()] if _is_searched(name)]
    return {value.name for module in modules for value in vars(module).values() if isinstance(value, Primitive)}


def _is_searched(module: str) -> bool:
    return module.startswith("jax.") and not module.startswith((*_OUTSIDE, "jax.experimental.pallas"))


def _import_below(path: list[str], prefix: str) -> None:
    for info in pkgutil.iter_modules(path, prefix):
        if not info.name.startswith((*_OUTSIDE, "jax._src.lib", "jax._src.test")):
            module = importlib.import_module(info.name)
            if info.ispkg:
                _import_below([*module.__path__], f"{info.name}.")


def _has_implementation(name: str) -> bool:
    """Whether brainir lowers a primitive from what computes it: those of ``jax.experimental.sparse``."""
    kind = name.partition("_")[0]
    module = sys.modules.get(f"jax.experimental.sparse.{kind}")
    return name in ("call_hi_primitive", "todense") or hasattr(module, f"_{name}_impl")


def classes(name: str) -> list[str]:
    """Return what brainir does with a primitive; a primitive that is taken care of has one answer."""
    tables = {**{f"refused: {reason}": names for reason, names in REFUSED.items()}, **INTERNAL}
    found = [reason for reason, names in tables.items() if name in names]
    if name in lowered_primitives():
        found.append("lowered")
    elif _has_implementation(name):
        found.append("lowered from its implementation")
    return found


def page() -> str:
    """Return the page for the documentation; it depends on brainir alone, not on the JAX that is installed."""
    return f"""# Primitives that are not lowered

brainir has a rule for {len(lowered_primitives())} primitives by name, and lowers those of `jax.experimental.sparse` and
of other packages from their implementations. `python -m tests.harness --primitives` lists every primitive of the
installed JAX with what brainir does with it, and makes this page with `--write docs/primitives.md`. A primitive that a
new JAX adds fails `tests/test_primitives.py` by its name.

## Refused

In one error with all places, and the way out.

{_rows(REFUSED)}

## In no program that public functions trace

Kernels of Pallas and Mosaic have primitives of their own. Besides:

{_rows(INTERNAL)}
"""


def _rows(table: dict[str, tuple[str, ...]]) -> str:
    rows = "\n".join(_row(reason, names) for reason, names in table.items())
    return f"| why | primitives |\n|---|---|\n{rows}"


def _row(reason: str, names: tuple[str, ...]) -> str:
    return f"| {reason} | {', '.join(f'`{name}`' for name in names)} |"


def lines() -> Iterator[str]:
    """Yield a line for each primitive of the installed JAX."""
    for name in sorted(primitives()):
        yield f"{name:40} {'; '.join(classes(name)) or '?'}"

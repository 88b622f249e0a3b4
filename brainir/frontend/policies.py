"""Policies of ``jax.checkpoint``, which JAX keeps as functions, by name."""

from __future__ import annotations

import functools
from typing import Any

import jax

from ..ir.ops import RematPolicy
from .rules import UnsupportedError

__all__ = ["remat_policy"]

_POLICIES = jax.checkpoint_policies
_PLAIN = (
    "everything_saveable",
    "nothing_saveable",
    "dots_saveable",
    "dots_with_no_batch_dims_saveable",
)
_BY_NAMES = ("save_only_these_names", "save_any_names_but_these", "save_anything_except_these_names")


def remat_policy(policy: Any) -> RematPolicy | None:
    """Return the name and arguments of a policy.

    Raises
    ------
    UnsupportedError
        If it is not one that ``jax.checkpoint_policies`` makes.
    """
    if policy is None:
        return None
    for name in _PLAIN:
        if policy == getattr(_POLICIES, name):
            return RematPolicy(name=name)
    for name in _BY_NAMES:
        if _is_made_like(policy, _specimen(name)):
            # JAX 0.10 forgets the names that save_anything_except_these_names was given.
            return RematPolicy(name=name, names=_texts(next(iter(_contents(policy)), ())))
    if _is_made_like(policy, _specimen("save_from_both_policies")):
        first, second = (remat_policy(part) for part in _contents(policy))
        if first is not None and second is not None:
            return RematPolicy(name="save_from_both_policies", policies=(first, second))
    if _is_made_like(policy, _specimen("save_and_offload_only_these_names")):
        offloaded, saved, destination, source = _contents(policy)
        return RematPolicy(
            name="save_and_offload_only_these_names",
            names=_texts(saved),
            offloaded=_texts(offloaded),
            source=source,
            destination=destination,
        )
    if _is_made_like(policy, _specimen("offload_dot_with_no_batch_dims")):
        destination, source = _contents(policy)
        return RematPolicy(name="offload_dot_with_no_batch_dims", source=source, destination=destination)
    raise UnsupportedError(
        f"the policy {getattr(policy, '__qualname__', policy)} is none of jax.checkpoint_policies, "
        "and has no name to store"
    )


@functools.cache
def _specimen(name: str) -> Any:
    """Return a policy that a function of ``jax.checkpoint_policies`` makes, to compare with."""
    match name:
        case "save_from_both_policies":
            return _POLICIES.save_from_both_policies(
                _POLICIES.dots_saveable, _POLICIES.dots_with_no_batch_dims_saveable
            )
        case "save_and_offload_only_these_names":
            return _POLICIES.save_and_offload_only_these_names(
                names_which_can_be_saved=["a"],
                names_which_can_be_offloaded=["b"],
                offload_src="device",
                offload_dst="pinned_host",
            )
        case "offload_dot_with_no_batch_dims":
            return _POLICIES.offload_dot_with_no_batch_dims("device", "pinned_host")
    return getattr(_POLICIES, name)("a")


def _is_made_like(policy: Any, specimen: Any) -> bool:
    """Whether two policies come from one function: closures with the same code, or records of one class."""
    code = getattr(specimen, "__code__", None)
    return getattr(policy, "__code__", None) is code if code is not None else type(policy) is type(specimen)


def _contents(policy: Any) -> list[Any]:
    """Return what a closure or record holds, in alphabetical order of the names."""
    if hasattr(policy, "__code__"):
        cells = (cell.cell_contents for cell in policy.__closure__ or ())
        return [value for _, value in sorted(zip(policy.__code__.co_freevars, cells, strict=True))]
    return [value for _, value in sorted(vars(policy).items())]


def _texts(names: Any) -> tuple[str, ...]:
    if not all(isinstance(name, str) for name in names):
        raise UnsupportedError(f"a policy of jax.checkpoint with the names {names!r}, which are not text")
    return tuple(sorted(names))

"""Schemas of operations that run functions of the program."""

from __future__ import annotations

from typing import ClassVar, Literal

from ..model import FunctionRef, Model
from ..node import Node, Traits
from .external import Attribute
from .sharding import Sharding
from .traits import CONTROL, Ints


class Call(Node):
    """Run a function of the table: a nested ``jax.jit``.

    ``in_shardings`` and ``out_shardings`` say how operands and results lie on a mesh, None where the compiler chooses;
    they are empty if it chooses for all.
    """

    op: Literal["call"] = "call"
    function: FunctionRef
    inline: bool = False
    keep_unused: bool = False
    donated: Ints = ()
    in_shardings: tuple[Sharding | None, ...] = ()
    out_shardings: tuple[Sharding | None, ...] = ()
    family_traits: ClassVar[Traits] = CONTROL


class Composite(Node):
    """Run ``function``, which a compiler may know under a name as one operation (``jax.lax.composite``).

    The parameters are for the compiler; what the function computes with them is in it already.
    """

    op: Literal["composite"] = "composite"
    function: FunctionRef
    name: str
    version: int = 0
    params: tuple[tuple[str, Attribute], ...] = ()
    family_traits: ClassVar[Traits] = CONTROL


class CustomVmap(Node):
    """Run ``function``, which ``jax.vmap`` batches by a rule of its own (``jax.custom_batching.custom_vmap``).

    The rule is a Python function of the size of the batch. Only one is stored: that of ``sequential_vmap``, a loop. Any
    other is an external, which may be bound by the name ``rule`` at emission; else the node has derivatives, but to
    batch it is an error. A rule that JAX made for a derivative has no name.
    """

    op: Literal["custom_vmap"] = "custom_vmap"
    function: FunctionRef
    sequential: bool = False
    rule: str = ""
    family_traits: ClassVar[Traits] = CONTROL


class Unvmap(Node):
    """One value for all examples of a batch: the result has no batch axis where ``jax.vmap`` batches the operand.

    ``unvmap_all``, ``unvmap_any`` and ``unvmap_max`` combine all elements, and those of all examples (Equinox and
    brainstate have primitives of these names). ``is_vmapped`` is whether ``jax.vmap`` batches the operand.
    """

    op: Literal["is_vmapped", "unvmap_all", "unvmap_any", "unvmap_max"]
    family_traits: ClassVar[Traits] = Traits(blocks_gradient=True)


class JvpCase(Model):
    """One case of a JVP rule that asks which tangents are zero (``symbolic_zeros=True``).

    Parameters
    ----------
    perturbed : tuple of int
        The operands whose tangents are not zero, counted from the first that the rule sees.
    moved : tuple of int
        The results for which the rule then gives a tangent.
    """

    perturbed: Ints
    moved: Ints


class CustomJvp(Node):
    """Run ``function``, which is differentiated by the rule ``jvp`` (``jax.custom_jvp``).

    The rule takes all operands, then a tangent for each operand with an inexact element type, and returns all results,
    then a tangent for each result with an inexact element type.

    With ``cases``, the rule can be another one where some tangents are zero: ``jvps`` has one for each case. It takes
    the operands after the first ``closed_over``, then the tangents of those that are perturbed, and returns all
    results, then the tangents of those that move. ``jvp`` is the rule where all are perturbed.

    If ``covering``, there is one case, which stands for all with fewer perturbed operands: their tangents are zeros.
    """

    op: Literal["custom_jvp"] = "custom_jvp"
    function: FunctionRef
    jvp: FunctionRef
    closed_over: int = 0
    cases: tuple[JvpCase, ...] = ()
    covering: bool = False
    jvps: tuple[FunctionRef, ...] = ()
    family_traits: ClassVar[Traits] = CONTROL

    @classmethod
    def rule_names(cls) -> tuple[str, ...]:
        """See :meth:`Node.rule_names`."""
        return ("jvp", "jvps")


class VjpCase(Model):
    """One case of VJP rules that ask which operands are perturbed and which cotangents are zero.

    Parameters
    ----------
    perturbed : tuple of int
        The operands that are differentiated, counted from the first that the rules see.
    asked : tuple of int
        The results whose cotangents are not zero.
    returned : tuple of int
        The operands for which the backward rule then gives a cotangent, whether they are perturbed or not.
    """

    perturbed: Ints
    asked: Ints
    returned: Ints


class CustomVjp(Node):
    """Run ``function``, which is differentiated by the rules ``fwd`` and ``bwd`` (``jax.custom_vjp``).

    ``fwd`` takes all operands and returns all results, then the residuals. ``bwd`` takes the residuals, then a
    cotangent for each result with an inexact element type, and returns a cotangent for each operand with one: of its
    shape, and of any element type.

    With ``cases``, the rules can be others where operands are not perturbed or cotangents are zero: ``fwds`` and
    ``bwds`` have one for each case. A forward rule takes the operands after the first ``closed_over``; a backward rule
    takes residuals and the cotangents that are asked, and returns those that the case names.

    If ``covering``, there is one case, which stands for all with fewer perturbed operands or asked results: cotangents
    that are not asked are zeros.
    """

    op: Literal["custom_vjp"] = "custom_vjp"
    function: FunctionRef
    fwd: FunctionRef
    bwd: FunctionRef
    closed_over: int = 0
    cases: tuple[VjpCase, ...] = ()
    covering: bool = False
    fwds: tuple[FunctionRef, ...] = ()
    bwds: tuple[FunctionRef, ...] = ()
    family_traits: ClassVar[Traits] = CONTROL

    @classmethod
    def rule_names(cls) -> tuple[str, ...]:
        """See :meth:`Node.rule_names`."""
        return ("fwd", "bwd", "fwds", "bwds")


class NoDerivative(Node):
    """Run ``function``, whose derivative rule could not be stored: to differentiate it is an error that says `reason`.

    JAX itself traces a rule when it differentiates. Some rules it cannot trace ahead of that, and some lead to a larger
    program with every order of derivative.
    """

    op: Literal["no_derivative"] = "no_derivative"
    function: FunctionRef
    reason: str
    family_traits: ClassVar[Traits] = CONTROL


class Cond(Node):
    """Run the branch that the first operand (an ``int32`` index) names; all branches take the other operands.

    With `platforms` (``jax.lax.platform_dependent``), the index is that of :class:`PlatformIndex`, and a branch is only
    compiled for its own platforms; None, the last, stands for all others.
    """

    op: Literal["cond"] = "cond"
    branches: tuple[FunctionRef, ...]
    platforms: tuple[tuple[str, ...] | None, ...] = ()
    family_traits: ClassVar[Traits] = CONTROL


class Scan(Node):
    """Run ``body`` ``length`` times (``jax.lax.scan``).

    The operands are ``num_consts`` constants, ``num_carry`` carried values, and arrays that are scanned over their
    first axis. The body takes constants, carry and slices, and returns the new carry and slices of the stacked results.
    ``split_transpose`` (JAX before 0.10) says how the backward pass is written.
    """

    op: Literal["scan"] = "scan"
    body: FunctionRef
    length: int
    num_consts: int
    num_carry: int
    reverse: bool = False
    unroll: int = 1
    split_transpose: bool = False
    family_traits: ClassVar[Traits] = CONTROL


class While(Node):
    """Run ``body`` while ``cond`` holds; the operands are constants of ``cond``, constants of ``body``, the carry."""

    op: Literal["while"] = "while"
    cond: FunctionRef
    body: FunctionRef
    cond_nconsts: int
    body_nconsts: int
    family_traits: ClassVar[Traits] = CONTROL


class RematPolicy(Model):
    """What ``jax.checkpoint`` saves: a policy of ``jax.checkpoint_policies`` by name, with its arguments.

    Parameters
    ----------
    name : str
        The function of ``jax.checkpoint_policies``.
    names : tuple of str
        Values (of ``checkpoint_name``) that it saves, or does not save; sorted.
    offloaded : tuple of str
        Values that it moves from memory `source` to memory `destination`; sorted.
    source, destination : str
        Memories, for the policies that offload.
    policies : tuple of RematPolicy
        For ``save_from_both_policies``: the two that it combines.
    """

    name: str
    names: tuple[str, ...] = ()
    offloaded: tuple[str, ...] = ()
    source: str = ""
    destination: str = ""
    policies: tuple[RematPolicy, ...] = ()


class Checkpoint(Node):
    """Run ``function``, whose intermediate values are computed again for the derivative (``jax.checkpoint``).

    ``differentiated`` marks the part that runs in a backward pass.
    """

    op: Literal["checkpoint"] = "checkpoint"
    function: FunctionRef
    policy: RematPolicy | None = None
    prevent_cse: bool = True
    differentiated: bool = False
    family_traits: ClassVar[Traits] = CONTROL


class CustomLinearSolve(Node):
    """Solve ``matvec(x) = b`` by ``solve``; derivatives use the other functions (``jax.lax.custom_linear_solve``).

    The operands are the constants of ``matvec``, ``vecmat``, ``solve`` and ``transpose_solve``, as many as
    ``const_lengths`` says, then ``b``. Each function takes its constants, then one vector (a tuple of arrays).
    """

    op: Literal["custom_linear_solve"] = "custom_linear_solve"
    solve: FunctionRef
    matvec: FunctionRef
    vecmat: FunctionRef | None = None
    transpose_solve: FunctionRef | None = None
    const_lengths: tuple[int, int, int, int]
    family_traits: ClassVar[Traits] = CONTROL

    @classmethod
    def rule_names(cls) -> tuple[str, ...]:
        """See :meth:`Node.rule_names`."""
        return ("matvec", "vecmat", "transpose_solve")


class LinearCall(Node):
    """Run ``function``, linear in all but the first ``num_fixed`` operands, with its own ``transpose``.

    ``transpose`` takes the last ``num_residuals`` of the fixed operands, then a cotangent for each result, and returns
    a cotangent for each linear operand (``jax.custom_derivatives.linear_call``).
    """

    op: Literal["linear_call"] = "linear_call"
    function: FunctionRef
    transpose: FunctionRef
    num_fixed: int
    num_residuals: int
    family_traits: ClassVar[Traits] = CONTROL

    @classmethod
    def rule_names(cls) -> tuple[str, ...]:
        """See :meth:`Node.rule_names`."""
        return ("transpose",)


class OptimizationBarrier(Node):
    """Return the operands; the compiler moves nothing across."""

    op: Literal["optimization_barrier"] = "optimization_barrier"


class CheckpointName(Node):
    """Return the operand under a name that policies of ``jax.checkpoint`` know."""

    op: Literal["name"] = "name"
    name: str
    family_traits: ClassVar[Traits] = Traits(elementwise=True, linear=(0,))

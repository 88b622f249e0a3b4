"""Online learning: steps generated from programs, as functions and as programs themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
from jax import lax
from jax import numpy as jnp

from .analysis.learning.options import LearningOptions
from .analysis.learning.plan import LearningPlan, plan_learning
from .analysis.learning.report import LearningReport
from .analysis.reachability import reached
from .backend.learning.boundary import LearnerBoundary
from .backend.learning.chunks import ChunkedRule, chunk_length
from .backend.learning.host import PlanFunctions
from .backend.learning.rules import OnlineRule, PieceState, Steps
from .backend.learning.windows import window_gradient
from .frontend.function import lower
from .ir.errors import EmissionError
from .ir.interface import leaf_count
from .ir.printer import format_path
from .ir.program import Program, require_program

__all__ = ["Learner", "compile_learner"]

Carry = dict[str, Any]
Traces = dict[str, dict[str, Any]]


def compile_learner(
    program: Program,
    algorithm: Literal["d_rtrl", "es_d_rtrl"] = "d_rtrl",
    *,
    loss: Callable[[Any, Any], Any],
    decay: float | int | None = None,
    window: int | None = None,
    target: Any = None,
    externals: Mapping[str, Callable[..., Any]] | None = None,
) -> Learner:
    """Generate an online learning step from a program.

    Parameters
    ----------
    program : Program
        From :func:`~brainir.lower_module` or :func:`~brainir.lower_step`. Its states and inputs may have batch axes.
    algorithm : {"d_rtrl", "es_d_rtrl"}
        D-RTRL keeps a trace for each weight; ES-D-RTRL keeps an outer product of two vectors for it.
    loss : callable
        ``loss(out, target) -> scalar``, any JAX function of the result of a step and a target of any structure.
    decay : float or int, optional
        For ES-D-RTRL, and needed there: the decay in ``[0, 1)``, or an integer rank r >= 1, which is the decay
        ``(r - 1) / (r + 1)``.
    window : int, optional
        Take gradients over windows of this many steps, by reverse differentiation inside and with traces for what
        came before; more accurate, and needs the traces of all states. For D-RTRL.
    target : Any, optional
        An example of a target, arrays or ``jax.ShapeDtypeStruct``. With it, traces are left out of states that reach
        only what the loss does not read, and :attr:`Learner.program` knows its inputs; without it, all of the
        result counts, and targets are taken to look like results.
    externals : mapping, optional
        Functions for what the step calls on the host, by name, as for :func:`~brainir.to_callable`. Calls that have
        effects and no result, such as those of ``jax.debug.print``, are made once in each step.

    Returns
    -------
    Learner

    Raises
    ------
    AnalysisError
        If the program has no hidden states or no parameters, or if the gradient of a step would have to go backward
        through a ``while`` loop.
    EmissionError
        If an option does not fit, or a name has no function; or if the gradient depends on the result of a call that
        has effects (``io_callback``), which would be made a second time.

    Notes
    -----
    Wang et al., Nature Communications 2026, doi 10.1038/s41467-026-68453-w.
    """
    require_program(program)
    options = LearningOptions.of(algorithm, decay=decay, window=window)
    if not callable(loss):
        raise EmissionError(f"loss must be a function loss(out, target) -> scalar, not {type(loss).__name__}")
    unread = () if target is None else _unread(program, loss, target)
    plan = plan_learning(program, options.algorithm, window=options.window is not None, unread=unread)
    return Learner(plan, loss, options, target=target, functions=PlanFunctions(externals or {}))


def _unread(program: Program, loss: Callable[[Any, Any], Any], target: Any) -> tuple[int, ...]:
    """Return which leaves of the step's result have no way to the loss."""
    boundary = LearnerBoundary(program)
    function = lower(loss, boundary.example_result(), target).entry_function
    count = leaf_count(program.interface.result)
    seeds = {name: 1 << place for place, name in enumerate(function.inputs[:count])}
    found = reached(function, seeds).get(function.outputs[0], 0)
    return tuple(place for place in range(count) if not found >> place & 1)


class Learner:
    """An online learning step, made by :func:`compile_learner`.

    All methods are pure and can be jitted, scanned, mapped and sharded. ``params`` are the parameter states: a dict by
    path, as :func:`~brainir.read_states` gives them (other states in it are left alone); for
    :func:`~brainir.lower_step`, the params pytree. An input ``x`` is the argument of the step; a tuple of them for a
    step of several arguments.

    Attributes
    ----------
    plan : LearningPlan
        Which traces are kept, and in which form.
    """

    def __init__(
        self,
        plan: LearningPlan,
        loss: Callable[[Any, Any], Any],
        options: LearningOptions,
        *,
        target: Any,
        functions: PlanFunctions,
    ) -> None:
        self.plan = plan
        self.window = options.window
        self._loss = loss
        self._target = target
        self._rule = OnlineRule(plan, options.decay, functions)
        self._boundary = LearnerBoundary(plan.program)
        self._chunked = ChunkedRule(self._rule) if ChunkedRule.fits(self._rule) else None

    def init(self, states: Any) -> Carry:
        """Return the carry before the first step.

        Parameters
        ----------
        states : dict or pytree
            The states that are not parameters, by path (parameters in it are left alone); for
            :func:`~brainir.lower_step`, the hidden pytree.

        Returns
        -------
        dict
            ``states`` as given, and ``traces`` of zero.
        """
        return {"states": self._boundary.states(self._boundary.carried_leaves(states)), "traces": self._rule.init()}

    def step(self, params: Any, carry: Carry, x: Any, target: Any) -> tuple[Carry, Any, Any]:
        """Take one step; with a window, the steps of one window.

        Parameters
        ----------
        params : dict or pytree
        carry : dict
            From :meth:`init` or the step before.
        x : Any
            The input of the step; with a window, inputs with a leading axis of steps.
        target : Any
            Goes to the loss; with a window, with a leading axis of steps.

        Returns
        -------
        carry : dict
        loss : scalar
            Summed over a window.
        grads : dict or pytree
            In the structure and units of the parameters.
        """
        leaves = self._boundary.param_leaves(params)
        if self.window is not None:
            steps = self._boundary.length((x, target))
            if steps != self.window:
                raise EmissionError(
                    f"a step of this learner takes a window of {self.window} steps, but x and target have {steps}; "
                    "use run for a sequence of any length"
                )
            opened = self._open(carry, leaves)
            state, losses = window_gradient(self._rule, self._steps(leaves), opened, (x, target))
            new, gradients = self._close(state)
            return new, losses.sum(), self._boundary.gradients(gradients)
        new, value, gradients = self._step(leaves, carry, x, target)
        return new, value, self._boundary.gradients(gradients)

    def _step(self, params: list[Any], carry: Carry, x: Any, target: Any) -> tuple[Carry, Any, list[Any]]:
        carried, traces = self._taken(carry)
        leaves = self._leaves(params, carried, x)
        carried, traces, value, gradients = self._rule.step(leaves, traces, self._loss_of(target))
        return {"states": self._boundary.states(carried), "traces": traces}, value, gradients

    def _leaf_loss(self, results: Any, *, target: Any) -> Any:
        value = self._loss(self._boundary.result(list(results)), target)
        mantissa = getattr(value, "mantissa", None)
        if mantissa is not None:
            if not value.unit.is_unitless:
                raise EmissionError(f"the loss must be a plain number, not in {value.unit}; divide it by its unit")
            value = mantissa
        if not hasattr(value, "shape") or value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
            raise EmissionError(
                "the loss must be one floating point number, not "
                f"{jax.typeof(value) if hasattr(value, 'shape') else type(value).__name__}; take a sum or a mean"
            )
        return value

    def run(self, params: Any, carry: Carry, xs: Any, targets: Any) -> tuple[Carry, Any, Any]:
        """Take a step for each entry of the leading axis of `xs` and `targets`, with the same parameters.

        Parameters
        ----------
        params : dict or pytree
        carry : dict
            From :meth:`init`, or from the step or run before.
        xs : Any
            The inputs, with a leading axis of steps.
        targets : Any
            What goes to the loss, with a leading axis of steps.

        Returns
        -------
        carry : dict
        losses : array
            One for each step.
        grads : dict or pytree
            Summed over the steps.
        """
        steps = self._boundary.length((xs, targets))
        leaves = self._boundary.param_leaves(params)
        state = self._open(carry, leaves)
        if self.window is not None:
            take = functools.partial(window_gradient, self._rule, self._steps(leaves))
            state, losses = _in_pieces(take, state, (xs, targets), steps, self.window)
        elif self._chunked is not None:
            take = functools.partial(self._chunked.run, self._steps(leaves))
            state, losses = _in_pieces(take, state, (xs, targets), steps, chunk_length(steps))
        else:
            state, losses = lax.scan(functools.partial(self._one, leaves), state, (xs, targets))
        carry, gradients = self._close(state)
        return carry, losses, self._boundary.gradients(gradients)

    def _open(self, carry: Carry, params: list[Any]) -> PieceState:
        return *self._taken(carry), [jnp.zeros_like(leaf) for leaf in params]

    def _taken(self, carry: Any) -> tuple[list[Any], Traces]:
        """Take a carry apart.

        Raises
        ------
        EmissionError
            If it is not from this learner.
        """
        if not isinstance(carry, Mapping) or carry.keys() != {"states", "traces"}:
            raise EmissionError(
                "carry must be a dict of 'states' and 'traces', from init or from the step before, not "
                f"{sorted(map(str, carry)) if isinstance(carry, Mapping) else type(carry).__name__}"
            )
        wanted, given = self._trace_types, _types(carry["traces"])
        wrong = sorted(name for name in {*wanted, *given} if wanted.get(name) != given.get(name))
        if wrong:
            raise EmissionError(
                f"carry['traces'] are not those of this learner: {wrong[0]} is {given.get(wrong[0], 'missing')}, not "
                f"{wanted.get(wrong[0], 'one of them')}; start from learner.init(states)"
            )
        return self._boundary.carried_leaves(carry["states"]), carry["traces"]

    @functools.cached_property
    def _trace_types(self) -> dict[str, str]:
        return _types(jax.eval_shape(self._rule.init))

    def _close(self, state: PieceState) -> tuple[Carry, list[Any]]:
        carried, traces, gradients = state
        return {"states": self._boundary.states(carried), "traces": traces}, gradients

    def _leaves(self, params: list[Any], carried: Sequence[Any], x: Any) -> list[Any]:
        return self._boundary.all_leaves(params, carried, self._boundary.input_leaves(x))

    def _loss_of(self, target: Any) -> Callable[[Any], Any]:
        return functools.partial(self._leaf_loss, target=target)

    def _one(self, params: list[Any], state: PieceState, given: tuple[Any, Any]) -> tuple[PieceState, Any]:
        carried, traces, total = state
        x, target = given
        leaves = self._leaves(params, carried, x)
        carried, traces, value, gradients = self._rule.step(leaves, traces, self._loss_of(target))
        return (carried, traces, [one + two for one, two in zip(total, gradients, strict=True)]), value

    def _steps(self, params: list[Any]) -> Steps:
        return Steps(self._leaves, self._loss_of, params)

    @functools.cached_property
    def program(self) -> Program:
        """The step as a program ``step(params, carry, x, target) -> (carry, loss, grads)``.

        It can be saved, loaded and run where neither the model's code nor brainstate is installed, and compared with
        that of another version of the model. Keys are texts: the state ``("neu", "V")`` is ``neu.V``; see
        :meth:`named`. For a learner with a window it is the step of one window.

        Raises
        ------
        EmissionError
            If the loss cannot take a target that looks like the result of the step, and no example was given.
        """
        boundary = self._boundary
        params, carried, x = boundary.examples()
        carry = {"states": carried, "traces": self._rule.init()}
        target = boundary.example_result() if self._target is None else self._target
        if self.window is not None:
            x, target = jax.tree.map(lambda leaf: jnp.stack([leaf] * (self.window or 1)), (x, target))

        def step(params: Any, carry: Any, x: Any, target: Any) -> Any:
            after, value, grads = self.step(boundary.by_path(params), self._by_path(carry), x, target)
            return self.named(after), value, self.named(grads)

        try:
            return lower(step, self.named(params), self.named(carry), x, target)
        except (TypeError, ValueError) as error:
            if self._target is not None:
                raise
            raise EmissionError(
                f"the loss does not take a target like the result of the step ({error}); give an example of a target: "
                "compile_learner(..., target=...)"
            ) from error

    def _by_path(self, carry: Any) -> Carry:
        return {**carry, "states": self._boundary.by_path(carry["states"])}

    def named(self, tree: Any) -> Any:
        """Return parameters, gradients or a carry with texts in place of state paths, as :attr:`program` takes them."""
        if not isinstance(tree, dict):
            return tree
        return {
            format_path(key) if isinstance(key, tuple) else key: self.named(value) if key == "states" else value
            for key, value in tree.items()
        }

    def report(self) -> LearningReport:
        """Return what is learned how, and what is not and why."""
        return self.plan.report

    def __repr__(self) -> str:
        return f"<brainir.Learner {self.plan.algorithm} of {self.plan.program.entry}: see report()>"

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()


def _types(traces: Any) -> dict[str, str]:
    """Return the type of each array by its keys."""
    return {
        jax.tree_util.keystr(path): f"{leaf.dtype}{list(leaf.shape)}" if hasattr(leaf, "dtype") else type(leaf).__name__
        for path, leaf in jax.tree_util.tree_leaves_with_path(traces)
    }


def _in_pieces(
    take: Callable[[PieceState, Any], tuple[PieceState, Any]], state: PieceState, given: Any, steps: int, length: int
) -> tuple[PieceState, Any]:
    """Take steps in pieces of one length, and what is left over in a shorter one."""
    whole = steps // length
    losses = []
    if whole == 1 and steps == length:
        return take(state, given)
    if whole:
        first = jax.tree.map(lambda leaf: leaf[: whole * length].reshape(whole, length, *leaf.shape[1:]), given)
        state, values = lax.scan(take, state, first)
        losses.append(values.reshape(-1))
    if whole * length < steps or not whole:
        state, values = take(state, jax.tree.map(lambda leaf: leaf[whole * length :], given))
        losses.append(values)
    return state, jnp.concatenate(losses)

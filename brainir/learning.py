"""Online learning: steps generated from programs, as functions and as programs themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
from jax import numpy as jnp

from .analysis.bit_sets import numbered
from .analysis.dataflow.reachability import reached
from .analysis.learning.options import LearningOptions
from .analysis.learning.plan import Algorithm, LearningPlan
from .analysis.learning.planning import plan_learning
from .analysis.learning.report import LearningReport
from .backend.learning.boundary import LearnerBoundary, loss_value
from .backend.learning.calls import Carry, LearnerCall
from .backend.learning.chunks import ChunkedRule
from .backend.learning.host import PlanFunctions
from .backend.learning.rules import OnlineRule
from .frontend.function import lower
from .ir.errors import BrainIRError, EmissionError
from .ir.printer import format_path
from .ir.program import Program, require_program
from .ir.trees import leaf_count

__all__ = ["Learner", "compile_learner"]


def compile_learner(
    program: Program,
    algorithm: Algorithm = "d_rtrl",
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
        An example of a target, arrays or ``jax.ShapeDtypeStruct``. With it, the loss is checked at once, traces are
        left out of states that reach only what the loss does not read, and :attr:`Learner.program` knows its inputs;
        without it, all of the result counts, and targets are taken to look like results.
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
        If an option does not fit, or a name has no function; if the loss of the example of a target is not one floating
        point number; or if the gradient depends on the result of a call that
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

    def value(out: Any, target: Any) -> Any:
        return loss_value(loss(out, target))

    function = lower(value, LearnerBoundary(program).example_result(), target).entry_function
    count = leaf_count(program.interface.result)
    found = reached(function, numbered(function.inputs[:count])).get(function.outputs[0], 0)
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
        self._chunked = ChunkedRule.of(self._rule)

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
        boundary = self._boundary.for_call()
        return {"states": boundary.states(boundary.carried_leaves(states)), "traces": self._rule.init()}

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
        call = self._call(params)
        if self.window is None:
            return call.step(carry, x, target)
        steps = self._boundary.length((x, target))
        if steps != self.window:
            raise EmissionError(
                f"a step of this learner takes a window of {self.window} steps, but x and target have {steps}; "
                "use run for a sequence of any length"
            )
        carry, losses, gradients = call.windows(carry, (x, target), self.window)
        return carry, losses.sum(), gradients

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
        call = self._call(params)
        if self.window is not None:
            return call.windows(carry, (xs, targets), self.window)
        if self._chunked is not None:
            return call.chunks(carry, (xs, targets), self._chunked)
        return call.steps(carry, (xs, targets))

    def _call(self, params: Any) -> LearnerCall:
        return LearnerCall(self._rule, self._boundary.for_call(), self._loss, params)

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
        boundary = self._boundary.for_call()
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
        except Exception as error:
            if self._target is not None or isinstance(error, BrainIRError):
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

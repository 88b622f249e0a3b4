"""How learning is planned: the terms of a step, their ways to the hidden states, and what is kept of each."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import assert_never, get_args

from ...ir.errors import AnalysisError
from ...ir.program import Program
from ...ir.types import is_literal
from ..groups import HiddenGroup, groups_of
from ..slicing import flat_interface
from ..weights.scan import WeightScan
from .adding import add_apart
from .backward import check_backward
from .complex_states import check_complex
from .exits import ExitForm, exit_form
from .plan import Algorithm, Forward, GroupPlan, LearningPlan, Role, TracePlan
from .repeating import repeat_weights
from .report import Learned, Lost, learning_report
from .roles import roles_of
from .sharing import with_shared
from .spaces import has_data_apart, trace_bytes
from .tails import Derivative, Tail, clusters_of, derivative_of, find_tails
from .terms import Term, find_terms

__all__ = ["plan_learning"]


def plan_learning(
    program: Program, algorithm: Algorithm, *, window: bool = False, unread: Collection[int] = ()
) -> LearningPlan:
    """Plan the online learning of a step.

    Parameters
    ----------
    program : Program
        From :func:`~brainir.lower_module` or :func:`~brainir.lower_step`.
    algorithm : {"d_rtrl", "es_d_rtrl"}
    window : bool
    unread : collection of int
        Leaves of the step's result that the loss does not depend on.

    Raises
    ------
    AnalysisError
        If the program has no hidden state or no parameter, or breaks the rules of a step, or if the gradient would go
        backward through a ``while`` loop.
    """
    if program.interface.kind == "function":
        raise AnalysisError(
            f"{program.entry!r} is a plain function: it does not say what its states and parameters are; "
            "lower it with lower_module or lower_step"
        )
    scan = repeat_weights(add_apart(WeightScan.of(program)))
    for role, found in (("hidden state", scan.states.hidden), ("parameter", scan.states.params)):
        if not found:
            raise AnalysisError(f"{program.entry!r} has no {role}, so there is nothing to learn online")
    return _Planner(scan, algorithm, window, frozenset(unread)).plan()


class _Planner:
    def __init__(self, scan: WeightScan, algorithm: Algorithm, window: bool, unread: frozenset[int]) -> None:
        self.scan = scan
        self.algorithm = algorithm
        self.window = window
        self.unread = unread
        self.hidden = scan.states.hidden
        self.terms = find_terms(scan)
        self.groups = groups_of(scan)
        self.clusters = clusters_of(scan, self.groups)

    def plan(self) -> LearningPlan:
        tails: list[Tail] = []
        covered: set[tuple[str, int]] = set()
        lost: list[Lost] = []
        for number, place, found in find_tails(self.scan, self.groups, self.clusters, self.terms):
            term = self.terms[number]
            if isinstance(found, str):
                lost.append(Lost(term, [self.groups[index] for index in self.clusters[place]], found))
                continue
            tails += found
            ends = [self.scan.function.nodes[index].outputs[0] for index in term.node_indices]
            covered.update((name, place) for name in (*ends, term.y.name))
        if self.window:
            self._check_window()
        form = self._exit_form(covered)
        groups = tuple(self._group(group, form) for group in self.groups)
        planned = [self._trace(groups[tail.group], tail) for tail in tails]
        needed = tuple(trace for trace in planned if trace.is_needed)
        for trace in needed:
            check_complex(self.groups[trace.tail.group], trace.tail)
        lost += [
            Lost(self.terms[trace.tail.term], [self.groups[trace.tail.group]], "unseen")
            for trace in planned
            if not trace.is_needed
        ]
        traces = self._merged(needed, groups)
        return LearningPlan(
            algorithm=self.algorithm,
            window=self.window,
            program=self.scan.program,
            hidden=tuple(leaf.old if leaf.kind.is_inexact else "" for leaf in self.hidden),
            groups=groups,
            terms=self.terms,
            traces=traces,
            exit_form=form,
            forward=self._forward(tails),
            report=learning_report(
                self.scan,
                algorithm=self.algorithm,
                window=self.window,
                learned=[self._learned(groups[trace.tail.group], trace) for trace in needed],
                lost=lost,
                followed=[self.terms[number] for number in sorted({tail.term for tail in tails})],
                groups=self.groups,
                kept=sum(
                    trace_bytes(self.algorithm, groups[each.tail.group], each, self.terms[each.tail.term])
                    for each in traces
                ),
            ),
        )

    def _exit_form(self, covered: Collection[tuple[str, int]]) -> ExitForm:
        clusters = [
            [self.scan.states.hidden_at[path] for index in cluster for path in self.groups[index].hidden_paths]
            for cluster in self.clusters
        ]
        products = {index for term in self.terms if term.form == "product" for index in term.node_indices[1:]}
        return exit_form(self.scan, clusters, covered=covered, products=products, unread=self.unread)

    def _check_window(self) -> None:
        """Check that reverse differentiation can go from step to step."""
        states = self.scan.states
        learned = [leaf.value.name for leaf in states.params if leaf.value.aval.is_inexact]
        hidden = [leaf for leaf in self.hidden if leaf.kind.is_inexact]
        ends = (*(leaf.new for leaf in hidden), *self.scan.results)
        check_backward(self.scan.function, (*learned, *(leaf.old for leaf in hidden)), ends)

    def _group(self, group: HiddenGroup, form: ExitForm) -> GroupPlan:
        members = [self.scan.states.hidden_at[path] for path in group.hidden_paths]
        slots = tuple(
            (place, component)
            for place, member in enumerate(members)
            if member.kind.is_inexact
            for component in range(member.state.num_state)
        )
        known = group.jacobian_structure
        rows = [known.number(members[place].path, component) for place, component in slots]
        jacobian = tuple(tuple(derivative_of(known.at(row, column)) for column in rows) for row in rows)
        numbers = tuple(member.number for member in members)
        every = tuple(range(len(slots)))
        exits, entries = (
            every if self.window else tuple(slot for slot in every if numbers[slots[slot][0]] in ends)
            for ends in (form.exits, form.entries)
        )
        return GroupPlan(group=group, numbers=numbers, slots=slots, jacobian=jacobian, exits=exits, entries=entries)

    def _trace(self, plan: GroupPlan, tail: Tail) -> TracePlan:
        term = self.terms[tail.term]
        found = dict(zip(tail.members, tail.structure, strict=True))
        none: Derivative = "zero"
        direct = tuple(found[member][component] if member in found else none for member, component in plan.slots)
        return TracePlan(
            name=f"{'.'.join(map(str, term.paths[0]))}/{tail.group}/{tail.term}",
            tail=tail,
            direct=direct,
            roles=roles_of(plan, direct, factor=self._has_data_apart(term, tail)),
        )

    def _has_data_apart(self, term: Term, tail: Tail) -> bool:
        """Return whether the trace has its data apart, so that it can be a vector over the inputs."""
        match self.algorithm:
            case "d_rtrl":
                return has_data_apart(term, tail)
            case "es_d_rtrl":
                return True
            case _:
                assert_never(self.algorithm)

    def _merged(self, traces: Sequence[TracePlan], groups: Sequence[GroupPlan]) -> tuple[TracePlan, ...]:
        """Keep once what several traces have in common."""
        match self.algorithm:
            case "d_rtrl":
                return self._summed(traces)
            case "es_d_rtrl":
                return with_shared(traces, groups, self.terms)
            case _:
                assert_never(self.algorithm)

    def _summed(self, traces: Sequence[TracePlan]) -> tuple[TracePlan, ...]:
        """Put traces of one weight together that lie in the same way over weight and positions."""
        found: dict[tuple[object, ...], TracePlan] = {}
        for trace in traces:
            term, tail = self.terms[trace.tail.term], trace.tail
            key: tuple[object, ...] = (trace.name,)
            if term.form in ("dot", "embedding", "conv") and term.x is not None:
                node = term.main_node
                attributes = tuple(repr(getattr(node, name)) for name in node.attribute_names())
                operands = (term.weights[0].name, term.weight_operand, term.x.type, term.y.type)
                key = (tail.group, tail.pairing, tail.places, term.form, *operands, *attributes)
            first = found.get(key)
            if first is None:
                found[key] = trace
                continue
            pairs = zip(first.roles, trace.roles, strict=True)
            roles = tuple(max(pair, key=get_args(Role).index) for pair in pairs)
            found[key] = first.model_copy(update={"roles": roles, "others": (*first.others, trace)})
        return tuple(found.values())

    def _learned(self, plan: GroupPlan, trace: TracePlan) -> Learned:
        term = self.terms[trace.tail.term]

        def names(*roles: Role) -> tuple[str, ...]:
            return tuple(plan.slot_name(slot) for slot in trace.slots(*roles))

        return Learned(
            paths=term.paths,
            weights=tuple(str(weight) for weight in term.weights),
            form=term.form,
            node=term.node,
            source=term.source,
            group=plan.group.index,
            full=names("full"),
            vector=names("vector"),
            not_kept=names("none", "passing"),
        )

    def _forward(self, tails: Sequence[Tail]) -> Forward:
        names = dict.fromkeys(self.scan.function.outputs)
        for group in self.groups:
            names.update(dict.fromkeys(value.name for value in group.transition_invars))
        for tail in tails:
            term = self.terms[tail.term]
            names.update(dict.fromkeys(value.name for value in (*tail.invars, *term.operation_invars, *term.weights)))
        function = self.scan.function
        wanted = tuple(name for name in names if not is_literal(name))
        interface = flat_interface(function.inputs, len(wanted))
        program = self.scan.program.with_entry(function.replace(outputs=wanted), interface)
        return Forward(program=program, names=wanted)

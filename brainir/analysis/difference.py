"""What differs between two versions of a program, and what that means for learning."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Literal, get_args

from ..ir.canonical import fingerprint
from ..ir.collector import collector_paused
from ..ir.diff import (
    Change,
    ChangeKind,
    Names,
    ProgramMatching,
    find_changes,
    format_changes,
    format_side_by_side,
    match_interfaces,
    summarize,
)
from ..ir.diff import relabel as relabel_program
from ..ir.errors import AnalysisError
from ..ir.model import StatePath
from ..ir.printer import format_path
from ..ir.program import Program, require_program
from .cost import cost
from .facts import Facts, format_paths
from .groups import group_members
from .relations import connected_states

__all__ = ["CostChange", "GroupChange", "Meaning", "ProgramDiff", "WeightChange", "diff"]

Paths = tuple[StatePath, ...]


class GroupChange(Facts):
    """Hidden groups that are not what they were.

    Parameters
    ----------
    kind : {"merged", "split", "changed"}
        ``changed``: they merged and split at once, or gained or lost states.
    before, after : tuple of tuples of paths
        The groups that share states, by the paths of their members.
    """

    kind: Literal["merged", "split", "changed"]
    before: tuple[Paths, ...]
    after: tuple[Paths, ...]

    def __repr__(self) -> str:
        sides = (self.before, self.after)
        before, after = (" and ".join(f"{{{format_paths(group)}}}" for group in side) or "none" for side in sides)
        return f"hidden groups {self.kind}: {before} -> {after}"


class WeightChange(Facts):
    """A parameter whose relations reach other hidden states than before.

    Parameters
    ----------
    path : tuple of str and int
        The parameter state; its old path, if that changed.
    gained, lost : tuple of paths
        Hidden states that its relations are connected to now, and were before.
    learned_before, learned_after : bool
        Whether it has a relation at all.
    """

    path: StatePath
    gained: Paths
    lost: Paths
    learned_before: bool
    learned_after: bool

    def __repr__(self) -> str:
        parts = [f"gained {format_paths(self.gained)}"] if self.gained else []
        parts += [f"lost {format_paths(self.lost)}"] if self.lost else []
        if self.learned_before != self.learned_after:
            parts.append(f"is {'now' if self.learned_after else 'no longer'} related to hidden states")
        return f"weight {format_path(self.path)}: {'; '.join(parts)}"


class CostChange(Facts):
    """A cost that changed.

    Parameters
    ----------
    name : str
        ``nodes``, or what :func:`cost` counts: ``flops``, ``peak live bytes``, ...
    before, after : int
    """

    name: str
    before: int
    after: int

    def __repr__(self) -> str:
        return f"{self.name}: {self.before:,} -> {self.after:,} ({self.after - self.before:+,})"


class Meaning(Facts):
    """What the changes of a program mean.

    Parameters
    ----------
    groups : tuple of GroupChange
    weights : tuple of WeightChange
        In the order of the parameter states of the old program, then of the new one.
    costs : tuple of CostChange
    unknown : str
        Why groups and weights could not be compared, if an analysis refused one of the programs.
    """

    groups: tuple[GroupChange, ...] = ()
    weights: tuple[WeightChange, ...] = ()
    costs: tuple[CostChange, ...] = ()
    unknown: str = ""

    def __repr__(self) -> str:
        facts: tuple[Facts, ...] = (*self.groups, *self.weights, *self.costs)
        lines = [f"  {each!r}" for each in facts]
        if self.unknown:
            lines.append(f"  groups and weights are not compared: {self.unknown}")
        return "\n".join(lines)


class ProgramDiff(Facts):
    """The differences between two programs; false if they mean the same.

    A node that only moved to another scope is listed, but does not make programs different.

    Parameters
    ----------
    old, new : Program
    changes : tuple of Change
        Those of the interface first, then by function.
    """

    old: Program
    new: Program
    changes: tuple[Change, ...]

    def __bool__(self) -> bool:
        return any(change.counts for change in self.changes)

    def of_kind(self, *kinds: ChangeKind) -> tuple[Change, ...]:
        """Return the changes of some kinds.

        Raises
        ------
        AnalysisError
            If there is no such kind.
        """
        known: tuple[ChangeKind, ...] = get_args(ChangeKind)
        if unknown := [kind for kind in kinds if kind not in known]:
            raise AnalysisError(f"there is no kind of change {unknown[0]!r}; there are {', '.join(known)}")
        return tuple(change for change in self.changes if change.kind in kinds)

    @functools.cached_property
    def meaning(self) -> Meaning:
        """What the changes mean for groups, weights and cost; analysed when first asked for."""
        return _meaning(self.old, self.new) if self else Meaning()

    def to_json(self) -> str:
        """Write changes and meaning as JSON, without the programs."""
        fields = {
            "equal": not self,
            "changes": [change.model_dump(exclude_defaults=True) for change in self.changes],
            "meaning": self.meaning._inside(),
        }
        return json.dumps(fields, indent=2, ensure_ascii=False)

    def to_html(self) -> str:
        """Write both programs side by side, as an HTML fragment."""
        return format_side_by_side(self.old, relabel_program(self.new, like=self.old), str(self))

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        if not self.changes:
            return "no differences"
        names = dict.fromkeys((self.old.entry, self.new.entry))
        lines = [f"{' -> '.join(names)}: {summarize(self.changes)}"]
        if not self:
            lines[0] += "; the programs mean the same"
        lines.append(format_changes(self.changes))
        if meaning := repr(self.meaning):
            lines.append(f"meaning:\n{meaning}")
        return "\n".join(lines)


@collector_paused()
def diff(old: Program, new: Program) -> ProgramDiff:
    """Find what differs between two versions of a program, whatever their values and functions are called.

    Nodes are matched by structure: equal subgraphs first, by what they compute and by what uses them, then by
    operation and neighbours. Functions are matched by content, then by the nodes that refer to them. The time is
    near-linear in the number of nodes.

    Parameters
    ----------
    old, new : Program
        Programs that verify.

    Returns
    -------
    ProgramDiff
        False if both have one fingerprint; text for people with ``str``, for tools with ``to_json``, side by side
        with ``to_html``.

    Raises
    ------
    VerificationError
        If one is no program.
    """
    require_program(old, new)
    if old is new:
        return ProgramDiff(old=old, new=new, changes=())
    matching = ProgramMatching(old, new)
    changes = find_changes(matching, Names(matching))
    added, removed = (sum(change.kind == kind for change in changes) for kind in ("added", "removed"))
    if added == removed > 0 and fingerprint(old) == fingerprint(new):
        # Of functions that call themselves, and that one version holds twice, some were matched crosswise.
        changes = tuple(change for change in changes if not change.counts)
    return ProgramDiff(old=old, new=new, changes=changes)


@collector_paused()
def _meaning(old: Program, new: Program) -> Meaning:
    costs = tuple(
        CostChange(name=name, before=before, after=after)
        for (name, before), after in zip(_costs(old).items(), _costs(new).values(), strict=True)
        if before != after
    )
    try:
        groups, weights = _learning_changes(old, new)
    except AnalysisError as error:
        return Meaning(costs=costs, unknown=str(error).splitlines()[0])
    return Meaning(groups=groups, weights=weights, costs=costs)


def _costs(program: Program) -> dict[str, int]:
    counted = cost(program, traces=False)
    return {
        "nodes": program.node_count(),
        "constant bytes": counted.constant_bytes,
        "flops": counted.flops,
        "transcendentals": counted.transcendentals,
        "bytes moved": counted.bytes_moved,
        "peak live bytes": counted.peak_live_bytes,
        "parameter bytes": counted.parameter_bytes,
        "hidden bytes": counted.hidden_bytes,
    }


def _learning_changes(old: Program, new: Program) -> tuple[tuple[GroupChange, ...], tuple[WeightChange, ...]]:
    if not any(state.role == "hidden" for program in (old, new) for state in program.interface.states):
        return (), ()
    pairs = match_interfaces(old, new).states
    old_path = {new.interface.states[after].path: old.interface.states[before].path for before, after in pairs}

    def known(path: StatePath) -> StatePath:
        return old_path.get(path, path)

    before = list(group_members(old))
    after = [tuple(map(known, members)) for members in group_members(new)]
    reached_before = connected_states(old)
    reached_after = {known(path): tuple(map(known, hidden)) for path, hidden in connected_states(new).items()}
    weights = []
    for path in dict.fromkeys((*reached_before, *reached_after)):
        first, second = reached_before.get(path), reached_after.get(path)
        gained = tuple(hidden for hidden in second or () if hidden not in (first or ()))
        lost = tuple(hidden for hidden in first or () if hidden not in (second or ()))
        if gained or lost:
            weights.append(
                WeightChange(
                    path=path, gained=gained, lost=lost, learned_before=bool(first), learned_after=bool(second)
                )
            )
    return tuple(_group_changes(before, after)), tuple(weights)


def _group_changes(before: list[Paths], after: list[Paths]) -> Iterator[GroupChange]:
    """Yield the connected parts of the two partitions that are not equal."""
    parts: list[set[StatePath]] = []
    for group in (*before, *after):
        apart = [part for part in parts if part.isdisjoint(group)]
        joined = set(group).union(*(part for part in parts if not part.isdisjoint(group)))
        parts = [*apart, joined]
    order = {path: number for number, path in enumerate(path for group in (*before, *after) for path in group)}
    for part in sorted(parts, key=lambda part: min(order[path] for path in part)):
        olds, news = (tuple(group for group in groups if part.issuperset(group)) for groups in (before, after))
        if list(map(set, olds)) == list(map(set, news)):
            continue
        same = set().union(*olds) == set().union(*news)
        kind: Literal["merged", "split", "changed"] = "changed"
        if same and len(news) == 1:
            kind = "merged"
        elif same and len(olds) == 1:
            kind = "split"
        yield GroupChange(kind=kind, before=olds, after=news)

"""Differences in states, arguments, results and units."""

from __future__ import annotations

from collections.abc import Iterator

from ..canonical import canonical_interface
from ..interface import BASE_UNITS, State, Unit
from ..model import StatePath
from ..printer import format_path, format_tree
from ..trees import LeafTree, Tree, leaf_count, leaf_paths
from .interface_matching import owners_of
from .program_matching import ProgramMatching
from .record import Change, ChangeKind

__all__ = ["interface_changes"]


def interface_changes(matching: ProgramMatching) -> Iterator[Change]:
    """Yield the differences of the interfaces, and of the types of the leaves behind it."""
    old, new = canonical_interface(matching.old.interface), canonical_interface(matching.new.interface)
    if old.kind != new.kind:
        yield _other("calling convention", old.kind, new.kind)
    yield from _states(matching)
    yield from _arguments(matching)
    yield from _result(matching)
    yield from _units(old.units, new.units)
    for name in ("params", "hidden"):
        before, after = getattr(old, name), getattr(new, name)
        # As text, in which 1, 1.0 and True, or 0.0 and -0.0, differ.
        if repr(before) != repr(after):
            yield _other(f"structure of {name}", format_tree(before), format_tree(after))
    if old.unused != new.unused:
        yield _other("unused states", *(", ".join(map(format_path, each.unused)) or "none" for each in (old, new)))


def _other(aspect: str, before: str, after: str) -> Change:
    return Change(kind="interface", name="interface", aspect=aspect, before=before, after=after)


def _states(matching: ProgramMatching) -> Iterator[Change]:
    before, after = matching.old.interface.states, matching.new.interface.states
    old_types, new_types = ([each.types for each in owners_of(program)[0]] for program in (matching.old, matching.new))
    gone = set(range(len(before))) - {index for index, _ in matching.interface.states}
    came = set(range(len(after))) - {index for _, index in matching.interface.states}
    for index in sorted(gone):
        name = format_path(before[index].path)
        text = _describe_state(before[index], old_types[index])
        yield Change(kind="state", name=name, old_name=name, aspect="removed", before=text)
    for index in sorted(came):
        name = format_path(after[index].path)
        text = _describe_state(after[index], new_types[index])
        yield Change(kind="state", name=name, new_name=name, aspect="added", after=text)
    last = -1
    for first, second in matching.interface.states:
        old, new = before[first], after[second]
        names = format_path(old.path), format_path(new.path)
        if second < last:
            yield _change("order", names, "place among the states", str(first), str(second))
        last = max(last, second)
        if old.path != new.path:
            yield _change("state", names, "path", *names)
        if old.role != new.role:
            yield _change("role", names, "role", old.role, new.role)
        for aspect in ("type", "returned", "num_state", "reachable"):
            if getattr(old, aspect) != getattr(new, aspect):
                label = "state class" if aspect == "type" else aspect
                yield _change("state", names, label, str(getattr(old, aspect)), str(getattr(new, aspect)))
        yield from _leaf_changes("state", names, (old.tree, old_types[first]), (new.tree, new_types[second]))


def _arguments(matching: ProgramMatching) -> Iterator[Change]:
    before, after = matching.old.interface.arguments, matching.new.interface.arguments
    old_types, new_types = ([each.types for each in owners_of(program)[1]] for program in (matching.old, matching.new))
    for index in sorted(set(range(len(before))) - {index for index, _ in matching.interface.arguments}):
        name, text = before[index].name, ", ".join(old_types[index])
        yield Change(kind="argument", name=name, old_name=name, aspect="removed", before=text)
    for index in sorted(set(range(len(after))) - {index for _, index in matching.interface.arguments}):
        name, text = after[index].name, ", ".join(new_types[index])
        yield Change(kind="argument", name=name, new_name=name, aspect="added", after=text)
    last = -1
    for first, second in matching.interface.arguments:
        old, new = before[first], after[second]
        names = old.name, new.name
        if second < last:
            yield _change("order", names, "place among the arguments", str(first), str(second))
        last = max(last, second)
        if old.name != new.name:
            yield _change("argument", names, "name", *names)
        for aspect in ("keyword", "plain"):
            if getattr(old, aspect) != getattr(new, aspect):
                yield _change("argument", names, aspect, str(getattr(old, aspect)), str(getattr(new, aspect)))
        yield from _leaf_changes("argument", names, (old.tree, old_types[first]), (new.tree, new_types[second]))


def _result(matching: ProgramMatching) -> Iterator[Change]:
    sides = []
    for program in (matching.old, matching.new):
        entry, tree = program.entry_function, program.interface.result
        count = leaf_count(tree)
        kinds = [str(entry.type_of(name)) for name in entry.outputs]
        sides.append((tree, tuple(kinds[len(kinds) - count :])))
    yield from _leaf_changes("result", ("result", "result"), *sides)


def _leaf_changes(
    kind: ChangeKind, names: tuple[str, str], old: tuple[Tree, tuple[str, ...]], new: tuple[Tree, tuple[str, ...]]
) -> Iterator[Change]:
    """Yield what differs in the leaves of two trees: their structure, types and units."""
    if repr(_without_units(old[0])) != repr(_without_units(new[0])):
        yield _change(kind, names, "structure", format_tree(old[0]), format_tree(new[0]))
    before, after = ({keys: (leaf, type_) for (keys, leaf), type_ in _zip_leaves(*side)} for side in (old, new))
    for keys in before:
        if keys in after:
            (old_leaf, old_type), (new_leaf, new_type) = before[keys], after[keys]
            place = f" of {format_path(keys)}" if keys else ""
            if old_type != new_type:
                yield _change(kind, names, f"type{place}", old_type, new_type)
            if old_leaf.unit != new_leaf.unit:
                yield _change("unit", names, f"unit{place}", old_leaf.unit or "none", new_leaf.unit or "none")


def _zip_leaves(tree: Tree, types: tuple[str, ...]) -> Iterator[tuple[tuple[StatePath, LeafTree], str]]:
    return zip(leaf_paths(tree), types, strict=True)


def _units(old: tuple[Unit, ...], new: tuple[Unit, ...]) -> Iterator[Change]:
    before, after = ({unit.text: unit for unit in units} for units in (old, new))
    for text in sorted(before.keys() | after.keys()):
        first, second = before.get(text), after.get(text)
        if repr(first) != repr(second):
            yield Change(
                kind="unit",
                name=text,
                old_name=text if first else "",
                new_name=text if second else "",
                aspect="definition" if first and second else "removed" if first else "added",
                before=_numbers(first),
                after=_numbers(second),
            )


def _numbers(unit: Unit | None) -> str:
    if unit is None:
        return ""
    powers = " ".join(f"{base}^{power:g}" for base, power in zip(BASE_UNITS, unit.dimension, strict=True) if power)
    return f"{unit.factor:.17g} * {unit.base:.17g}**{unit.scale:.17g} {powers}".rstrip()


def _change(kind: ChangeKind, names: tuple[str, str], aspect: str, before: str, after: str) -> Change:
    old, new = names
    return Change(kind=kind, name=old, old_name=old, new_name=new, aspect=aspect, before=before, after=after)


def _describe_state(state: State, types: tuple[str, ...]) -> str:
    return f"{state.role} {', '.join(types)}"


def _without_units(tree: Tree) -> Tree:
    if isinstance(tree, LeafTree):
        return LeafTree()
    if children := getattr(tree, "children", ()):
        return tree.model_copy(update={"children": tuple(map(_without_units, children))})
    return tree

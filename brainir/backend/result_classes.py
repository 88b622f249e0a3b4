"""Classes of containers in the results of a generated module that no argument brings along."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from ..ir.errors import EmissionError
from ..ir.trees import ClassName, DataclassTree, NamedTupleTree, Static, StaticDict
from .layout import Doc, call, display, pair, statement
from .scope import ModuleScope

__all__ = ["ResultClasses", "dict_display"]


class ResultClasses:
    """Defines each class once.

    Parameters
    ----------
    scope : ModuleScope

    Attributes
    ----------
    lines : list of str
        The definitions so far.
    """

    def __init__(self, scope: ModuleScope) -> None:
        self._scope = scope
        self._names: dict[tuple[object, ...], str] = {}
        self.lines: list[str] = []

    def like(self, tree: NamedTupleTree | DataclassTree) -> Doc:
        """Return the class that stands in for that of a container."""
        static = tuple(name for name, _ in tree.static) if isinstance(tree, DataclassTree) else ()
        key = (tree.kind, tree.type, tree.fields, static)
        if key not in self._names:
            name = self._names[key] = self._new_name(tree.type)
            self.lines += ["", "", *self._definition(name, tree, static)]
        return (self._names[key],)

    def static(self, value: Static) -> Doc:
        """Return what a dataclass holds besides arrays; a class without anything stands for a class."""
        if isinstance(value, ClassName):
            if (value.type,) not in self._names:
                name = self._names[value.type,] = self._new_name(value.type)
                self.lines += ["", "", f"class {name}:", "    pass"]
            return (self._names[value.type,],)
        if isinstance(value, StaticDict):
            items = [(self._scope.plain(key), self.static(held)) for key, held in value.items]
            return dict_display(self._scope, items, ordered=value.ordered)
        return display(list(map(self.static, value))) if isinstance(value, tuple) else self._scope.plain(value)

    def _new_name(self, kind: str) -> str:
        last = re.sub(r"\W", "_", re.split(r"[.:]", kind)[-1])
        return self._scope.new(last if last.isidentifier() else f"Result{last}")

    def _definition(self, name: str, tree: NamedTupleTree | DataclassTree, static: tuple[str, ...]) -> Iterator[str]:
        # Those of a namedtuple begin with another letter; those of a class with two underscores would be renamed.
        refused = "_" if isinstance(tree, NamedTupleTree) else "__"
        hidden = [field for field in (*tree.fields, *static) if field.startswith(refused)]
        if hidden:
            raise EmissionError(
                f"the class {tree.type!r} of the result has a field {hidden[0]!r}, which a class of the "
                "generated module cannot have; rename the field"
            )
        if isinstance(tree, NamedTupleTree):
            fields = display([self._scope.plain(field) for field in tree.fields], "[]")
            namedtuple = (f"{self._scope.use('collections')}.namedtuple",)
            yield from statement((f"{name} = ", *call(namedtuple, [(f'"{name}"',), fields])), 0)
            return
        dataclasses, annotated = self._scope.use("dataclasses"), self._scope.use("object")
        yield f"@{self._scope.use('jax')}.tree_util.register_dataclass"
        yield f"@{dataclasses}.dataclass(frozen=True)"
        yield f"class {name}:"
        yield from (f"    {field}: {annotated}" for field in tree.fields)
        yield from (f'    {field}: {annotated} = {dataclasses}.field(metadata={{"static": True}})' for field in static)
        if not (tree.fields or static):
            yield "    pass"


def dict_display(scope: ModuleScope, items: Sequence[tuple[Doc, Doc]], *, ordered: bool) -> Doc:
    """Return a dict of keys and values, or an ordered one."""
    if not ordered:
        return display([pair(key, value) for key, value in items], "{}")
    made = (f"{scope.use('collections')}.OrderedDict",)
    return call(made, [display([display(item) for item in items], "[]")])

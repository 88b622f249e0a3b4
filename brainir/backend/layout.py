"""Python source as text: lines of at most 100 columns, strings and comments that nothing escapes from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

__all__ = [
    "Doc",
    "call",
    "commas",
    "display",
    "docstring",
    "flat",
    "implied",
    "lines",
    "pair",
    "quote",
    "statement",
]

WIDTH = 100
_STEP = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Items between brackets, at whose commas a line can be broken.

    Parameters
    ----------
    opening, closing : str
    items : tuple of Doc
    is_call : bool
        Arguments stay together on a line of their own if they fit there; the items of a display never do.
    is_implied : bool
        The brackets are written only where the line is broken.
    """

    opening: str
    items: tuple[Doc, ...]
    closing: str
    is_call: bool = False
    is_implied: bool = False

    def __str__(self) -> str:
        inner = ", ".join(map(flat, self.items))
        if self.is_implied:
            return inner
        return f"{self.opening}{inner}{',' if self._is_lone_tuple else ''}{self.closing}"

    @property
    def _is_lone_tuple(self) -> bool:
        return self.opening == "(" and not self.is_call and len(self.items) == 1

    def body(self, indent: int) -> list[str]:
        """Return the lines between the brackets."""
        inner = ", ".join(map(flat, self.items))
        together = self.is_call or (len(self.items) == 1 and not self._is_lone_tuple)
        if together and indent + len(inner) <= WIDTH:
            return [" " * indent + inner]
        return [line for item in self.items for line in lines(item, indent, ",")]


Doc: TypeAlias = tuple["str | Group", ...]
"""Text and groups, one after the other."""


def call(function: Doc, arguments: Iterable[Doc], keywords: Iterable[tuple[str, Doc]] = ()) -> Doc:
    """Return a call."""
    named = [(f"{name}=", *value) for name, value in keywords]
    return (*function, Group("(", (*arguments, *named), ")", is_call=True))


def display(items: Sequence[Doc], brackets: str = "()") -> Doc:
    """Return a tuple, list or dict display; a tuple of one item gets its comma."""
    return (Group(brackets[0], tuple(items), brackets[1]),)


def commas(items: Sequence[Doc]) -> Doc:
    """Return items joined by commas: a tuple without brackets, or the one item alone."""
    return items[0] if len(items) == 1 else (Group("(", tuple(items), ")", is_implied=bool(items)),)


def implied(doc: Doc) -> Doc:
    """Return a display of several items without the brackets, where the language lets them be left out."""
    (first, *others) = doc
    if others or isinstance(first, str) or first.is_call or first.opening != "(" or len(first.items) < 2:
        return doc
    return commas(first.items)


def pair(key: Doc, value: Doc) -> Doc:
    """Return an item of a dict display."""
    return (*key, ": ", *value)


def flat(doc: Doc) -> str:
    """Return a document on one line."""
    return "".join(map(str, doc))


def lines(doc: Doc, indent: int, ending: str = "") -> list[str]:
    """Break a document into lines, from its last bracket on, where it is too long for one."""
    line = " " * indent + flat(doc) + ending
    groups = [(index, part) for index, part in enumerate(doc) if isinstance(part, Group) and part.items]
    if len(line) <= WIDTH or not groups:
        return [line]
    last, group = groups[-1]
    return [
        *lines(doc[:last], indent, group.opening),
        *group.body(indent + _STEP),
        " " * indent + group.closing + flat(doc[last + 1 :]) + ending,
    ]


def statement(doc: Doc, indent: int, note: str = "") -> list[str]:
    """Return the lines of a statement with a comment behind it, or above it if it does not fit there."""
    written = lines(doc, indent)
    if not note:
        return written
    if len(written[-1]) + 2 + len(comment(note)) <= WIDTH:
        return [*written[:-1], f"{written[-1]}  {comment(note)}"]
    return [" " * indent + comment(note, WIDTH - indent), *written]


def comment(text: str, width: int = WIDTH) -> str:
    """Return a one-line comment."""
    return _clip(f"# {_printable(text)}", width)


def docstring(text: Sequence[str], indent: int) -> list[str]:
    """Return a docstring that ends where it should, whatever is in its lines."""
    margin = " " * indent
    safe = [_clip(_printable(line), WIDTH - indent).replace("\\", "\\\\").replace('"""', r"\"\"\"") for line in text]
    if len(safe) == 1 and not safe[0].endswith(('"', "\\")) and len(safe[0]) <= WIDTH - indent - 6:
        return [f'{margin}"""{safe[0]}"""']
    body = [(margin + line).rstrip() for line in safe]
    return [f'{margin}"""{safe[0]}', *body[1:], f'{margin}"""']


def quote(text: str | bytes) -> str:
    """Return a literal of text or bytes, between double quotes where that takes no more escapes."""
    written = repr(text)
    prefix, inner = ("b", written[2:-1]) if isinstance(text, bytes) else ("", written[1:-1])
    return written if '"' in written else f'{prefix}"{inner}"'


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 3]}..."

"""Random ways to damage a stored program: its bytes, and the values, structure, types and nesting of its JSON."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

RAW = "\ue000"
"""Stands at both ends of a text that is written without quotes: JSON that Python's encoder does not write."""

NUMBERS = (0, 1, -1, 2, 3, 63, 64, 65, 2**31 - 1, 2**31, 2**53, 2**63 - 1, 2**63, -(2**63), 10**18, 10**30)
RAW_NUMBERS = (
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "-0",
    "-0.0",
    "1.0",
    "1e2",
    "9" * 400,
    "9" * 5000,
    "0x10",
    "01",
    "nan",
)
TEXTS = (
    "",
    " ",
    "\x00",
    "a\nb",
    "\u2028",
    "\u202e",
    "é" * 40,
    "ﬁ",
    "x" * 201,
    "y" * 5000,
    "lambda",
    "None",
    "..",
    "__import__('os')",
    '"""',
    "'\\",
    "{x}",
    "%s",
    "\N{PILE OF POO}",
    f'{RAW}"\\ud800"{RAW}',
    f'{RAW}"\\udc00\\ud800"{RAW}',
)
TYPES = (
    "f32[]",
    "~f32[]",
    "f32[0]",
    "f32[3]",
    "f32[1,1,1,1,1]",
    "f32[999999999999999999]",
    "f32[999999999999,999999999999,999999999999]",
    f"f32[{','.join(['2'] * 65)}]",
    f"f32[{','.join(['9'] * 60)}]",
    "i32[]",
    "i64[2]",
    "bool[]",
    "c64[3]",
    "bf16[]",
    "i4[2]",
    "float0[3]",
    "key<fry>[]",
    "key<fry>[0]",
    "key<nope>[]",
    "f32[-1]",
    "f32[03]",
    "f32[ 3]",
    "f33[3]",
    "f32",
    "[]",
)
LITERALS = (
    "0.0:f32", "-0.0:f32", "nan:f32", "inf:f32", "1e999:f32", "0x7fc00001:f32", "1:i32", "true:bool", "2:bool", ":",
    "1:", "0.5:~f32", "1:key<fry>", "0:float0", "0x00:f32", "9999999999999999999999:i64", "0.1:f64", "1:i4",
)  # fmt: skip
JUNK = (None, True, False, [], {}, [[]], {"kind": "leaf"}, {"kind": "none"}, {"op": "neg"}, 0.5, 1e300)


def places(value: Any) -> list[tuple[Any, Any]]:
    """Return every item of nested lists and dicts as its container and key."""
    found: list[tuple[Any, Any]] = []
    pending = [value]
    while pending:
        part = pending.pop()
        keys = list(part) if isinstance(part, dict) else range(len(part)) if isinstance(part, list) else ()
        found += [(part, key) for key in keys]
        pending += [part[key] for key in keys if isinstance(part[key], dict | list)]
    return found


def mutated(random: Random, corpus: Sequence[str]) -> bytes:
    """Return a program of the corpus after one to five changes."""
    text = random.choice(corpus)
    if random.random() < 0.25:
        return _damaged(random, text.encode(), corpus)
    data = json.loads(text)
    try:
        for _ in range(random.choice((1, 1, 1, 2, 3, 5))):
            random.choice(CHANGES)(random, data, corpus)
        if random.random() < 0.002:
            _multiply(random, data)  # Last, and seldom: what comes after would be slow.
        written = json.dumps(data, ensure_ascii=random.random() < 0.5)
    except RecursionError:
        written = f"{text.rstrip()[:-1]}, {'[' * 5000}"
    # A raw text stands for itself, whichever way its marks were written.
    marks = f"(?:{RAW}|\\\\ue000)"
    written = re.sub(f'"{marks}((?:[^"\\\\]|\\\\.)*?){marks}"', lambda found: json.loads(f'"{found[1]}"'), written)
    if random.random() < 0.05:
        written = _with_key_twice(random, written)
    return written.encode("utf-8", "surrogatepass" if random.random() < 0.5 else "replace")


# Bytes


def _damaged(random: Random, text: bytes, corpus: Sequence[str]) -> bytes:
    octets = bytearray(text)
    for _ in range(random.choice((1, 1, 2, 4, 16))):
        start = random.randrange(len(octets) + 1)
        stop = min(len(octets), start + int(random.expovariate(1 / 20)))
        match random.randrange(7):
            case 0 if start < len(octets):
                octets[start] ^= 1 << random.randrange(8)
            case 1:
                del octets[start:stop]
            case 2:
                octets[start:start] = random.randbytes(random.randrange(1, 8))
            case 3:
                octets[start:start] = octets[start:stop]
            case 4:
                del octets[start:]
            case 5:
                other = random.choice(corpus).encode()
                cut = random.randrange(len(other))
                octets[start:stop] = other[cut : cut + int(random.expovariate(1 / 60))]
            case _:
                octets[start:stop] = random.choice((b"[", b"{", b'{"a":', b"]", b"}", b'"', b",")) * random.choice(
                    (1, 2, 300)
                )
        if not octets:
            break
    return bytes(octets)


def _with_key_twice(random: Random, text: str) -> str:
    keys = list(re.finditer(r'"(\w+)": ("[^"\\]*"|-?\d+|\[\]|true|false|null)', text))
    if not keys:
        return text
    at = random.choice(keys)
    return f"{text[: at.end()]}, {at[0]}{text[at.end() :]}"


# JSON


def _junk(random: Random) -> Any:
    kind = random.randrange(7)
    if kind == 0:
        return random.choice(NUMBERS)
    if kind == 1:
        return f"{RAW}{random.choice(RAW_NUMBERS)}{RAW}"
    if kind == 2:
        return copy.deepcopy(random.choice(JUNK))
    if kind == 3:
        return _nested(random, random.choice((None, 1, "x", {"kind": "leaf"})))
    return random.choice((TEXTS, TYPES, LITERALS)[kind - 4])


def _nested(random: Random, value: Any) -> Any:
    depth = random.choice((1, 2, 10, 45, 89, 90, 91, 95, 150, 400, 900))
    shape = random.randrange(3)
    for _ in range(depth):
        value = [value] if shape == 0 else {"a": value} if shape == 1 else {"kind": "list", "children": [value]}
    return value


def _replace(random: Random, data: Any, corpus: Sequence[str]) -> None:
    container, key = _place(random, data)
    container[key] = _junk(random)


def _tweak(random: Random, data: Any, corpus: Sequence[str]) -> None:
    """Change a number, text or flag a little."""
    container, key = _place(random, data, lambda value: not isinstance(value, dict | list))
    value = container[key]
    if isinstance(value, bool):
        container[key] = not value
    elif isinstance(value, int):
        container[key] = random.choice(
            (value + 1, value - 1, -value, value * 2, value + 2**32, random.choice(NUMBERS), float(value))
        )
    elif isinstance(value, str) and value:
        at = random.randrange(len(value))
        letter = random.choice(
            (value[at - 1], "[", "]", ",", ":", "~", "0", "9", ".", "-", " ", "\u0661", "x", "\x00", "")
        )
        container[key] = value[:at] + letter + value[at + 1 :]
    else:
        container[key] = _junk(random)


def _delete(random: Random, data: Any, corpus: Sequence[str]) -> None:
    container, key = _place(random, data)
    del container[key]


def _double(random: Random, data: Any, corpus: Sequence[str]) -> None:
    """Repeat an item of a list, or a field under another name."""
    container, key = _place(random, data)
    if isinstance(container, list):
        container[key:key] = [copy.deepcopy(container[key]) for _ in range(random.choice((1, 1, 2, 70)))]
    else:
        container[
            random.choice((key + "s", "op", "kind", "data", "values", "base64", "sha256", "children", "unit"))
        ] = copy.deepcopy(container[key])


def _multiply(random: Random, data: Any) -> None:
    """Make a list so long that to describe each of its items would take gigabytes."""
    container, key = _place(random, data, lambda value: isinstance(value, list))
    items = container[key] if isinstance(container[key], list) else []
    item = random.choice([*items, _junk(random), {"op": "novelty"}])
    container[key] = [item] * (3_000_000 // (2 + len(json.dumps(item))))


def _swap(random: Random, data: Any, corpus: Sequence[str]) -> None:
    """Exchange two values, more often of one kind: two operands, two types, two trees."""
    container, key = _place(random, data)
    kind = type(container[key])
    other, name = _place(random, data, (lambda value: type(value) is kind) if random.random() < 0.8 else None)
    first, second = copy.deepcopy(container[key]), copy.deepcopy(other[name])
    container[key] = second
    if random.random() < 0.7 and name in (range(len(other)) if isinstance(other, list) else other):
        other[name] = first


def _shuffle(random: Random, data: Any, corpus: Sequence[str]) -> None:
    container, key = _place(random, data, lambda value: isinstance(value, list) and len(value) > 1)
    if isinstance(container[key], list):
        random.shuffle(container[key])


def _wrap(random: Random, data: Any, corpus: Sequence[str]) -> None:
    container, key = _place(random, data)
    container[key] = _nested(random, container[key])


def _transplant(random: Random, data: Any, corpus: Sequence[str]) -> None:
    """Put a part of another program where this one has a part under the same key."""
    container, key = _place(random, data)
    others = [place for place in places(json.loads(random.choice(corpus))) if place[1] == key or isinstance(key, int)]
    if others:
        other, name = random.choice(others)
        container[key] = other[name]


def _another_operation(random: Random, data: Any, corpus: Sequence[str]) -> None:
    """Give a node the operation, or all attributes, of a node elsewhere, and keep its operands and results."""
    nodes = _nodes(data)
    others = _nodes(json.loads(random.choice(corpus)))
    if nodes and others:
        node, other = random.choice(nodes), random.choice(others)
        if random.random() < 0.5:
            node["op"] = other["op"]
        else:
            kept = {name: node.get(name) for name in ("inputs", "outputs", "types") if name in node}
            node.clear()
            node.update({**other, **kept})


def _rewire(random: Random, data: Any, corpus: Sequence[str]) -> None:
    """Give a node operands from anywhere in its function."""
    functions = data.get("functions") if isinstance(data, dict) else None
    bodies = [body for body in functions if isinstance(body, dict)] if isinstance(functions, list) else []
    nodes = [(body, node) for body in bodies for node in _nodes({"functions": [body]})]
    if nodes:
        body, node = random.choice(nodes)
        lists = [other.get("outputs") for other in _nodes({"functions": [body]})] + [body.get("inputs")]
        names = [name for part in lists if isinstance(part, list) for name in part if isinstance(name, str)]
        node["inputs"] = [random.choice((*names, *LITERALS)) for _ in range(random.choice((0, 1, 2, 2, 3)))]


def _nodes(data: Any) -> list[dict[str, Any]]:
    functions = data.get("functions") if isinstance(data, dict) else None
    bodies = [body.get("nodes") for body in functions if isinstance(body, dict)] if isinstance(functions, list) else []
    return [
        node for nodes in bodies if isinstance(nodes, list) for node in nodes if isinstance(node, dict) and "op" in node
    ]


def _place(random: Random, data: Any, wanted: Callable[[Any], bool] | None = None) -> tuple[Any, Any]:
    found = places(data)
    fitting = [place for place in found if wanted is None or wanted(place[0][place[1]])]
    return random.choice(fitting or found or [({"": None}, "")])


CHANGES = (
    _replace, _tweak, _tweak, _tweak, _delete, _double, _swap, _swap, _shuffle, _wrap, _transplant,
    _another_operation, _rewire,
)  # fmt: skip

"""Files made hostile: bytes changed anywhere, or the structure changed and the bytes written anew so that nothing else is wrong.

Knows JSON, lines of JSON and safetensors (a length, a JSON header, data); everything else is bytes. `mutated` is a function of the bytes
and the random source alone.
"""

from __future__ import annotations

import json
import math
import random
import re
import struct
from collections.abc import Callable
from typing import Any

LARGEST = 1 << 16
NUMBERS = [
    0,
    1,
    2,
    7,
    8,
    255,
    256,
    2**15,
    2**16,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**32,
    2**40,
    2**60,
    2**63 - 1,
    2**63,
    2**64 - 1,
]
RAW = {
    "@digits@": "9" * 5000,
    "@infinite@": "1e999",
    "@NaN@": "NaN",
    "@Infinity@": "-Infinity",
    "@deep@": "[" * 2000,
    "@deeper@": '{"a":' * 20_000,
    "@half@": '"\\ud800"',
    "@twice@": '{"a": 1, "a": 2}',
    "@long@": '"' + "x" * 20_000 + '"',
    "@many@": "[" + "0," * 20_000 + "0]",
}
"""Text that `json.dumps` does not write, by its place-holder."""
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2,
        3,
        2**31,
        2**32,
        2**53,
        2**60,
        2**63,
        -(2**63),
        2**64,
        10**30,
        0.0,
        -0.0,
        0.5,
        1.5,
        1e-320,
    ),
    *(
        1e16,
        1e100,
        1e308,
        -1e308,
        math.pi,
        "",
        " ",
        "\0",
        "a",
        "é",
        "🦀",
        "\u202e",
        "\x1b[2J",
        "..",
        "../../x",
        "/etc/passwd",
        "~",
    ),
    *(
        "F32",
        "F64",
        "I64",
        "BOOL",
        "F8_E4M3",
        "float16",
        "gated",
        "nan",
        "1",
        [],
        {},
        [0],
        [[]],
        {"a": 0},
        [0, 0],
        [1, 2**62],
    ),
    *RAW,
]

Draw = random.Random


def mutated(data: bytes, draw: Draw) -> bytes:
    """The bytes after one to three changes."""
    for _ in range(draw.choice([1, 1, 1, 2, 3])):
        ways = [_tensors] if _header(data) is not None else [_json] if data[:1] in (b"{", b"[") else []
        data = draw.choice([*ways * len(BYTEWISE), *BYTEWISE])(data, draw)[:LARGEST]
    return data


# Bytes.


def _flip(data: bytes, draw: Draw) -> bytes:
    if not data:
        return b"\0"
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ (1 << draw.randrange(8))]) + data[place + 1 :]


def _cut(data: bytes, draw: Draw) -> bytes:
    return data[: draw.randrange(len(data) + 1)]


def _remove(data: bytes, draw: Draw) -> bytes:
    start, stop = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return data[:start] + data[stop:]


def _insert(data: bytes, draw: Draw) -> bytes:
    place = draw.randrange(len(data) + 1)
    piece = draw.choice(
        [b"\0", b"\n", b"\xff\xfe", b"\xed\xa0\x80", b'"', b"{", b"[" * 3000, b"9" * 5000, b"NaN", draw.randbytes(9)]
    )
    return data[:place] + piece + data[place:]


def _repeat(data: bytes, draw: Draw) -> bytes:
    start, stop = sorted(draw.randrange(len(data) + 1) for _ in range(2))
    return data[:stop] + data[start:stop] * draw.choice([1, 2, 50]) + data[stop:]


def _number(data: bytes, draw: Draw) -> bytes:
    """Four or eight bytes are a little-endian number at a bound."""
    form, size = draw.choice([("<Q", 8), ("<I", 4)])
    place = draw.randrange(max(len(data) - size, 0) + 1)
    number = draw.choice(NUMBERS) & (2 ** (8 * size) - 1)
    return data[:place] + struct.pack(form, number) + data[place + size :]


BYTEWISE: list[Callable[[bytes, Draw], bytes]] = [_flip, _cut, _remove, _insert, _repeat, _number]


# JSON.


def _json(data: bytes, draw: Draw) -> bytes:
    """One node of a document, or of one of its lines, changed; bytes where it is not JSON."""
    lines = data.split(b"\n")
    whole = _parsed(data)
    if whole is not None:
        return _text(_changed(whole, draw), draw).encode("utf-8", "surrogatepass")
    place = draw.randrange(len(lines))
    line = _parsed(lines[place])
    if line is None:
        return _flip(data, draw)
    lines[place] = _text(_changed(line, draw), draw).encode("utf-8", "surrogatepass")
    return b"\n".join(lines)


def _parsed(data: bytes) -> Any:
    """What the JSON says, None where it is none (or null)."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _text(value: Any, draw: Draw) -> str:
    """JSON, its place-holders replaced; one in eight has a key twice."""
    text = json.dumps(value)
    for mark, raw in RAW.items():
        text = text.replace(f'"{mark}"', raw)
    keys = [match.start() for match in re.finditer(r'"[^"]{1,40}": ', text)] if draw.random() < 1 / 8 else []
    if keys:
        place = draw.choice(keys)
        key = text[place : text.index(":", place) + 1]
        text = f"{text[:place]}{key} {json.dumps(draw.choice([0, 1, None, [], 'x']))}, {text[place:]}"
    return text


def _changed(value: Any, draw: Draw) -> Any:
    """The value with one node changed, those near the root as likely as the many below."""
    place = draw.randrange(4)
    if isinstance(value, dict) and value and place:
        key = draw.choice(sorted(value))
        return {name: _changed(item, draw) if name == key else item for name, item in value.items()}
    if isinstance(value, list) and value and place:
        index = draw.randrange(len(value))
        return [_changed(item, draw) if number == index else item for number, item in enumerate(value)]
    return draw.choice([_odd, _odd, _less, _more, _other])(value, draw)


def _odd(value: Any, draw: Draw) -> Any:
    return draw.choice(ODD)


def _less(value: Any, draw: Draw) -> Any:
    if isinstance(value, dict) and value:
        gone = draw.choice(sorted(value))
        return {name: item for name, item in value.items() if name != gone}
    return value[:-1] if isinstance(value, list | str) else draw.choice(ODD)


def _more(value: Any, draw: Draw) -> Any:
    if isinstance(value, dict):
        return {**value, draw.choice(["", "a", "__metadata__", "\0", "x" * 300, *value]): draw.choice(ODD)}
    if isinstance(value, list):
        return [*value, draw.choice([*value, *ODD])]
    return value + draw.choice([1, -1, 1000]) if type(value) in (int, float) else draw.choice(ODD)


def _other(value: Any, draw: Draw) -> Any:
    """A list for a table and the reverse; text for a number and the reverse; anything in a list of its own."""
    if isinstance(value, dict):
        return list(value.values())
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    return draw.choice([[value], {"value": value}, str(value), len(str(value))])


# safetensors.


def _header(data: bytes) -> Any:
    """The header of a safetensors file; None where there is none."""
    if len(data) < 10:
        return None
    (length,) = struct.unpack_from("<Q", data)
    return _parsed(data[8 : 8 + length]) if length <= len(data) - 8 else None


def _tensors(data: bytes, draw: Draw) -> bytes:
    """A safetensors file whose header says something else, its length set right."""
    (length,) = struct.unpack_from("<Q", data)
    text = _text(_changed(_header(data), draw), draw).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + data[8 + length :]

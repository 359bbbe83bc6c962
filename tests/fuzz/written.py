"""Tables as TOML, and as `--set` assignments: written by rules of our own, to hold the reading to."""

from __future__ import annotations

import datetime
import json
import math
from collections.abc import Iterator
from typing import Any


def toml(table: dict[str, Any]) -> str:
    """The table as TOML, one key a line and inner tables inline; a key without value is left out. Raises ValueError."""
    return "".join(f"{_key(name)} = {value(item)}\n" for name, item in table.items() if item is not None)


def value(item: Any) -> str:
    """A value as TOML. Raises ValueError for what TOML cannot say."""
    if isinstance(item, bool):
        return "true" if item else "false"
    if isinstance(item, int):
        return str(item) if item.bit_length() < 10_000 else f"{'-' if item < 0 else ''}0x{abs(item):x}"
    if isinstance(item, float):
        return ("-" if math.copysign(1, item) < 0 else "") + "inf" if math.isinf(item) else repr(item)
    if isinstance(item, str):
        return _text(item)
    if isinstance(item, datetime.date):
        return item.isoformat()
    if isinstance(item, list | tuple):
        return "[" + ", ".join(value(each) for each in item) + "]"
    if isinstance(item, dict):
        return "{" + ", ".join(f"{_key(name)} = {value(each)}" for name, each in item.items() if each is not None) + "}"
    raise ValueError(f"TOML has no {type(item).__name__}")


def assignments(table: dict[str, Any], at: str = "") -> Iterator[str]:
    """`key.key=value` for every leaf; keys as they are, since `--set` has no quotes for them. Raises ValueError."""
    for name, item in table.items():
        key = f"{at}{name}"
        if isinstance(item, dict) and item:
            yield from assignments(item, f"{key}.")
        else:
            yield f"{key}={'' if item is None else value(item)}"


def _key(name: Any) -> str:
    if not isinstance(name, str):
        raise ValueError("TOML has no keys but text")
    return _text(name)


def _text(text: str) -> str:
    """A basic string. JSON escapes the same way but for astral letters and DEL, and half letters have no spelling."""
    text.encode()
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

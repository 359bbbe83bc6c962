"""Strategies from the JSON Schema of a settings class: tables that keep it, and tables broken in one to three places.

Written for the part of JSON Schema that pydantic writes for settings (objects, arrays, enums, anyOf, bounds, $ref); anything else is a
KeyError, so that a new kind of setting cannot go unfuzzed unnoticed. hypothesis-jsonschema (last release February 2024) knows no
`prefixItems`, and cannot break a table on purpose.
"""

from __future__ import annotations

import datetime
import math
from collections.abc import Callable
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy

from assay.config import Config

FEW = 5
"""Keys of a table that are drawn at most, beside the required ones: most have a default."""

ODD_NUMBERS = [
    *(0, -1, 1, 2**31, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**64, 10**20, 10**400, -(10**400), 1 << 14_000),
    *(0.0, -0.0, 0.5, 1.0, -1.0, 1.5, 1e-320, 5e-324, 1e-9, 1e16, 1e100, 1.7e308, math.nan, math.inf, -math.inf),
]
ODD_TEXTS = [
    *(
        "",
        " ",
        "\0",
        "a\0b",
        "\x1b[31mred\x1b[0m",
        "\n",
        "\r\n",
        "\u202eabc",
        "\ud800",
        "é",
        "日本語",
        "🦀" * 40,
        "a" * 300,
    ),
    *(
        "a" * 20_000,
        "/" * 300,
        "../../etc/passwd",
        "/dev/zero",
        "/proc/self/mem",
        "~",
        "~nobody-here",
        "~\0",
        "con",
        "nul",
    ),
    *("true", "1", "nan", "{}", "[]", "[/]", "[bold]", "%s%n", "{0}", "${HOME}", "$(id)", "-", "--help", "-1", "None"),
    *(
        "gated",
        "relu",
        "topk",
        "reviews",
        "smollm2",
        "resid_post.9",
        "layers.1:out",
        "tap:x",
        ":",
        "a:b:c",
        "a" + ".a" * 40,
    ),
]
ODD_OTHERS = [None, True, False, [], {}, [[]], [{}], {"": {}}, {"value": None}, datetime.date(2026, 11, 24), b"bytes"]
ODD: SearchStrategy[Any] = st.one_of(
    st.sampled_from(ODD_NUMBERS),
    st.sampled_from(ODD_TEXTS),
    st.sampled_from(ODD_OTHERS),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.lists(st.one_of(st.floats(), st.integers(-3, 3), st.text(max_size=3), st.booleans()), max_size=4),
    st.dictionaries(st.text(max_size=5), st.integers(-3, 3), max_size=3),
)
"""Values that are right nowhere, or seldom."""

Path = tuple[Any, ...]


@cache
def tables(kind: type[Config]) -> SearchStrategy[dict[str, Any]]:
    """Tables that keep the schema of `kind`; its validators may still refuse them."""
    schema = kind.model_json_schema()
    return of_schema(schema, schema.get("$defs", {}))


def of_schema(schema: dict[str, Any], definitions: dict[str, Any]) -> SearchStrategy[Any]:
    """Values that keep a schema."""
    if "$ref" in schema:
        return of_schema(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema or "const" in schema:
        return st.sampled_from(schema.get("enum") or [schema["const"]])
    if "anyOf" in schema:
        return st.one_of([of_schema(each, definitions) for each in schema["anyOf"]])
    if "type" not in schema:
        return ODD
    return KINDS[schema["type"]](schema, definitions)


def _object(schema: dict[str, Any], definitions: dict[str, Any]) -> SearchStrategy[dict[str, Any]]:
    properties = {name: of_schema(each, definitions) for name, each in schema.get("properties", {}).items()}
    if properties:
        return _some(properties, set(schema.get("required", ())))
    others = schema.get("additionalProperties", True)
    values = ODD if others is True else of_schema(others, definitions)
    return st.dictionaries(st.sampled_from(["a", "b.c", "gated-0.1", "x_2"]) | st.text(max_size=6), values, max_size=3)


@st.composite
def _some(draw: DrawFn, properties: dict[str, SearchStrategy[Any]], required: set[str]) -> dict[str, Any]:
    optional = sorted(set(properties) - required)
    chosen = draw(st.lists(st.sampled_from(optional), unique=True, max_size=FEW)) if optional else []
    return {name: draw(properties[name]) for name in sorted({*required, *chosen})}


def _integer(schema: dict[str, Any], definitions: dict[str, Any]) -> SearchStrategy[int]:
    low = schema.get("minimum", schema.get("exclusiveMinimum", -(2**63) - 1) + 1)
    high = schema.get("maximum", schema.get("exclusiveMaximum", 2**63) - 1)
    near = st.integers(low, min(high, low + 64))
    return near | near | st.integers(low, high)


def _number(schema: dict[str, Any], definitions: dict[str, Any]) -> SearchStrategy[float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    return st.floats(
        low if above is None else above,
        high if below is None else below,
        exclude_min=above is not None,
        exclude_max=below is not None,
        allow_nan=False,
        allow_infinity=False,
    )


def _array(schema: dict[str, Any], definitions: dict[str, Any]) -> SearchStrategy[list[Any]]:
    if fixed := schema.get("prefixItems"):
        return st.tuples(*(of_schema(each, definitions) for each in fixed)).map(list)
    return st.lists(of_schema(schema["items"], definitions), min_size=schema.get("minItems", 0), max_size=3)


def _text(schema: dict[str, Any], definitions: dict[str, Any]) -> SearchStrategy[str]:
    return st.text(max_size=8) | st.sampled_from(["run", "gated", "a-b_c.9", "resid_post.1"])


KINDS: dict[str, Callable[[dict[str, Any], dict[str, Any]], SearchStrategy[Any]]] = {
    "object": _object,
    "integer": _integer,
    "number": _number,
    "array": _array,
    "string": _text,
    "boolean": lambda schema, definitions: st.booleans(),
    "null": lambda schema, definitions: st.none(),
}


@st.composite
def broken(draw: DrawFn, whole: SearchStrategy[Any]) -> Any:
    """A value of `whole` after one to three changes, each at a place drawn from all of its places."""
    value = draw(whole)
    for _ in range(draw(st.integers(1, 3))):
        place = draw(st.sampled_from(places(value)))
        value = changed(value, place, draw(CHANGES), draw)
    return value


def places(value: Any, here: Path = ()) -> list[Path]:
    """The path of every node, the whole first."""
    found = [here]
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += places(item, (*here, key))
    return found


Change = Callable[[Any, DrawFn], Any]


def changed(value: Any, place: Path, change: Change, draw: DrawFn) -> Any:
    """The value with one node changed; the rest is shared."""
    if not place:
        return change(value, draw)
    key, *rest = place
    after = changed(value[key], tuple(rest), change, draw)
    if isinstance(value, dict):
        return {name: after if name == key else item for name, item in value.items()}
    return [after if index == key else item for index, item in enumerate(value)]


def _replaced(value: Any, draw: DrawFn) -> Any:
    return draw(ODD)


def _renamed(value: Any, draw: DrawFn) -> Any:
    """One key of a table is another, by a slip or altogether."""
    if not isinstance(value, dict) or not value:
        return draw(ODD)
    old = draw(st.sampled_from(sorted(value)))
    new = draw(st.sampled_from([old[:-1], f"{old}s", old.upper(), old[::-1]]) | st.sampled_from(ODD_TEXTS))
    return {new if name == old else name: item for name, item in value.items()}


def _added(value: Any, draw: DrawFn) -> Any:
    if isinstance(value, dict):
        return {**value, draw(st.text(max_size=8) | st.sampled_from(ODD_TEXTS)): draw(ODD)}
    return [*value, draw(ODD)] if isinstance(value, list) else [value, draw(ODD)]


def _emptied(value: Any, draw: DrawFn) -> Any:
    return type(value)() if isinstance(value, dict | list | str | int | float) else None


def _swapped(value: Any, draw: DrawFn) -> Any:
    """A list where a table was, a table where a list was, text where a number was."""
    if isinstance(value, dict):
        return [[name, item] for name, item in value.items()]
    if isinstance(value, list):
        return {str(index): item for index, item in enumerate(value)}
    return repr(value) if not isinstance(value, int) or value.bit_length() < 99 else "9" * 99


def _wrapped(value: Any, draw: DrawFn) -> Any:
    """The value, deep inside lists or tables."""
    depth = draw(st.sampled_from([1, 2, 31, 33, 200]))
    key = draw(st.sampled_from([None, "value", ""]))
    for _ in range(depth):
        value = [value] if key is None else {key: value}
    return value


CHANGES: SearchStrategy[Change] = st.sampled_from(
    [_replaced, _replaced, _renamed, _added, _emptied, _swapped, _wrapped]
)

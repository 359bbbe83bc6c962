"""Typed settings: frozen, complete, and strict. TOML comes in; resolved JSON goes out, with a digest that names the run.

A partial table keeps the other defaults of its field, so `sparsity.value = 0.2` leaves the warm-up as the variant chose it.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import xxhash
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from assay.errors import LONGEST_SHOWN, ConfigError, shown
from assay.folders import is_file

C = TypeVar("C", bound="Config")

TOML_BYTES, KEY_PARTS, DEPTH = 1 << 20, 32, 32
"""Largest settings file, most parts of a dotted key, and deepest nesting of tables that are read; far more than settings have."""
LONG_KEY = re.compile(rf"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){{{KEY_PARTS}}}""")
PROBLEMS = 8
"""Complaints about one file that are spelt out."""


class Config(BaseModel):
    """Base of every settings class: immutable, and an unknown key is an error."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

    half_letters: ClassVar[bool] = False
    """Whether its texts may hold half of a surrogate pair, as tokens do that end in the middle of a letter."""

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults_of_partial_tables(cls, data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        return {name: _completed(defaults.get(name), value) for name, value in data.items()}

    def resolved(self) -> dict[str, Any]:
        """Every setting with its value, ready for JSON."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """xxh3-128 of the resolved settings: equal settings, equal digest."""
        return xxhash.xxh3_128_hexdigest(json.dumps(self.resolved(), sort_keys=True).encode())

    def revised(self: C, changes: Mapping[str, Any]) -> C:
        """A copy with dotted settings changed, checked anew: `revised({"sparsity.value": 0.3})`."""
        data = self.resolved()
        for key, value in changes.items():
            set_at(data, key, value)
        return parse(type(self), data, where="changed settings")


def _completed(default: Any, value: Any) -> Any:
    if isinstance(value, list):  # TOML and JSON have no tuples, and settings have no lists
        return tuple(_completed(None, item) for item in value)
    if not isinstance(value, Mapping):
        return value
    known = dict(default) if isinstance(default, Config) else {}
    return known | {name: _completed(known.get(name), item) for name, item in value.items()}


def set_at(data: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested tables, in place."""
    *path, last = key.split(".")
    for part in path:
        data = data.setdefault(part, {})
        if not isinstance(data, dict):
            raise ConfigError(
                f"{shown(key)}: {shown(part)} is not a table", expected="a dotted key", do="Check its spelling."
            )
    data[last] = value


def value_at(config: Config, key: str) -> Any:
    """The value of a dotted setting."""
    for part in key.split("."):
        config = getattr(config, part)
    return config


def parse(kind: type[C], data: Any, *, where: str) -> C:
    """Build `kind` from plain tables; every complaint names the key, the value and what would do. Raises ConfigError."""
    check_plain(data, where, half_letters=kind.half_letters)
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = [_explain(kind, problem) for problem in error.errors(include_url=False)[:PROBLEMS]]
        more = f" and {error.error_count() - PROBLEMS} more" if error.error_count() > PROBLEMS else ""
        raise ConfigError(
            f"{where}: " + "; ".join(got for got, _ in problems) + more,
            expected="; ".join(dict.fromkeys(expected for _, expected in problems)),
            do="Correct it and run the same command again.",
        ) from None


def check_plain(data: Any, where: str, *, half_letters: bool = False) -> None:
    """Refuse what no file gives back as it was: NaN, huge numbers, dates, half letters, endless nesting. Raises ConfigError."""
    found = _oddity(data, (), half_letters)
    if found is not None:
        path, value, expected = found
        key = f" {_name(path)} =" if path else ""
        raise ConfigError(
            f"{where}:{key} {shown(value)}", expected=expected, do="Correct it and run the same command again."
        )


def _oddity(value: Any, path: tuple[Any, ...], half_letters: bool) -> tuple[tuple[Any, ...], Any, str] | None:
    """(key, value, what would do) of the first value that is not plain."""
    if isinstance(value, Mapping | list | tuple):
        if len(path) > DEPTH:
            return path[:4], value, f"at most {DEPTH} tables in one another"
        for key, item in value.items() if isinstance(value, Mapping) else enumerate(value):
            if isinstance(value, Mapping) and not (isinstance(key, str) and _is_text(key, half_letters)):
                return path, key, "a key that is text"
            if found := _oddity(item, (*path, key), half_letters):
                return found
        return None
    if isinstance(value, str):
        return None if _is_text(value, half_letters) else (path, value, "text that UTF-8 can hold")
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return None if -(2**63) <= value < 2**63 else (path, value, "a whole number of at most 64 bits")
    if isinstance(value, float):
        return None if math.isfinite(value) else (path, value, "a finite number")
    return path, value, "text, a number, true or false, a list or a table"


def _is_text(text: str, half_letters: bool) -> bool:
    """Not so when half of a surrogate pair is in it, unless that may be."""
    try:
        text.encode(errors="surrogatepass" if half_letters else "strict")
    except UnicodeEncodeError:
        return False
    return True


def _explain(kind: type[Config], problem: Any) -> tuple[str, str]:
    key = _name(problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(kind, problem["loc"][:-1])
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"{close[0]!r} (did you mean that?)" if close else f"one of {', '.join(known)}"
        return f"unknown setting {shown(key)}", hint if known else "no settings there"
    if problem["type"] == "missing":
        return f"setting {shown(key)} is missing", f"a value for {shown(key)}"
    return f"{key} = {shown(problem['input'])}" if key else "these settings", problem["msg"].removeprefix(
        "Value error, "
    ).removeprefix("Input should be ")


def _name(path: tuple[Any, ...]) -> str:
    """A dotted key as an error shows it: as it is, unless it is long or cannot be printed."""
    key = ".".join(str(part) for part in path)
    return key if key.isprintable() and len(key) <= LONGEST_SHOWN else shown(key)


def _fields_at(kind: type[Config], path: tuple[Any, ...]) -> list[str]:
    for part in path:
        field = kind.model_fields.get(str(part))
        if field is None or not (isinstance(field.annotation, type) and issubclass(field.annotation, Config)):
            return []
        kind = field.annotation
    return sorted(kind.model_fields)


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The settings that differ, as "key: 1 then, 2 now"; the first three, and how many more."""
    found = list(_differing(before, now, ""))
    return "; ".join(found[:3]) + (f" and {len(found) - 3} more" if len(found) > 3 else "")


def _differing(before: Any, now: Any, at: str) -> Iterator[str]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        for key in sorted({*before, *now}):
            yield from _differing(before.get(key), now.get(key), f"{at}.{key}".lstrip("."))
    elif before != now:
        yield f"{_name((at,))}: {shown(before)} then, {shown(now)} now"


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError when it is missing, malformed or far too large."""
    if not is_file(path):
        raise ConfigError(f"there is no file {path}", expected="a TOML file", do="Check the path.")
    try:
        with open(path, "rb") as file:
            data = file.read(TOML_BYTES + 1)
        if len(data) > TOML_BYTES:
            raise ValueError(f"it is longer than {TOML_BYTES:,} bytes")
        return _tables(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(f"{path}: {error}", expected="a TOML file in UTF-8", do="Correct it.") from None


def _tables(text: str) -> dict[str, Any]:
    """The tables of TOML text. Raises ValueError, and RecursionError where arrays are nested too deep."""
    if LONG_KEY.search(text):  # tomllib takes quadratic time for them
        raise ValueError(f"a key has more than {KEY_PARTS} parts")
    return tomllib.loads(text)


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["steps=500", "gated.sparsity.value=0.3"]` as {dotted key: value}; values are written as in TOML, anything else is text.

    Raises ConfigError when one has no "=".
    """
    changes: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not (equals and key.strip()):
            raise ConfigError(
                f"{shown(text)} has no '='", expected="KEY=VALUE", do="For example --set train.steps=500."
            )
        try:
            changes[key.strip()] = _value(value)
        except (ValueError, RecursionError):
            changes[key.strip()] = value.strip()
    return changes


def _value(text: str) -> Any:
    """The one value that the text is in TOML. Raises ValueError, RecursionError."""
    tables = _tables(f"value = {text}")
    if set(tables) != {"value"}:
        raise ValueError("it is more than a value")
    return tables["value"]

"""Typed settings: frozen, complete, and strict. TOML comes in; resolved JSON goes out, with a digest that names the run.

A partial table keeps the other defaults of its field, so `sparsity.value = 0.2` leaves the warm-up as the variant chose it.
"""

from __future__ import annotations

import difflib
import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

import xxhash
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from assay.errors import ConfigError

C = TypeVar("C", bound="Config")


class Config(BaseModel):
    """Base of every settings class: immutable, and an unknown key is an error."""

    model_config = ConfigDict(
        strict=True, frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )

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
            raise ConfigError(f"{key}: {part!r} is not a table", expected="a dotted key", do="Check its spelling.")
    data[last] = value


def value_at(config: Config, key: str) -> Any:
    """The value of a dotted setting."""
    for part in key.split("."):
        config = getattr(config, part)
    return config


def parse(kind: type[C], data: Mapping[str, Any], *, where: str) -> C:
    """Build `kind` from plain tables; every complaint names the key, the value and what would do. Raises ConfigError."""
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        problems = [_explain(kind, problem) for problem in error.errors()]
        raise ConfigError(
            f"{where}: " + "; ".join(got for got, _ in problems),
            expected="; ".join(dict.fromkeys(expected for _, expected in problems)),
            do="Correct it and run the same command again.",
        ) from None


def _explain(kind: type[Config], problem: Any) -> tuple[str, str]:
    key = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        known = _fields_at(kind, problem["loc"][:-1])
        close = difflib.get_close_matches(str(problem["loc"][-1]), known, n=1)
        hint = f"{close[0]!r} (did you mean that?)" if close else f"one of {', '.join(known)}"
        return f"unknown setting {key!r}", hint
    if problem["type"] == "missing":
        return f"setting {key!r} is missing", f"a value for {key!r}"
    return f"{key} = {problem['input']!r}" if key else "these settings", problem["msg"].removeprefix(
        "Value error, "
    ).removeprefix("Input should be ")


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
        yield f"{at}: {before!r} then, {now!r} now"


def read_toml(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ConfigError when it is missing or malformed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}", expected="a TOML file", do="Check the path.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, IsADirectoryError) as error:
        raise ConfigError(f"{path}: {error}", expected="a TOML file in UTF-8", do="Correct it.") from None


def parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """`["steps=500", "gated.sparsity.value=0.3"]` as {dotted key: value}; values are written as in TOML, bare words are text."""
    changes: dict[str, Any] = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not (equals and key.strip()):
            raise ConfigError(f"{text!r} has no '='", expected="KEY=VALUE", do="For example --set train.steps=500.")
        try:
            changes[key.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            changes[key.strip()] = value.strip()
    return changes

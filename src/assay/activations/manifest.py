"""The small files that say what a store holds: store.json, written first, and manifest.jsonl, one line a finished shard.

All are sealed: store.json holds the digest of its own content, and each line one of its content and of that store.json. So a flipped
bit, a foreign line or a store.json from another harvest is seen before any shard is used.

While several processes share a harvest (see `share`), each adds to a manifest of its own, such as manifest.2of8.5f3a9c01.jsonl: no two
ever write one file. What is read is all of them together.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import xxhash
from pydantic import Field, model_validator

from assay import config, disk
from assay.errors import ConfigError, CorruptData, MissingMaterial, StoreError, shown
from assay.folders import is_folder

STORE, MANIFEST = "store.json", "manifest.jsonl"
SHARED = re.compile(r"manifest\.([a-z0-9]+)\.[0-9a-f]{8}\.jsonl")
"""Name of the manifest of one of several processes: its label, and a number that is drawn for each process."""
VERSION = 1
Dtype = Literal["float16", "bfloat16", "float32"]
DTYPES: dict[str, torch.dtype] = {"float16": torch.float16, "bfloat16": torch.bfloat16, "float32": torch.float32}


class Description(config.Config):
    """What a store holds: equal descriptions, equal activations."""

    version: int = VERSION
    """Of this format."""
    site: str
    """Where in the model."""
    asked: str
    """The same as whoever harvested last wrote it; no part of the identity."""
    model: dict[str, Any]
    """What the model is."""
    source: dict[str, Any]
    """What it was shown."""
    dtype: Dtype
    """Of the activations on disk."""
    width: int = Field(ge=1)
    """Width D of the activations."""
    seed: int
    """Of the permutation of contexts and rows."""
    tokens: int = Field(ge=1)
    """Rows of all shards."""
    rows_per_shard: int = Field(ge=1)
    """Rows that a shard was to have."""
    shards: tuple[Annotated[int, Field(ge=1)], ...]
    """Rows of each shard."""

    @model_validator(mode="after")
    def _adds_up(self) -> Description:
        if sum(self.shards) != self.tokens:
            raise ValueError("shards with as many rows as there are tokens")
        return self

    def identity(self) -> dict[str, Any]:
        """What decides about the activations; the list of shards follows from it."""
        return {name: value for name, value in self.resolved().items() if name not in {"version", "asked", "shards"}}

    @cached_property
    def key(self) -> str:
        """xxh3-128 that belongs to the activations, to bind lines of the manifest to them."""
        return xxhash.xxh3_128_hexdigest(json.dumps([self.identity(), self.shards], sort_keys=True).encode())


class Line(config.Config):
    """One finished shard."""

    index: int = Field(ge=0)
    """Place among the shards."""
    file: str
    """Name in the store's folder."""
    rows: int = Field(ge=1)
    """Activations in it."""
    bytes: int
    """Size of the file."""
    xxh3_128: str
    """Hash of the file."""
    sum_xxh3_128: str
    """Hash of its tensor `sum`, which can then be used without reading the rest."""
    sum_of_squares: float
    """Of all entries, about zero."""
    absmax: float
    """Largest absolute entry."""
    nonfinite: int = Field(ge=0, le=0)
    """Entries that are NaN or infinite: none, since a harvest stops at the first one and names it."""


def shard_file(index: int) -> str:
    """Name of a shard's file."""
    return f"shard-{index:05d}.safetensors"


def json_ready(identity: Mapping[str, Any]) -> dict[str, Any]:
    """The same as it will be read back from JSON. Raises ConfigError."""
    try:
        plain = json.loads(json.dumps(dict(identity), allow_nan=False))
        config.check_plain(plain, "the identity")
        return plain
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"the identity cannot be written as JSON ({error})", expected="text, numbers, lists", do="Simplify it."
        ) from None


def write_description(folder: Path, description: Description) -> None:
    """Write store.json."""
    disk.write_sealed(folder / STORE, description.resolved())


def read_description(folder: Path) -> Description:
    """The store.json of a store. Raises MissingMaterial, StoreError (a newer format), CorruptData."""
    path = folder / STORE
    said = disk.read_json(path)
    if isinstance(said, dict) and isinstance(said.get("version"), int) and said["version"] > VERSION:
        raise StoreError(
            f"{path} has format {shown(said['version'])}", expected=f"{VERSION} or less", do="Use a newer assay."
        )
    try:
        return config.parse(Description, disk.read_sealed(path), where=str(path))
    except ConfigError as error:
        raise CorruptData(
            f"{path} does not describe a store ({error.got})",
            expected="what the harvest wrote",
            do="Run `assay verify --repair` on the folder of the run.",
        ) from None


def _sealed(line: Line, description: Description) -> dict[str, Any]:
    """A line as it is written."""
    return {**line.resolved(), "seal": xxhash.xxh3_128_hexdigest((description.key + line.digest()).encode())}


def append_line(folder: Path, line: Line, description: Description, name: str = MANIFEST) -> None:
    """Add a line to the manifest, or to the one of that name."""
    disk.append_line(folder / name, _sealed(line, description))


def write_lines(folder: Path, lines: Mapping[int, Line], description: Description) -> None:
    """Write the whole manifest anew, in the order of the shards, unless it is so already."""
    data, path = b"".join(_written(lines[index], description) for index in sorted(lines)), folder / MANIFEST
    if data != (path.read_bytes() if path.exists() else b""):
        disk.write(path, data)


def begin_shared(folder: Path, label: str) -> str:
    """The name of a new, empty manifest for one of several processes. Raises OutOfDisk."""
    name = f"manifest.{label}.{secrets.token_hex(4)}.jsonl"
    with disk.room_for(folder / name, 0):
        (folder / name).touch(exist_ok=False)
        disk.sync_folder(folder)
    return name


def shared_manifests(folder: Path) -> list[Path]:
    """The manifests of processes that share a harvest, or did."""
    return sorted(path for path in folder.glob("manifest.*.jsonl") if SHARED.fullmatch(path.name))


def read_lines(folder: Path, description: Description) -> dict[int, Line]:
    """The finished shards by index. Raises CorruptData when any line is not as it was written."""
    lines, problems = examine_lines(folder, description)
    if problems:
        raise CorruptData(
            problems[0],
            expected="the lines that the harvest wrote",
            do="Run `assay verify --repair` on the folder of the run, or the same harvest with repair=True.",
        )
    return lines


def sound_lines(folder: Path, description: Description) -> dict[int, Line]:
    """The finished shards by index, as far as their lines are as they were written."""
    return examine_lines(folder, description)[0]


def examine_lines(folder: Path, description: Description) -> tuple[dict[int, Line], list[str]]:
    """The lines of all manifests that are as they were written, and what is wrong with the others; torn last lines are left out.

    Two processes may have made one shard. Where their lines differ, as they can between kinds of processors, the one of the file counts.
    """
    lines: dict[int, Line] = {}
    problems: list[str] = []
    # The one manifest comes last: whoever merges writes it first and only then removes the others.
    for path in [*shared_manifests(folder), folder / MANIFEST]:
        found, wrong = _examine(path, description)
        problems += wrong
        for index, line in found.items():
            if lines.setdefault(index, line) != line and _holds(folder, line):
                lines[index] = line
    return lines, problems


def _examine(path: Path, description: Description) -> tuple[dict[int, Line], list[str]]:
    lines: dict[int, Line] = {}
    problems = []
    try:
        written = disk.read(path).split(b"\n")[:-1]
    except MissingMaterial:
        written = []
    for number, text in enumerate(written, 1):
        line = _parse_line(text + b"\n", description)
        if line is None:
            problems.append(f"line {number} of {path} was not written for this store (its seal differs)")
        elif line.index in lines:
            problems.append(f"line {number} of {path} names shard {line.index} again")
        else:
            lines[line.index] = line
    return lines, problems


def _holds(folder: Path, line: Line) -> bool:
    path = folder / line.file
    return path.is_file() and disk.hash_file(path) == line.xxh3_128


def open_description(folder: Path) -> Description:
    """`read_description` for a folder that somebody named: a wrong one gets an answer that says which is right."""
    try:
        return read_description(folder)
    except MissingMaterial:
        stores = sorted(path.parent.name for path in folder.glob(f"*/{STORE}")) if is_folder(folder) else []
        hint = (
            f"Open one of the stores in it: {', '.join(stores)}."
            if stores
            else "Check the path, or harvest into it first."
        )
        raise StoreError(f"{folder} is not an activation store", expected=f"a folder with {STORE}", do=hint) from None


def _parse_line(text: bytes, description: Description) -> Line | None:
    try:
        record = disk.parse_json(text)
        line = config.parse(Line, {name: value for name, value in record.items() if name != "seal"}, where=MANIFEST)
    except (ValueError, RecursionError, AttributeError, ConfigError):
        return None
    known = line.index < len(description.shards) and line.rows == description.shards[line.index]
    return line if known and line.file == shard_file(line.index) and text == _written(line, description) else None


def _written(line: Line, description: Description) -> bytes:
    return (json.dumps(_sealed(line, description), sort_keys=True) + "\n").encode()

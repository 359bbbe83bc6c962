"""The JSON files: rows with a key, merged into what was measured before, so that a run that is stopped loses nothing.

{"meta": {commit, machine, versions, command, threads, date}, "rows": [...]}

`meta` is that of the latest write, but for its `commands`, which are all that wrote rows; rows that an earlier run measured stay until
their key is measured again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
PACKAGES = ("assay", "torch", "numpy", "numba", "transformers", "sae-lens", "dictionary-learning", "eai-sparsify")

Row = dict[str, Any]


def read(path: Path) -> dict[str, Any]:
    """A results file; empty rows when there is none."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"meta": {}, "rows": []}


def merge(old: Sequence[Row], new: Sequence[Row], key: Sequence[str]) -> list[Row]:
    """Old rows in their places, replaced where a new one has the same key; the others after them."""
    named = {tuple(row.get(part) for part in key): row for row in old}
    named |= {tuple(row.get(part) for part in key): row for row in new}
    return list(named.values())


def save(path: Path, rows: Sequence[Row], key: Sequence[str], meta: Mapping[str, Any]) -> None:
    """Merge rows into a file, and the command with those that made the others; a reader sees the old file or the new one.

    Each row carries the commit it was measured at.
    """
    before = read(path)
    merged = merge(before["rows"], [{**row, "commit": meta["commit"]} for row in rows], key)
    commands = [*before["meta"].get("commands", []), meta["command"]]
    _write(path, {**meta, "commands": list(dict.fromkeys(commands))}, merged)


def drop(path: Path, unwanted: Callable[[Row], bool]) -> None:
    """Take rows out of a file, if it is there."""
    if path.exists():
        before = read(path)
        _write(path, before["meta"], [row for row in before["rows"] if not unwanted(row)])


def _write(path: Path, meta: Mapping[str, Any], rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    text = json.dumps({"meta": dict(meta), "rows": list(rows)}, indent=1, allow_nan=False)
    part.write_text(text + "\n", encoding="utf-8")
    os.replace(part, path)


def describe(module: str, arguments: Sequence[str]) -> dict[str, Any]:
    """What was measured, where and how: commit, machine, versions, command, threads, date."""
    import torch

    from assay.record import machine

    return {
        "commit": commit(),
        "machine": machine(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
        "command": " ".join(["python -m", module, *arguments]),
        "threads": torch.get_num_threads(),
        "date": datetime.now(UTC).strftime("%Y-%m-%d"),
    }


def commit() -> str:
    """The commit checked out, with a plus sign when the package or the benchmarks differ from it; results don't count."""
    try:
        hash_ = _git("rev-parse", "--short=12", "HEAD")
        return hash_ + ("+" if _git("status", "--porcelain", "--", "src", "benchmarks", ":!benchmarks/results") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def say(line: str) -> None:
    """A line of progress."""
    print(line, file=sys.stderr, flush=True)


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None

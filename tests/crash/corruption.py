"""Damage done to a finished run, and whether it is seen before it is used.

Silent is damage that `verify` doesn't report, or that the readers let pass with other numbers than were written.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from assay import disk, tensor_file
from assay.activations import ActivationStore
from assay.dictionary import Dictionary
from assay.errors import AssayError
from assay.reports.files import read_report
from assay.run import verify
from assay.training import checkpoint
from tests.crash.campaigns import Reference
from tests.crash.small_run import digest

PAGE = 4096
Damage = Callable[[random.Random, Path], str | None]
"""Does something to a run; says what, or None when this run has nothing to do it to."""


def flip(draw: random.Random, run: Path) -> str | None:
    """One bit of one file."""
    path = draw.choice(_files(run))
    data = bytearray(path.read_bytes())
    if not data:
        return None
    bit = draw.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)
    return f"bit {bit} of {path.name}"


def truncate(draw: random.Random, run: Path) -> str | None:
    """A file ends at a page, or anywhere if it is shorter than one."""
    path = draw.choice(_files(run))
    data = path.read_bytes()
    ends = range(0, len(data), PAGE) if len(data) > PAGE else range(len(data))
    if not ends:
        return None
    end = draw.choice(ends)
    path.write_bytes(data[:end])
    return f"{path.name} ends at {end}"


def zero(draw: random.Random, run: Path) -> str | None:
    """A page of a file holds zeros."""
    path = draw.choice(_files(run))
    data = bytearray(path.read_bytes())
    start = draw.choice(range(0, max(len(data), 1), PAGE))
    stop = min(start + PAGE, len(data))
    if not any(data[start:stop]):
        return None
    data[start:stop] = bytes(stop - start)
    path.write_bytes(data)
    return f"{path.name} holds zeros from {start}"


def miss(draw: random.Random, run: Path) -> str | None:
    """A shard, a tensor file or a MANIFEST is gone."""
    path = draw.choice([path for path in _files(run) if path.suffix == ".safetensors" or path.name == disk.MANIFEST])
    path.unlink()
    return f"{path.name} is gone"


def swap(draw: random.Random, run: Path) -> str | None:
    """Two tensor files have each other's content."""
    first, second = _two(draw, run)
    ours, theirs = first.read_bytes(), second.read_bytes()
    first.write_bytes(theirs)
    second.write_bytes(ours)
    return None if ours == theirs else f"{first.name} and {second.name} are swapped"


def duplicate(draw: random.Random, run: Path) -> str | None:
    """One tensor file is copied over another."""
    first, second = _two(draw, run)
    same = first.read_bytes() == second.read_bytes()
    shutil.copyfile(first, second)
    return None if same else f"{second.name} is a copy of {first.name}"


def stale(draw: random.Random, run: Path) -> str | None:
    """The manifest of a store is as it was some shards ago, or says a line twice."""
    path = draw.choice(sorted(run.rglob("manifest.jsonl")))
    lines = path.read_bytes().splitlines(keepends=True)
    if draw.random() < 0.5:
        path.write_bytes(b"".join([*lines, draw.choice(lines)]))
        return "a line of the manifest is doubled"
    path.write_bytes(b"".join(lines[: draw.randrange(len(lines))]))
    return "the manifest lacks its last lines"


KINDS: tuple[Damage, ...] = (flip, flip, flip, flip, truncate, truncate, zero, miss, swap, duplicate, stale)


def corrupt(reference: Reference, seed: int, count: int, place: Path) -> dict[str, Any]:
    """Damage a run `count` times, each time anew; what stayed silent."""
    run, whole = place / "run", reference.folder / "after-report"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(whole, run)
    draw, silent, done = random.Random(seed), [], 0
    values = _values(run)
    while done < count:
        what = draw.choice(KINDS)(draw, run)
        if what is not None:
            done += 1
            if not verify.verify(run).findings:
                silent.append(f"{what}: not reported")
            elif draw.random() < 0.1 and (used := _used(run, values)):
                silent.append(f"{what}: {used}")
        _restore(run, whole)
    return {"done": done, "silent": silent}


def repaired(reference: Reference, seed: int, place: Path) -> dict[str, Any]:
    """Damage a run up to three times, repair it, and compare every file."""
    from tests.crash.forks import child

    run = place / "run"
    shutil.rmtree(run, ignore_errors=True)
    shutil.copytree(reference.folder / "after-report", run)
    draw = random.Random(seed)
    damages = [draw.choice(KINDS)(draw, run) for _ in range(draw.choice([1, 1, 2, 3]))]
    settings_lost = any(finding.what.startswith(f"{run / 'run.json'}") for finding in verify.verify(run).findings)
    if settings_lost:
        shutil.copyfile(reference.folder / "after-report" / "run.json", run / "run.json")
    clock_lost = any(finding.what.startswith(f"{run / 'timings.json'}") for finding in verify.verify(run).findings)
    before, report = digest(run), {"report.json", "report.html"}
    command_lost = all(before.get(name) != reference.after["report"][name] for name in report)
    end = child(partial(_repair, run))
    lost = {"timings.json"} | report if clock_lost else report if command_lost else set()
    found = digest(run)
    names = [name for name, value in reference.after["report"].items() if name not in lost and found.get(name) != value]
    wrong = f"exit {end.code}: {end.printed[-600:]}" if end.code else (f"differs: {names[:4]}" if names else None)
    return {"damages": damages, "wrong": wrong}


def _repair(run: Path) -> int:
    verify.repair(run)
    return 3 if verify.verify(run).findings else 0


def _files(run: Path) -> list[Path]:
    return sorted(path for path in run.rglob("*") if path.is_file())


def _two(draw: random.Random, run: Path) -> list[Path]:
    return draw.sample([path for path in _files(run) if path.suffix == ".safetensors"], 2)


def _restore(run: Path, whole: Path) -> None:
    for path in _files(whole):
        target = run / path.relative_to(whole)
        data = path.read_bytes()
        if not target.is_file() or target.read_bytes() != data:
            target.write_bytes(data)


def _values(run: Path) -> list[Any]:
    """Everything that the readers give."""
    readers: list[Callable[[], Any]] = [
        *(partial(_rows, path.parent) for path in sorted(run.rglob("store.json"))),
        *(partial(_tensors, path) for path in sorted((run / "dictionaries").iterdir())),
        *(partial(_checkpoint, path) for path in [run / "training"]),
        lambda: read_report(run / "report.json").resolved(),
        lambda: disk.read_sealed(run / "evaluation.json"),
    ]
    values = []
    for read in readers:
        try:
            values.append(read())
        except AssayError:
            values.append(None)
    return values


def _rows(store: Path) -> Any:
    opened = ActivationStore.open(store)
    return [opened.identity, [[shard.activations.tolist(), shard.origin.tolist()] for shard in opened.shards()]]


def _tensors(folder: Path) -> Any:
    dictionary = Dictionary.load(folder)
    return [{name: tensor.tolist() for name, tensor in dictionary.state_dict().items()}, dictionary.provenance]


def _checkpoint(folder: Path) -> Any:
    path = checkpoint.latest(folder)
    if path is None:
        return None
    arms = sorted(file.stem for file in path.glob("*.safetensors"))
    tensors = {
        name: {
            key: torch.nan_to_num(value).tolist()
            for key, value in tensor_file.read(path / f"{name}.safetensors").items()
        }
        for name in arms
    }
    state = checkpoint.read_state(path)
    return [vars(state), tensors]


def _used(run: Path, values: list[Any]) -> str | None:
    """What a reader gave that is not what was written; refusing is right."""
    for index, (found, expected) in enumerate(zip(_values(run), values, strict=True)):
        if found is not None and found != expected:
            return f"reader {index} gave something else"
    return None

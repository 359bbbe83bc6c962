"""Memory and time of large whole files by reader, each in a process of its own: `python -m tests.fuzz sizes` prints the table."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.fuzz import limits

MIB = 1 << 20
ROOT = Path(__file__).resolve().parents[2]


def _dictionary(folder: Path) -> Callable[[], Any]:
    from assay.dictionaries.gated import Gated
    from assay.dictionary import Dictionary

    Gated.Config(d_in=512, width=1 << 15).build().save(folder / "gated")
    return lambda: Dictionary.load(folder / "gated")


def _checkpoint(folder: Path) -> Callable[[], Any]:
    import torch

    from assay.training import checkpoint

    arms = {"a": {"atoms": torch.ones(1 << 15, 512), "square.atoms": torch.ones(1 << 15, 512)}}
    checkpoint.save(folder, 1, arms, {"run": 1}, 0)
    return lambda: checkpoint.load(folder / "step-00000001", arms, {"run": 1})


def _store(folder: Path) -> Callable[[], Any]:
    import torch
    from torch import nn

    from assay.activations import ActivationStore, TensorSource, harvest

    source = TensorSource(input=torch.zeros(1 << 16, 512))
    (place,) = harvest(nn.Identity(), source, [":out"], folder, tokens=1 << 16, dtype="float32").values()
    del place
    (store,) = (path.parent for path in folder.glob("*/store.json"))
    return lambda: [shard.sum() for shard in ActivationStore.open(store).shards()]


def _text(line: str) -> Callable[[Path], Callable[[], Any]]:
    def make(folder: Path) -> Callable[[], Any]:
        from assay.materials import load_texts

        path = folder / "a.txt"
        path.write_text(line * (64 * MIB // len(line.encode())), encoding="utf-8")
        return lambda: load_texts(path)

    return make


def _text_lines(folder: Path) -> Callable[[], Any]:
    from assay.materials import load_texts

    path = folder / "a.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        for number in range(64 * MIB // 1000):
            file.write(json.dumps({"text": f"{number:08d}" + "x" * 980}) + "\n")
    return lambda: load_texts(path)


def _json(text: str) -> Callable[[Path], Callable[[], Any]]:
    def make(folder: Path) -> Callable[[], Any]:
        from assay import disk

        path = folder / "a.json"
        path.write_text(f"[{text * (31 * MIB // len(text))}0]")
        return lambda: disk.read_json(path)

    return make


CASES: dict[str, Callable[[Path], Callable[[], Any]]] = {
    "dictionary": _dictionary,
    "checkpoint": _checkpoint,
    "store, every shard": _store,
    "text of ASCII": _text("the quick brown fox\n"),
    "text of short lines": _text("a\n"),
    "text with one astral letter in a hundred": _text("a" * 99 + "🦀"),
    "lines of JSON, 1,000 letters each": _text_lines,
    "JSON of numbers": _json("0.12345,"),
    "JSON of empty lists": _json("[],"),
}


def one(name: str, folder: Path) -> dict[str, Any]:
    """Bytes of the files, bytes of memory beyond what the process had, and processor seconds."""
    read = CASES[name](folder)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    limits.CLEAR.write_text("5")
    before, started = limits.peak(), time.process_time()
    kept = read()
    taken, seconds = limits.peak() - before, time.process_time() - started
    del kept
    return {"size": size, "taken": taken, "seconds": seconds}


def table(folder: Path) -> None:
    """Measure every case and print a table."""
    print("| file | MiB | memory, MiB | times its size | seconds |\n| --- | ---: | ---: | ---: | ---: |")
    for name in CASES:
        place = folder / name.replace(" ", "-").replace(",", "")
        place.mkdir()
        command = [sys.executable, "-m", "tests.fuzz.sizes", name, str(place)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        found = json.loads(done.stdout.splitlines()[-1])
        size, taken = found["size"] / MIB, found["taken"] / MIB
        print(f"| {name} | {size:.0f} | {taken:.0f} | {taken / size:.1f} | {found['seconds']:.1f} |", flush=True)


if __name__ == "__main__":
    print(json.dumps(one(sys.argv[1], Path(sys.argv[2]))))

"""What the processes of benchmarks.memory do: make what a stage needs, run it as the shell would, or estimate it."""

from __future__ import annotations

import importlib.util
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.memory import SYNTHETIC, TINY, Case
from benchmarks.results import ROOT

POSITIONS = 256
"""Rows of a synthetic context."""
VERBS = {"harvest": "harvest", "train": "sweep", "evaluate": "evaluate", "examples": "report"}
NEEDS = {"harvest": (), "train": (), "evaluate": ("harvest", "sweep"), "examples": ("harvest", "sweep", "evaluate")}
"""Verbs that come before a stage; a training's store is written without one."""


def prepare(case: Case, folder: Path) -> dict[str, Any]:
    """Everything up to the stage."""
    if case.model == SYNTHETIC:
        write_store(case, folder)
    if case.model == TINY:
        write_tiny_llama(folder)
    for verb in NEEDS[case.stage]:
        shell(verb, case, folder)
    if case.resumed:
        leave_a_checkpoint(case, folder)
    return {}


def run(case: Case, folder: Path) -> dict[str, Any]:
    """The stage; the most that was resident."""
    from assay.run.needs.available import resident

    shell(VERBS[case.stage], case, folder)
    return {"peak": resident(most=True)}


def estimate(case: Case, folder: Path) -> dict[str, Any]:
    """What --dry-run says."""
    from assay.cli.arguments import open_run
    from assay.run.needs.estimate import estimate

    workspace = open_run(str(folder / "run.toml"), [], folder / "out")
    memory = estimate(workspace, [case.stage], sweep=True)[case.stage].memory  # pyright: ignore
    peak = memory.peak
    return {"total": peak.total, "when": peak.when, "parts": {part.what: part.bytes for part in peak.parts}}


def shell(verb: str, case: Case, folder: Path) -> None:
    """Run a verb. Raises SystemExit with its code when that isn't 0."""
    from assay.cli import main

    if code := main([verb, str(folder / "run.toml"), "--out", str(folder / "out")]):
        raise SystemExit(code)


def write_store(case: Case, folder: Path) -> None:
    """Normal rows, as a harvest of a module that passes them on."""
    import torch

    from assay.activations import TensorSource, harvest

    rows = torch.randn(case.rows // POSITIONS, POSITIONS, case.depth)
    source = TensorSource(positions=POSITIONS, input=rows)
    model = torch.nn.Sequential(torch.nn.Identity())
    harvest(model, source, ["0"], folder / "out" / "activations", tokens=case.rows, rows_per_shard=32_768)


def write_tiny_llama(folder: Path) -> None:
    """The model of the tests as transformers keeps it, and a text of its letters."""
    from assay.materials.convert import convert_llama

    path = ROOT / "tests" / "materials" / "tiny_llama.py"
    spec = importlib.util.spec_from_file_location("tiny_llama", path)
    assert spec is not None
    assert spec.loader is not None
    tiny = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tiny)
    weights = tiny.gguf_weights(tiny.tiny_model(tied=True))
    tiny.write_gguf(folder / "tiny.gguf", weights)
    (folder / "lm").mkdir()
    convert_llama(folder / "tiny.gguf", folder / "lm")
    draw = random.Random(0)
    texts = [{"text": "".join(draw.choices("abcdefgh 12", k=600))} for _ in range(700)]
    (folder / "texts.jsonl").write_text("\n".join(map(json.dumps, texts)) + "\n", encoding="utf-8")


def leave_a_checkpoint(case: Case, folder: Path) -> None:
    """Train until there is a checkpoint, and stop as a signal would."""
    from assay.cli.arguments import open_run
    from assay.errors import Interrupted
    from assay.run import stages

    workspace = open_run(str(folder / "run.toml"), [], folder / "out")
    steps = iter(range(1, 1000))
    try:
        list(stages.run_train(workspace, sweep=True, stop=lambda: next(steps) >= 2))
    except Interrupted:
        return


TASKS: dict[str, Callable[[Case, Path], dict[str, Any]]] = {"prepare": prepare, "run": run, "estimate": estimate}


def main(arguments: list[str]) -> None:
    task, case, folder = arguments
    answer = TASKS[task](Case(**json.loads(case)), Path(folder))
    (Path(folder) / f"{task}.json").write_text(json.dumps(answer), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])

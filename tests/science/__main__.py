"""Every claim, tried: `make science`.

python -m tests.science                       all trials, those that this commit has done already left out
python -m tests.science --only 01_gated       some of them (a prefix of their names), whether done or not
python -m tests.science --language elastic_net    recipes on a language model, run and read (all without a name: hours)
python -m tests.science --page                docs/claims.md from docs/results, nothing tried

Two trials run at once, each in a process of its own on one thread. Interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tests.science import claims_page, language
from tests.science.claims import Trial, all_trials

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "docs" / "results" / "claims.json"
KEPT = ROOT / "build" / "science"
"""Figures of single trials and seeds, until all are there."""
WATCHED = ("src/assay", "tests/science")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="prefix of the trials to try again")
    parser.add_argument("--page", action="store_true", help="write the page, try nothing")
    parser.add_argument("--language", nargs="*", metavar="RECIPE", help="run recipes on a language model and read them")
    parser.add_argument("--figures", nargs=2, metavar=("TRIAL", "SEED"), help="print the figures of one trial and seed")
    arguments = parser.parse_args()
    if arguments.figures:
        name, seed = arguments.figures
        print(json.dumps(dict(all_trials()[name].measure(int(seed)))))
        return 0
    if arguments.language is not None:
        language.run(arguments.language)
    elif not arguments.page:
        _try(arguments.only)
    claims_page.write()
    return 0


def _try(only: str) -> None:
    started, trials = time.perf_counter(), all_trials()
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {"rows": [], "seconds": {}}
    chosen = [trial for name, trial in trials.items() if name.startswith(only)]
    jobs = [(trial, seed) for trial in chosen for seed in trial.seeds]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        figures = list(pool.map(lambda job: _figures(*job), jobs))
    rows = {trial: [row for row in known["rows"] if row["trial"] == trial] for trial in trials}
    seconds = {trial: spent for trial, spent in known["seconds"].items() if trial in trials}
    for trial in chosen:
        own = {seed: found for (each, seed), found in zip(jobs, figures, strict=True) if each is trial}
        rows[trial.name] = [{**row, "commit": _commit()} for row in trial.rows(own)]
        seconds[trial.name] = round(sum(found["seconds"] for found in own.values()), 1)
    meta = {
        "command": "make science",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "machine": _machine(),
        "wall_seconds_of_the_last_run": round(time.perf_counter() - started, 1),
    }
    result = {"meta": meta, "seconds": seconds, "rows": [row for name in trials for row in rows[name]]}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


def _figures(trial: Trial, seed: int) -> dict[str, Any]:
    """The figures of a trial and a seed, from a process of their own, or from an interrupted run of this very code."""
    path = KEPT / _commit() / f"{trial.name}-{seed}.json"
    if path.exists() and "+" not in _commit():
        return json.loads(path.read_text(encoding="utf-8"))
    started = time.perf_counter()
    command = [sys.executable, "-m", "tests.science", "--figures", trial.name, str(seed)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    if done.returncode:
        raise RuntimeError(f"{trial.name}, seed {seed}: {done.stderr[-3000:]}")
    found = {**json.loads(done.stdout.splitlines()[-1]), "seconds": time.perf_counter() - started}
    print(f"{trial.name} seed {seed}: {found['seconds']:.0f} s", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found), encoding="utf-8")
    return found


def _commit() -> str:
    """The commit, with "+" when the package or the trials differ from it."""

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", *WATCHED) else "")


def _machine() -> str:
    from assay.record import machine

    return machine()


if __name__ == "__main__":
    sys.exit(main())

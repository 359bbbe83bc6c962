"""make test-crash: kill, cut the power, fill the disk, damage files, at every place there is; then break the package to test the test.

    python -m tests.crash                   all of it
    python -m tests.crash --share 0.05      every twentieth trial, as `make test` does
    python -m tests.crash --only mutants    one of its parts: strikes, kills, corruptions, mutants
    python -m tests.crash --drill --seed 7  every fault everywhere, 2,000 random kills, 5,000 corruptions; adds a line to the drill log

The last line is JSON. The exit code is 1 if anything was wrong, silent or not caught.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tests import drill_log
from tests.crash import campaigns, corruption
from tests.crash.campaigns import Reference, Trial
from tests.crash.faults import How
from tests.crash.forks import share
from tests.crash.mutants import MUTANTS
from tests.crash.small_run import MINI, VERBS, prepare

PARTS = {
    "strikes": ("kill_points", "wrong"),
    "kills": ("random_kills", "mismatches"),
    "corruptions": ("corruptions", "silent"),
    "mutants": ("mutants", "caught"),
}
"""The parts, and what each counts."""
HOWS: tuple[How, ...] = ("kill", "drop", "zero", "full", "broken")


class Harness:
    """One folder, one undisturbed run, and what is found wrong."""

    def __init__(self, folder: Path, part: float, seed: int) -> None:
        self.folder, self.part, self.seed = folder, part, seed
        self.settings = prepare(folder)
        self.reference = Reference(self.settings, folder / "reference").make()
        self.wrong: list[str] = []

    def every_operation(self, *, every_fault: bool) -> int:
        """Every verb killed at every operation; without power, its disk full or broken at each too, or at every third; the trials."""
        trials = [
            partial(campaigns.strike, self.reference, verb, (at,), how)
            for verb, how in product(VERBS, HOWS)
            for at in campaigns.points(self.reference, verb, how)[:: 1 if every_fault or how == "kill" else 3]
        ]
        return len(self._run("strikes", self._thinned(trials)))

    def twice(self, pairs: int) -> int:
        """A shorter run killed, and killed again while it recovers; so many of all pairs."""
        mini = Reference(self.settings, self.folder / "mini", changes=dict(MINI)).make(("harvest", "train"))
        trials = [
            partial(campaigns.strike, mini, verb, ats, how)
            for verb, how in product(("harvest", "train"), ("kill", "drop"))
            for ats in product(campaigns.points(mini, verb, how), repeat=2)
        ]
        every = max(len(trials) // pairs, 1)
        return len(self._run("struck twice", self._thinned(trials[self.seed % every :: every])))

    def random(self, kills: int) -> tuple[int, int]:
        """So many kills at random moments; kills, and runs that ended otherwise."""
        seconds, done, bad = campaigns.time_of(self.reference, self.folder / "timed"), 0, 0
        seed = self.seed * 1_000_003
        while done < kills * self.part:
            batch = min(max(round((kills * self.part - done) / 2), 2), 64)  # about two kills a run
            trials = [
                partial(campaigns.random_kills, self.reference, seed + number, seconds) for number in range(batch)
            ]
            seed += len(trials)
            results = self._run("random kills", trials)
            done += sum(result["kills"] for result in results)
            bad += sum(result["wrong"] is not None for result in results)
        return done, bad

    def corruptions(self, count: int, repairs: int) -> tuple[int, int]:
        """So many damages; damages, and those that stayed silent. And some repaired."""
        each = 50
        trials = [
            partial(corruption.corrupt, self.reference, self.seed * 1_000_003 + number, each)
            for number in range(max(round(count * self.part / each), 1))
        ]
        results = self._run("corruptions", trials)
        silent = [what for result in results for what in result["silent"]]
        self.wrong += silent
        self._run(
            "repairs",
            [
                partial(corruption.repaired, self.reference, self.seed * 1_000_003 + number)
                for number in range(max(round(repairs * self.part), 2))
            ],
        )
        return sum(result["done"] for result in results), len(silent)

    def writers(self) -> None:
        """Two writers of one run."""
        self._run("two writers", [partial(campaigns.two_writers, self.reference)])

    def mutants(self) -> tuple[int, int]:
        """Each fault in the package; faults, and those that were noticed."""
        caught = 0
        for name, (fault, trials) in MUTANTS.items():
            found = self._notices(name, fault, trials)
            caught += found
            say(f"mutant, {name}: {'caught' if found else 'NOT CAUGHT'} by {trials}")
            if not found:
                self.wrong.append(f"the mutant {name!r} was not caught")
        return len(MUTANTS), caught

    def _notices(self, name: str, fault: Callable[[], None], kind: str) -> bool:
        place = self.folder / "mutants" / name.replace(" ", "-")
        if kind == "two writers":
            mutant = Reference(self.settings, place / "reference", fault).make(("harvest", "sweep"))
            return share([partial(campaigns.two_writers, mutant)], place, 1)[0]["wrong"] is not None
        if kind == "corrupt":
            return bool(share([partial(_mutated, fault, self.reference, self.seed)], place, 1)[0]["silent"])
        how, verb = kind.split()
        before = {"harvest": (), "train": ("harvest",), "evaluate": ("harvest", "sweep")}[verb]
        mutant = Reference(self.settings, place / "reference", fault).make((*before, verb))
        trials = [partial(campaigns.strike, mutant, verb, (at,), how) for at in campaigns.points(mutant, verb, how)]
        batches = (trials[start : start + 16] for start in range(0, len(trials), 16))
        return any(any(result["wrong"] for result in share(batch, place)) for batch in batches)

    def _run(self, what: str, trials: list[Trial]) -> list[dict[str, Any]]:
        started = time.monotonic()
        results = share(trials, self.folder / "trials")
        bad = [result for result in results if result.get("wrong")]
        self.wrong += [f"{what}: {result}" for result in bad]
        say(f"{what}: {len(results)} trials in {time.monotonic() - started:.0f} s, {len(bad)} wrong")
        for result in bad[:5]:
            say(f"WRONG {result}")
        return results

    def _thinned(self, trials: Iterable[Trial]) -> list[Trial]:
        every = max(round(1 / self.part), 1)
        return list(trials)[self.seed % every :: every]


def _mutated(fault: Callable[[], None], reference: Reference, seed: int, place: Path) -> dict[str, Any]:
    fault()
    return corruption.corrupt(reference, seed, 100, place)


def say(line: str) -> None:
    """Progress, at once."""
    print(line, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--share", type=float, default=1.0, help="share of the trials to run")
    parser.add_argument("--seed", type=int, default=0, help="of random kills, corruptions, and which trials a share is")
    parser.add_argument("--drill", action="store_true", help="many more, and a line in the drill log")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some of its parts")
    given = parser.parse_args()
    started, at = time.monotonic(), drill_log.commit()
    with tempfile.TemporaryDirectory() as folder:
        harness = Harness(Path(folder), given.share, given.seed)
        say("operations: " + ", ".join(f"{verb} {len(ops)}" for verb, ops in harness.reference.operations.items()))
        points = kills = mismatches = damages = silent = mutants = caught = 0
        if "strikes" in given.only:
            points = harness.every_operation(every_fault=given.drill) + harness.twice(1000 if given.drill else 200)
            harness.writers()
        wrong = len(harness.wrong)
        if "kills" in given.only:
            kills, mismatches = harness.random(2000 if given.drill else 200)
        if "corruptions" in given.only:
            damages, silent = harness.corruptions(*(5000, 60) if given.drill else (1000, 12))
        if "mutants" in given.only:
            mutants, caught = harness.mutants()
        for line in harness.wrong[:20]:
            say(f"WRONG {line}")
        if harness.wrong[20:]:
            say(f"and {len(harness.wrong) - 20} more: {Counter(line.split(':')[0] for line in harness.wrong)}")
    say(f"in {time.monotonic() - started:.0f} s")
    summary = {
        "kill_points": points,
        "wrong": wrong,
        "random_kills": kills,
        "mismatches": mismatches,
        "corruptions": damages,
        "silent": silent,
        "mutants": mutants,
        "caught": caught,
    }
    if given.drill:
        counted = {key: summary[key] for part in PARTS if part in given.only for key in PARTS[part]}
        drill_log.append("crash", at=at, seed=given.seed, seconds=time.monotonic() - started, **counted)
    say(json.dumps(summary))
    return 1 if harness.wrong else 0


if __name__ == "__main__":
    sys.exit(main())

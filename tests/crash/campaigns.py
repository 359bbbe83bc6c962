"""Trials of one kind each: strike a run somewhere, run it again, and compare every file with what an undisturbed run wrote."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from tests.crash.faults import TAKES_SPACE, Faults, How
from tests.crash.forks import End, child
from tests.crash.small_run import BEFORE, VERBS, WHOLE, digest, run

Mutant = Callable[[], None]
Trial = Callable[[Path], dict[str, Any]]
"""Gets a folder to work in; answers what was struck, and what is wrong (None if nothing)."""
STOPPED = {75, -signal.SIGTERM, -signal.SIGINT, -signal.SIGKILL}


def nothing() -> None:
    """The mutant that is none."""


@dataclass
class Reference:
    """What an undisturbed run leaves after each verb, and the folder before it."""

    settings: Path
    folder: Path
    mutant: Mutant = nothing
    changes: dict[str, object] = field(default_factory=dict)
    after: dict[str, dict[str, str]] = field(default_factory=dict)
    operations: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def make(self, verbs: tuple[str, ...] = VERBS) -> Reference:
        """Run everything once, undisturbed."""
        for verb in verbs:
            before, root = self.before(verb), self.folder / "now"
            if not before.exists():
                self._restore(BEFORE[verb][-1] if BEFORE[verb] else None, before)
            fresh(root, before)
            log = self.folder / "operations.json"
            self._must(child(partial(self._counted, verb, root, log)))
            self.operations[verb] = [tuple(pair) for pair in json.loads(log.read_text())]
            self.after[verb] = digest(root / "run")
            shutil.rmtree(self.folder / f"after-{verb}", ignore_errors=True)
            shutil.copytree(root / "run", self.folder / f"after-{verb}")
        return self

    def before(self, verb: str) -> Path:
        """The folder as it is before a verb."""
        return self.folder / f"before-{verb}"

    def work(self, verb: str, root: Path, at: int = 0, how: How = "kill") -> int:
        """A verb in the folder root/run, struck at an operation."""
        if at:
            Faults(root, at, how).install()
        self.mutant()
        return run(verb, self.settings, root / "run", self.changes)

    def _counted(self, verb: str, root: Path, log: Path) -> int:
        faults = Faults(root)
        faults.install()
        self.mutant()
        code = run(verb, self.settings, root / "run", self.changes)
        log.write_text(json.dumps(faults.operations))
        return code

    def _restore(self, verb: str | None, into: Path) -> None:
        into.mkdir(parents=True)
        if verb:
            shutil.copytree(self.folder / f"after-{verb}", into / "run")

    def _must(self, end: End) -> None:
        if end.code:
            raise RuntimeError(f"an undisturbed verb ended with {end.code}:\n{end.printed[-2000:]}")


def fresh(root: Path, before: Path) -> None:
    """Make `root` as it was before."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(before, root)


def points(reference: Reference, verb: str, how: How) -> list[int]:
    """The operations of a verb at which it is worth striking in this way."""
    names = [what for what, _ in reference.operations[verb]]
    return [at for at, what in enumerate(names, 1) if how != "full" or what in TAKES_SPACE]


def strike(reference: Reference, verb: str, ats: tuple[int, ...], how: How, place: Path) -> dict[str, Any]:
    """Strike a verb at an operation, then perhaps the next attempt too, then let it finish."""
    root = place / "root"
    fresh(root, reference.before(verb))
    wrong = None
    for at in ats:
        end = child(partial(reference.work, verb, root, at, how))
        wrong = wrong or _badly_ended(end, how)
    wrong = wrong or _finish(reference, verb, root)
    what = reference.operations[verb][ats[0] - 1]
    return {"verb": verb, "how": how, "at": list(ats), "operation": list(what), "wrong": wrong}


def random_kills(reference: Reference, seed: int, seconds: float, place: Path) -> dict[str, Any]:
    """Run everything, killed at random moments again and again until it gets through."""
    root, draw, kills = place / "root", random.Random(seed), 0
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    while True:
        sent = draw.choices([signal.SIGKILL, signal.SIGTERM, signal.SIGINT], [8, 1, 1])[0]
        end = child(partial(_everything, reference, root), stop_after=draw.uniform(0, 1.1 * seconds), sent=sent)
        if end.code == 0:
            break
        if end.code not in STOPPED:
            return {"kills": kills, "wrong": f"exit {end.code}: {end.printed[-600:]}"}
        kills += 1
    return {"kills": kills, "wrong": _differs(reference, "report", root)}


def two_writers(reference: Reference, place: Path) -> dict[str, Any]:
    """A second writer is refused with the name of the first; when that is killed, its lock holds nobody up."""
    root = place / "root"
    fresh(root, reference.before("sweep"))
    lock = root / "run" / ".lock"
    first = os.fork()
    if first == 0:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        reference.mutant()
        _work_slowly()
        os._exit(run("sweep", reference.settings, root / "run", reference.changes))
    while not (lock.exists() and lock.read_text()):
        time.sleep(0.005)
    second = child(partial(reference.work, "sweep", root))
    os.kill(first, signal.SIGKILL)
    os.waitpid(first, 0)
    wrong = None
    if second.code != 1 or f"process {first}" not in second.printed:
        wrong = f"the second writer ended with {second.code}: {second.printed[-300:]}"
    return {"wrong": wrong or _finish(reference, "sweep", root)}


def _work_slowly() -> None:
    from assay import disk

    real = disk.append_line

    def slow(*arguments: Any) -> None:
        time.sleep(30)
        real(*arguments)

    disk.append_line = slow


def time_of(reference: Reference, place: Path) -> float:
    """Seconds that everything takes, undisturbed."""
    started = time.monotonic()
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    end = child(partial(_everything, reference, place))
    assert end.code == 0, end.printed
    return time.monotonic() - started


def _everything(reference: Reference, root: Path) -> int:
    reference.mutant()
    return next((code for verb in WHOLE if (code := run(verb, reference.settings, root / "run", reference.changes))), 0)


def _badly_ended(end: End, how: How) -> str | None:
    """A struck process dies, or says what happened: a full disk with exit code 5, a broken one with 1 or 3."""
    fine = {"full": {5}, "broken": {1, 3}}.get(how, {-signal.SIGKILL})
    if end.code in fine | {0}:  # 0: the next attempt had less to do, and never reached that operation
        return None
    return f"exit {end.code} when struck: {end.printed[-600:]}"


def _finish(reference: Reference, verb: str, root: Path) -> str | None:
    end = child(partial(reference.work, verb, root))
    if end.code:
        return f"exit {end.code} when run again: {end.printed[-600:]}"
    return _differs(reference, verb, root)


def _differs(reference: Reference, verb: str, root: Path) -> str | None:
    expected, found = reference.after[verb], digest(root / "run")
    names = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    return f"differs: {', '.join(names[:4])}" if names else None

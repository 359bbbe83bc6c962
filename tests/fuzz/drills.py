"""Long runs by hand: each appends one line to docs/results/drills.jsonl, so that their numbers add up over releases."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests import drill_log
from tests.drill_log import ROOT

BLOCK = 2000
"""Examples that hypothesis makes from one seed: it remembers all of them."""


@dataclass
class Tally:
    """What became of the examples."""

    examples: int = 0
    accepted: int = 0
    hangs: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    """How often each kind of failure was seen, by exception and place."""
    commit: str = field(default_factory=drill_log.commit)
    """Of the tree when the drill began."""

    @property
    def tracebacks(self) -> int:
        """Examples that ended in something that no user may see."""
        return self.failures.total()

    def fail(self, error: BaseException, example: Any) -> None:
        """Count a failure; print it when it is the first of its kind."""
        frame = traceback.extract_tb(error.__traceback__)[-1]
        key = f"{type(error).__name__} in {Path(frame.filename).name}:{frame.lineno}"
        self.failures[key] += 1
        if self.failures[key] == 1:
            print(f"{key}: {str(error)[:300]}\n  {_short(example)}", file=sys.stderr, flush=True)


def _short(example: Any) -> str:
    try:
        return repr(example)[:2000]
    except ValueError:  # a number that is too long to be written
        return type(example).__name__


def record(what: str, tally: Tally, seed: int, seconds: float, **more: Any) -> None:
    """Append the line of a drill."""
    counts = {
        "examples": tally.examples,
        "accepted": tally.accepted,
        "tracebacks": tally.tracebacks,
        "hangs": tally.hangs,
    }
    print(json.dumps(drill_log.append(what, at=tally.commit, seed=seed, seconds=seconds, **counts, **more)))


@contextmanager
def alone(importing: AbstractContextManager[Any] | None = None) -> Iterator[Path]:
    """A folder for the examples, a cache of their own, one thread and no network; the package is imported inside `importing`."""
    with tempfile.TemporaryDirectory(prefix="assay-fuzz-") as name:
        os.environ |= {"ASSAY_CACHE": f"{name}/cache", "HF_HUB_OFFLINE": "1", "HF_HOME": f"{name}/hub"}
        with importing or nullcontext():
            import torch

            import tests.fuzz.configurations
            import tests.fuzz.targets  # noqa: F401
            from assay.run.needs import estimate, pace

        torch.set_num_threads(1)
        pace.product_rates, estimate.give_back = lambda: {"any": 1e11}, lambda: None
        (Path(name) / "work").mkdir()
        yield Path(name) / "work"


def configurations(examples: int, seed: int) -> int:
    """`examples` made-up settings through `configurations.check`."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import seed as seeded

    tally, started = Tally(), time.perf_counter()
    with alone() as folder:
        from tests.fuzz import configurations as subject

        subject.warm(folder)
        strategy = subject.examples()
        routes: Counter[str] = Counter()

        def one(example: Any) -> None:
            if tally.examples == examples:
                return
            tally.examples += 1
            routes[example.route] += 1
            try:
                tally.accepted += subject.check(example, folder)
            except subject.TooSlow as error:
                tally.hangs += 1
                tally.fail(error, example)
            except Exception as error:
                tally.fail(error, example)

        for block in _blocks(tally, examples):
            how = settings(max_examples=BLOCK, deadline=None, database=None, suppress_health_check=list(HealthCheck))
            seeded(f"{seed} {block}")(how(given(strategy)(one)))()
    record("configurations", tally, seed, time.perf_counter() - started, routes=dict(sorted(routes.items())))
    return 1 if tally.tracebacks else 0


def _blocks(tally: Tally, examples: int) -> Iterator[int]:
    block = 0
    while tally.examples < examples:
        print(f"{tally.examples:,} of {examples:,}", file=sys.stderr, flush=True)
        yield block
        block += 1


def files(minutes: float, seed: int, names: list[str], *, guided: bool) -> int:
    """Every target for an equal share of `minutes`, each in a process of its own; atheris guides it, or else chance."""
    from tests.fuzz.targets import TARGETS

    chosen = names or sorted(TARGETS)
    share, failed = 60 * minutes / len(chosen), False
    for name in chosen:
        engine = "guided" if guided else "chance"
        command = [sys.executable, "-m", "tests.fuzz", engine, name, "--seconds", f"{share:.0f}", "--seed", str(seed)]
        failed |= bool(subprocess.run(command, cwd=ROOT, check=False).returncode)
    return int(failed)


def chance(name: str, most: float, seed: int) -> int:
    """One target with mutations of its corpus, for so many seconds."""
    import random

    from tests.fuzz.mutation import mutated

    draw = random.Random(f"{seed} {name}")
    with alone() as folder:
        one, originals, tally = _prepared(name, folder)
        started = time.perf_counter()
        while time.perf_counter() - started < most:
            one(mutated(draw.choice(originals), draw))
    return _closed(name, tally, seed, time.perf_counter() - started, "mutation")


def guided(name: str, most: float, seed: int) -> int:
    """One target with inputs that atheris finds by the branches they take, for so many seconds."""
    import random

    import atheris  # pyright: ignore - an extra

    with alone(atheris.instrument_imports(include=["assay"])) as folder:
        from tests.fuzz import corpus
        from tests.fuzz.mutation import mutated

        one, _, tally = _prepared(name, folder)
        started = time.perf_counter()

        def watched(data: bytes) -> None:
            one(data)
            if (taken := time.perf_counter() - started) > most:  # libFuzzer would end the process without a word
                code = _closed(name, tally, seed, taken, "atheris")
                sys.stdout.flush()
                os._exit(code)

        def mutator(data: bytes, largest: int, seed: int) -> bytes:
            draw = random.Random(seed)
            return mutated(data, draw)[:largest] if draw.random() < 0.5 else atheris.Mutate(data, largest)

        found = folder / "found"
        found.mkdir()
        flags = [f"-seed={seed}", "-max_len=16384", "-timeout=60", "-rss_limit_mb=0", "-verbosity=0"]
        atheris.Setup([sys.argv[0], *flags, str(found), str(corpus.FOLDER / name)], watched, custom_mutator=mutator)
        atheris.Fuzz()
    return 0


def _prepared(name: str, folder: Path) -> tuple[Callable[[bytes], None], list[bytes], Tally]:
    """The target as a function that counts, its corpus, and the count; all of the corpus has gone through it once."""
    from tests.fuzz import corpus
    from tests.fuzz.targets import Broken, run, warm

    tally, files = Tally(), corpus.files(name)
    warm(name, files["whole"], folder)

    def one(data: bytes) -> None:
        tally.examples += 1
        try:
            tally.accepted += run(name, data, folder)
        except Broken as error:
            tally.hangs += error.hang
            tally.fail(error.__cause__ or error, data)
            corpus.keep(name, data)

    for data in files.values():
        one(data)
    return one, list(files.values()), tally


def _closed(name: str, tally: Tally, seed: int, seconds: float, engine: str) -> int:
    record(f"file {name}", tally, seed, seconds, engine=engine)
    return 1 if tally.tracebacks else 0

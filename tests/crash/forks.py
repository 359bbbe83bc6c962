"""Forks of a process that has already imported everything: a trial costs its own work and no start."""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HANGS = 60.0
"""Seconds after which a child counts as hanging."""
HUNG = 98


@dataclass(frozen=True)
class End:
    """How a child ended: exit code (minus the signal when killed, HUNG when it hung), and what it printed."""

    code: int
    printed: str


def child(work: Callable[[], int], *, stop_after: float = HANGS, sent: int = signal.SIGKILL) -> End:
    """Run `work` in a fork and wait for it; a signal is sent after some seconds, and SIGKILL if that does not end it."""
    with tempfile.TemporaryFile("w+") as printed:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            _become(work, printed.fileno())
        code = _wait(pid, stop_after, sent)
        printed.seek(0)
        return End(code, printed.read())


def _become(work: Callable[[], int], output: int) -> None:
    """The child's life."""
    code = 99
    try:
        os.dup2(output, 1)
        os.dup2(output, 2)
        faulthandler.enable()  # a child that hangs is aborted, and says where it was
        code = work()
    except KeyboardInterrupt:  # between two verbs, where nobody catches it
        code = 75
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, seconds: float, sent: int) -> int:
    """Its exit code."""
    for limit, number in ((seconds, sent), (HANGS, signal.SIGABRT)):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.002)
        os.kill(pid, number)
    os.waitpid(pid, 0)
    return HUNG


def share(trials: Sequence[Callable[[Path], Any]], folder: Path, workers: int = 2) -> list[Any]:
    """The results of the trials, in order; each gets a folder of its own, and workers take turns. Results go through JSON."""
    pids = []
    for worker in range(workers):
        place = folder / f"worker-{worker}"
        place.mkdir(parents=True, exist_ok=True)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                results = [trial(place) for trial in trials[worker::workers]]
                (place / "results.json").write_text(json.dumps(results))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        pids.append(pid)
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    if any(codes):
        raise RuntimeError(f"a worker of the harness ended with {codes}")
    parts = [json.loads((folder / f"worker-{worker}" / "results.json").read_text()) for worker in range(workers)]
    results: list[Any] = [None] * len(trials)
    for worker, part in enumerate(parts):
        results[worker::workers] = part
    return results

"""Processes that form one group: forks of this one, which has imported everything, so that a group of them starts at once."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest
import torch
import torch._dynamo  # DTensor does, and so would every fork
import torch.distributed as dist
import torch.distributed.tensor

from assay.errors import AssayError
from assay.ops import kernels

PATIENCE = 120.0
"""Seconds after which a rank counts as hanging, and is killed."""


@dataclass(frozen=True)
class End:
    """How a rank ended: exit code (minus the signal when killed), when, and what it printed."""

    code: int
    at: float
    printed: str


def run_ranks(world: int, work: Callable[[int], None], *, timeout: float = 30.0) -> list[End]:
    """Run `work(rank)` in `world` processes of one gloo group. An AssayError ends a rank with its exit code."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / f"rank-{rank}.txt" for rank in range(world)]
        pids = [_fork(rank, world, work, Path(folder) / "rendezvous", outputs[rank], timeout) for rank in range(world)]
        ends: dict[int, tuple[int, float]] = {}
        limit = time.monotonic() + PATIENCE
        while len(ends) < world:
            for rank, pid in enumerate(pids):
                if rank not in ends and (status := os.waitpid(pid, os.WNOHANG))[0]:
                    ends[rank] = os.waitstatus_to_exitcode(status[1]), time.monotonic()
                elif rank not in ends and time.monotonic() > limit:
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.005)
        return [End(*ends[rank], outputs[rank].read_text()) for rank in range(world)]


def _fork(rank: int, world: int, work: Callable[[int], None], rendezvous: Path, output: Path, timeout: float) -> int:
    sys.stdout.flush()
    sys.stderr.flush()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks beside threads; ours sleep
        pid = os.fork()
    if pid:
        return pid
    code = 99
    try:
        sys.stdout = sys.stderr = output.open("w")
        os.dup2(sys.stdout.fileno(), 1)
        os.dup2(sys.stdout.fileno(), 2)
        torch.set_num_threads(1)
        where = {"init_method": f"file://{rendezvous}", "rank": rank, "world_size": world}
        dist.init_process_group("gloo", timeout=timedelta(seconds=timeout), **where)
        work(rank)
        dist.destroy_process_group()
        code = 0
    except AssayError as error:
        print(f"{type(error).__name__}: {error}")
        code = error.exit_code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


@pytest.fixture(scope="session")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[End]]:
    """`ranks(world, work)` runs `work(rank)` on every rank of a new group and gives their ends."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSAY_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
        kernels.prepare()  # once, and not in every fork
    return run_ranks


def all_well(ends: list[End]) -> None:
    assert [end.code for end in ends] == [0] * len(ends), "\n".join(end.printed for end in ends)


@pytest.fixture(scope="session")
def together(ranks: Callable[..., list[End]]) -> Callable[..., None]:
    """The same, and every rank must end well."""
    return lambda world, work: all_well(ranks(world, work))

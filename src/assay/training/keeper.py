"""What a training keeps on disk: checkpoints, and a log whose every byte a checkpoint vouches for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
import xxhash
from torch import Tensor

from assay import disk
from assay.errors import CorruptData, Diverged
from assay.training import checkpoint
from assay.training.parallel import ALONE, Parallel

LOG = "progress.jsonl"
NOTHING = -1
"""In place of a step, where there is no checkpoint."""


@runtime_checkable
class Kept(Protocol):
    """What has a state that the next step depends on."""

    def state(self) -> Mapping[str, Tensor]: ...

    def restore(self, state: Mapping[str, Tensor]) -> None: ...


@dataclass(frozen=True)
class Keeper:
    """Checkpoints and the progress log of one training of `steps` steps; with several processes all call it, and the first one writes."""

    folder: Path
    trainees: Mapping[str, Kept]
    identity: dict[str, Any]
    steps: int
    parallel: Parallel = ALONE

    @property
    def log(self) -> Path:
        """One record a logged step."""
        return self.folder / LOG

    def resume(self) -> int:
        """Steps done; everything is put back as it was then, and the log ends there. Raises CorruptData, ConfigError."""
        step = self.parallel.on_first(self._tidy)
        if step == NOTHING or step is None:
            return 0
        path = checkpoint.place(self.folder, step)
        for name, trainee in self.trainees.items():
            trainee.restore(checkpoint.load_arm(path, name, trainee.state()))
        return step

    def _tidy(self) -> int:
        """Steps done by the newest checkpoint that is whole; what goes beyond it is removed."""
        disk.remove_leftovers(self.folder)
        path = checkpoint.latest(self.folder)
        if path is None:
            self.log.unlink(missing_ok=True)
            return NOTHING
        state = checkpoint.load(path, self.identity)
        if problem := checkpoint.check_log(state, self.log):
            raise CorruptData(
                problem,
                expected=f"the first {state.log_bytes:,} bytes as its checkpoint says",
                do="Run `assay verify --repair` on the folder of the run, or delete the folder to train from the start.",
            )
        checkpoint.prune(self.folder, keep=self._kept(state.step), newest=path)
        if self.log.exists():
            os.truncate(self.log, state.log_bytes)
        return state.step

    def save(self, step: int) -> None:
        """Checkpoint all trainees; refuses to keep a number that is not finite. Raises Diverged, OutOfDisk, CorruptData."""
        states = {name: self.parallel.gathered(trainee.state()) for name, trainee in self.trainees.items()}
        self.parallel.on_first(partial(self._write, step, states), busy=True)

    def _write(self, step: int, states: Mapping[str, Mapping[str, Tensor]]) -> None:
        for name, state in states.items():
            for key, tensor in state.items():
                if (
                    tensor.is_floating_point()
                    and tensor.numel()
                    and not torch.isfinite(torch.stack(tensor.aminmax())).all()
                ):
                    raise Diverged(
                        f"{key} of {name} is not finite after step {step}",
                        expected="finite parameters",
                        do="Lower learning_rate; the last checkpoint is whole.",
                    )
        written = disk.read(self.log) if self.log.exists() else b""
        state = checkpoint.State(step, self.identity, len(written), xxhash.xxh3_128_hexdigest(written))
        checkpoint.save(self.folder, state, states)
        checkpoint.prune(self.folder, keep=self._kept(step))

    def roll_back(self, name: str) -> None:
        """Return one trainee to the last checkpoint, but for its count of steps that were not finite."""
        path = checkpoint.latest(self.folder)
        assert path is not None, "a training that rolls back begins with a checkpoint"
        trainee = self.trainees[name]
        count = trainee.state()["nonfinite"]
        trainee.restore({**checkpoint.load_arm(path, name, trainee.state()), "nonfinite": count})

    def _kept(self, step: int) -> int:
        return 1 if step == self.steps else checkpoint.KEPT

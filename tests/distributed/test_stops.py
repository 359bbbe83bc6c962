"""A rank that dies ends the others soon, and training goes on from the checkpoint, on as many ranks as there are then."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from assay.activations import ActivationStore
from assay.activations.planted import Planted
from assay.dictionary import Dictionary
from assay.errors import ConfigError, Interrupted, OutOfDisk, RankLost
from assay.training import Progress, TrainConfig, train
from assay.training.parallel import Parallel

ROWS = Planted(width=16, atoms=24, active=2.0).sample(2000, key=1)
STEPS = 30
SOON = 20.0
"""Seconds within which the others must be gone; the promise is 60."""


def arms() -> dict[str, Dictionary]:
    settings = {"gated": {}, "batch_topk": {"k": 3, "k_aux": 4}}
    named = Dictionary.registry.named
    return {name: named(name).Config(d_in=16, width=32, **more).build() for name, more in settings.items()}


def training(folder: Path, shards: int = 1, stop: Callable[[], bool] = lambda: False, **changes: Any):
    config = {"steps": STEPS, "learning_rate": 5e-3, "log_every": 1, "checkpoint_every": 7, "dead_window": 200}
    config |= {"resample_at": (0.5,), "resample_dip": 5, "latent_shards": shards}
    store = ActivationStore.of(ROWS, batch_size=64, seed=3)
    return train(arms(), store, TrainConfig(**{**config, **changes}), folder=folder, stop=stop)


def last(folder: Path) -> dict[str, dict[str, Tensor]]:
    """The tensors of each arm after the last step."""
    return {path.stem: load_file(path) for path in sorted((folder / f"step-{STEPS:08d}").glob("*.safetensors"))}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def log(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]


def assert_near(folder: Path, other: Path) -> None:
    """The same files with the same tensors, but for rounding."""
    ours, theirs = last(folder), last(other)
    assert ours.keys() == theirs.keys()
    for arm, tensors in theirs.items():
        assert {name: (t.dtype, t.shape) for name, t in ours[arm].items()} == {
            name: (t.dtype, t.shape) for name, t in tensors.items()
        }
        for name, tensor in tensors.items():
            gap = (ours[arm][name].double() - tensor.double()).abs().max().item()
            assert gap <= 1e-5 * max(tensor.double().abs().max().item(), 1e-30), (arm, name)
    for record, expected in zip(log(folder), log(other), strict=True):
        assert record["step"] == expected["step"]
        for arm, numbers in expected["arms"].items():
            assert record["arms"][arm]["loss"] == pytest.approx(numbers["loss"], rel=1e-5)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training that nothing interrupted, in one process."""
    folder = tmp_path_factory.mktemp("whole")
    list(training(folder))
    return folder


@pytest.mark.parametrize(("shards", "victim"), [(1, 0), (1, 1), (2, 1)], ids=["the first", "the second", "a shard"])
def test_a_killed_rank_ends_the_others_and_training_goes_on_to_the_same_bytes(
    ranks, together, tmp_path, whole, shards, victim
):
    killed, started = tmp_path / "when", tmp_path / "first step"

    def dies(rank: int) -> None:
        for progress in training(tmp_path / "parts", shards):
            if progress.step == 17 and rank == victim:
                killed.write_text(str(time.monotonic()))
                os.kill(os.getpid(), signal.SIGKILL)

    ends = ranks(2, dies)
    survivor = ends[1 - victim]
    assert ends[victim].code == -signal.SIGKILL
    assert survivor.code == 75, survivor.printed
    assert "goes on from the last checkpoint" in survivor.printed
    assert survivor.at - float(killed.read_text()) < SOON

    def goes_on(rank: int) -> None:
        steps = [progress.step for progress in training(tmp_path / "parts", shards)]
        started.write_text(str(steps[0]))

    together(2, goes_on)
    assert started.read_text() == "15"
    together(2, lambda rank: list(training(tmp_path / "never killed", shards)))
    assert contents(tmp_path / "parts") == contents(tmp_path / "never killed")
    assert_near(tmp_path / "parts", whole)


Layout = tuple[int, int]
COURSES = [
    pytest.param([(1, 1), (2, 1), (2, 2)], id="1, then 2 data ranks, then 2 shards"),
    pytest.param([(2, 2), (1, 1), (2, 1)], id="2 shards, then 1, then 2 data ranks"),
    pytest.param([(4, 2), (1, 1), (4, 4)], id="2x2, then 1, then 4 shards", marks=pytest.mark.four_ranks),
    pytest.param([(2, 1), (4, 1), (2, 2)], id="2, then 4 data ranks, then 2 shards", marks=pytest.mark.four_ranks),
]


@pytest.mark.parametrize("course", COURSES)
def test_training_goes_on_with_another_number_of_ranks(ranks, tmp_path, whole, course: list[Layout]):
    """Two stops at places that are not those of checkpoints; a stop is asked for on one rank alone."""
    for (world, shards), stop_at in zip(course, (9, 20, STEPS), strict=True):

        def work(rank: int, shards: int = shards, stop_at: int = stop_at, last_rank: int = world - 1) -> None:
            now: list[Progress] = []
            asked = lambda: rank == last_rank and now[-1].step == stop_at < STEPS  # noqa: E731
            for progress in training(tmp_path, shards, asked):
                now.append(progress)

        ends = ranks(world, work)
        assert {end.code for end in ends} == {75 if stop_at < STEPS else 0}, ends
        assert sorted(tmp_path.glob("step-*"))[-1].name == f"step-{stop_at:08d}"
    assert_near(tmp_path, whole)


def test_a_finished_training_does_nothing_on_more_ranks(together, tmp_path, whole):
    before = contents(whole)

    def work(rank: int) -> None:
        assert list(training(whole, 2)) == []

    together(2, work)
    assert contents(whole) == before


def test_a_hanging_rank_ends_the_others_after_the_timeout(ranks, tmp_path):
    """The group's own timeout, as a caller from Python may choose it, counts for what was made by the caller; ours for the rest."""
    from datetime import timedelta

    from assay.training import parallel

    before, parallel.TIMEOUT = parallel.TIMEOUT, timedelta(seconds=2)
    try:

        def work(rank: int) -> None:
            for progress in training(tmp_path):
                if progress.step == 9 and rank == 1:
                    time.sleep(6)

        began = time.monotonic()
        ends = ranks(2, work)
    finally:
        parallel.TIMEOUT = before
    assert [end.code for end in ends] == [75, 75], ends
    assert ends[0].at - began < SOON


def test_an_error_of_the_first_rank_is_raised_on_all(together):
    def work(rank: int) -> None:
        parallel = Parallel.of(1, torch.device("cpu"))

        def fails() -> int:
            assert rank == 0
            raise OutOfDisk("no room", expected="some", do="Free it.")

        with pytest.raises(OutOfDisk, match=r"no room; expected some\. Free it\."):
            parallel.on_first(fails)
        with pytest.raises(
            ZeroDivisionError if rank == 0 else RankLost, match="division" if rank == 0 else "rank 0 stopped"
        ):
            parallel.on_first(lambda: 1 // 0)
        assert parallel.on_first(lambda: 5) == 5
        assert parallel.on_first(lambda: None) is None

    together(2, work)


def test_a_checkpoint_of_other_settings_is_refused_on_every_rank(together, tmp_path):
    list(training(tmp_path))

    def work(rank: int) -> None:
        with pytest.raises(ConfigError, match=r"learning_rate: 0\.005 then, 0\.02 now"):
            list(training(tmp_path, learning_rate=0.02))

    together(2, work)


def test_the_first_rank_alone_writes(together, tmp_path, monkeypatch):
    from assay import disk

    def work(rank: int) -> None:
        def refuse(*_: Any) -> None:
            raise AssertionError("another rank than the first writes")

        if rank:
            for name in ("write", "append_line", "publish"):
                monkeypatch.setattr(disk, name, refuse)
        list(training(tmp_path, 2))

    together(2, work)


def test_interrupted_is_what_a_lost_rank_is():
    assert issubclass(RankLost, Interrupted)
    assert RankLost.exit_code == 75

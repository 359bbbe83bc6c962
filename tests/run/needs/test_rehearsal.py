"""A small dictionary tells the memory of a large one: what is predicted from 64 rows is what is counted at the real shape."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from assay.config import parse
from assay.dictionary import Dictionary
from assay.run.needs import rehearsal
from assay.run.needs.rehearsal import Rehearsal, Shape, Take, rehearse
from assay.training import TrainConfig

BATCH, SAMPLE, LATENTS, DEPTH = 384, 1000, 3000, 96
LOOSER = {"pursuit": 0.15, "switch": 0.15, "rotation": 1.0}
"""How far the estimate of a step may be off, where it is more than five per cent: a search by rounds, rows that are dealt out, and a
matrix as wide as it is high, whose step is small."""


def settings(variant: str, **changes: Any) -> Dictionary.Config:
    shape = {"d_in": DEPTH, "width": LATENTS, **changes}
    base = Dictionary.registry.named(variant).Config().resized(d_in=shape.pop("d_in"), width=shape.pop("width"))
    return parse(type(base), {**base.resolved(), **shape}, where="test")


def counted(config: Dictionary.Config, train: TrainConfig, rows: int, *, dies: bool = False) -> Rehearsal:
    """A rehearsal at the real shape, which predicts nothing but itself."""
    shape = Shape(rows, config.width, config.d_in)
    take = rehearsal._take(config, train, shape, dies, 7)
    return Rehearsal(shape, take, ((0, 0, 0),) * len(take.sizes))


@pytest.mark.parametrize("variant", Dictionary.registry.names())
@pytest.mark.parametrize(
    "changes",
    [{}, {"beta1": 0.9, "clip_norm": 1.0}, {"dead_window": 1000, "resample_at": (0.5,)}],
    ids=["plain", "clipped", "dying"],
)
def test_a_small_step_predicts_a_large_one(variant: str, changes: dict[str, Any]) -> None:
    config, train = settings(variant), TrainConfig(steps=10, **changes)
    small = rehearse(config, train, batch=BATCH, sample=SAMPLE)
    large = counted(config, train, BATCH, dies="dead_window" in changes)
    width = config.width
    assert small.shape.rows * small.shape.latents * small.shape.depth < BATCH * LATENTS * DEPTH / 50
    assert small.dense == large.dense
    assert small.kept(width, DEPTH) == pytest.approx(large.kept(width, DEPTH), rel=0.01)
    assert small.parameters(width, DEPTH) == pytest.approx(large.parameters(width, DEPTH), rel=0.01)
    assert small.step(BATCH, width, DEPTH) == pytest.approx(
        large.step(BATCH, width, DEPTH), rel=LOOSER.get(variant, 0.05)
    )


def test_what_stays_is_parameters_and_moments() -> None:
    made = rehearse(settings("gated"), TrainConfig(steps=10), batch=BATCH, sample=SAMPLE)
    parameters = 4 * (2 * LATENTS * DEPTH + 3 * LATENTS + 2 * DEPTH + 1)
    assert made.parameters(LATENTS, DEPTH) == pytest.approx(parameters, rel=0.001)
    assert made.kept(LATENTS, DEPTH) == pytest.approx(2 * parameters + 8 * LATENTS, rel=0.001)
    with_mean = rehearse(settings("gated"), TrainConfig(steps=10, beta1=0.9), batch=BATCH, sample=SAMPLE)
    assert with_mean.kept(LATENTS, DEPTH) == pytest.approx(3 * parameters + 8 * LATENTS, rel=0.001)


def test_a_dense_beginning_grows_with_the_table_and_a_top_k_does_not() -> None:
    train = TrainConfig(steps=10)
    gated, topk = (rehearse(settings(name), train, batch=BATCH, sample=SAMPLE) for name in ("gated", "topk"))
    assert gated.dense
    assert not topk.dense
    table = 4 * 8192 * 65_536
    assert gated.step(8192, 65_536, 16) > 4 * table
    assert topk.step(8192, 65_536, 16) < table / 4


def test_one_rehearsal_serves_a_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rehearsal, "_MADE", {})
    train = TrainConfig(steps=10)
    made = {
        id(rehearse(settings("gated", seed=seed, width=width, sparsity={"value": dial}), train, batch=64, sample=64))
        for seed, width, dial in [(0, 3000, 0.1), (1, 3000, 0.2), (0, 6000, 0.1)]
    }
    assert len(made) == 1
    for k in (4, 8):
        rehearse(settings("topk", k=k), train, batch=64, sample=64)
    assert len(rehearsal._MADE) == 3


def test_runs_that_take_different_paths_still_give_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    config, train = settings("gated", unfrozen=True), TrainConfig(steps=10)
    whole = counted(config, train, BATCH)
    real, paths = rehearsal._take, iter(range(1000))

    def wandering(*given: Any) -> Take:
        take = real(*given)
        extra = ((0, 1),) * next(paths)
        return replace(take, events=(*take.events, *extra))

    monkeypatch.setattr(rehearsal, "_MADE", {})
    monkeypatch.setattr(rehearsal, "_take", wandering)
    guessed = rehearse(config, train, batch=BATCH, sample=SAMPLE)
    assert guessed.step(BATCH, LATENTS, DEPTH) == pytest.approx(whole.step(BATCH, LATENTS, DEPTH), rel=0.3)


def test_a_shape_below_the_small_one_is_rehearsed_as_it_is() -> None:
    config = settings("topk", d_in=8, width=48)
    made = rehearse(config, TrainConfig(steps=3), batch=16, sample=16)
    assert made.shape == Shape(16, 48, 8)


def test_no_setting_makes_a_rehearsal_large() -> None:
    huge = settings("topk", width=2**30, k=2**62, k_aux=2**40)
    made = rehearse(huge, TrainConfig(steps=10, dead_window=100, resample_at=(0.5,)), batch=BATCH, sample=SAMPLE)
    assert made.shape.latents == rehearsal.MOST
    assert made.parameters(2**30, DEPTH) == pytest.approx(4 * 2**30 * (2 * DEPTH + 1), rel=0.01)


def test_rehearsing_is_quick_and_leaves_no_trace_in_the_draws() -> None:
    state = torch.get_rng_state()
    rehearse(settings("relu", d_in=17), TrainConfig(steps=3), batch=100, sample=100)
    assert torch.equal(state, torch.get_rng_state())

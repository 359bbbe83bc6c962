"""A run's settings: what names files, and arms that are as many as were asked for."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from assay.activations import ActivationStore
from assay.config import parse
from assay.errors import ConfigError
from assay.run import Run
from assay.training import TrainConfig, train

GATED = {"variant": "gated", "width": 8}
TOPK = {"variant": "topk", "width": 8, "k": 2}


def run(**changes: Any) -> Run:
    return parse(Run, {"dictionaries": {"gated": GATED, "topk": TOPK}, **changes}, where="run")


def test_a_sweep_has_an_arm_for_each_dial_and_seed():
    arms = run(sweep={"gated": [0.1, 0.2]}, seeds=[0, 1]).arms(4, sweep=True)
    assert list(arms) == ["gated-0.1-s0", "gated-0.1-s1", "gated-0.2-s0", "gated-0.2-s1", "topk-2-s0", "topk-2-s1"]
    assert [settings.seed for settings in arms.values()] == [0, 1] * 3


@pytest.mark.parametrize(
    "changes",
    [
        {"sweep": {"gated": [0.1, 0.1]}},
        {"sweep": {"gated": [0.1, 0.10000001]}},
        {"sweep": {"topk": [1_000_001, 1_000_002]}},
        {"seeds": [3, 3]},
    ],
)
def test_arms_of_one_name_are_refused_rather_than_lost(changes):
    with pytest.raises(ConfigError, match="two arms of the sweep would be called"):
        run(**changes).arms(4, sweep=True)


def test_a_dial_that_counts_latents_takes_no_fraction():
    with pytest.raises(ConfigError, match=r"2\.5 for topk; expected whole numbers"):
        run(sweep={"topk": [2.5]}).arms(4, sweep=True)


def test_the_largest_dial_stays_what_it_is():
    largest = {**TOPK, "k": 2**63 - 1}
    (settings,) = run(dictionaries={"topk": largest}).arms(4, sweep=True).values()
    assert settings.resolved()["k"] == 2**63 - 1


@pytest.mark.parametrize(
    "changes", [{"seeds": []}, {"seeds": [-1]}, {"name": "a" * 101}, {"dictionaries": {"a" * 101: GATED}}]
)
def test_no_seed_and_names_that_no_file_can_have_are_refused(changes):
    with pytest.raises(ConfigError):
        run(**changes)


@pytest.mark.parametrize("changes", [{"width": 2**31}, {"d_in": 2**24}])
def test_dictionaries_beyond_any_memory_are_refused(changes):
    with pytest.raises(ConfigError, match="less than"):
        run(dictionaries={"gated": GATED | changes}).arms(2**24, sweep=False)


def test_numbers_that_are_not_finite_are_refused_before_they_reach_run_json():
    with pytest.raises(ConfigError, match=r"dictionaries\.gated\.sparsity\.value = nan; expected a finite number"):
        run(dictionaries={"gated": {**GATED, "sparsity": {"value": float("nan")}}})


@pytest.mark.parametrize(
    "changes",
    [
        {"dictionaries": {"a": {"variant": "jumprelu", "width": 8, "initial_threshold": 1e308}}},
        {"dictionaries": {"a": {"variant": "jumprelu", "width": 8, "bandwidth": 1e-320}}},
        {"train": {"learning_rate": 1e308}},
        {"train": {"beta1": 0.9999999999}},
    ],
)
def test_numbers_beyond_single_precision_are_refused_before_anything_is_built(changes):
    with pytest.raises(ConfigError, match="or equal to"):
        run(**changes).arms(4, sweep=False)


def test_the_name_of_an_arm_is_one_that_training_takes(tmp_path):
    (arm,) = run(dictionaries={"topk": {**TOPK, "k": 2_000_000}}).arms(4, sweep=True).items()
    assert arm[0] == "topk-2e+06"
    store = ActivationStore.of(torch.randn(64, 4), batch_size=32)
    progress = list(train({arm[0]: arm[1].build()}, store, TrainConfig(steps=1), folder=tmp_path))
    assert progress[-1].step == 1

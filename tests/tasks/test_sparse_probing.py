"""The task from text to scores, with a model of a few words: equal asks, equal answers, and a refusal where nothing can be read."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from assay.analysis import pooling
from assay.task import NotApplicable
from assay.tasks.sparse_probing import SIZES, SparseProbing
from assay.testing.known import constant, identity
from tests.tasks.probing_bench import labelled, tiny_bench

KINDS = {"fresh": "good", "rotten": "bad"}
SETS = {
    "sentiment": labelled(sentiment=KINDS),
    "newsgroups": labelled(group={**KINDS, "med": "slow"}),
    "jobs": labelled(job=KINDS, pronoun={"he": "star", "she": "plot"}),
}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(pooling, "load_labelled", lambda name: SETS[name])
    return tiny_bench(tmp_path / "tiny")


def test_channels_as_latents_score_what_raw_channels_score(bench):
    task = SparseProbing(SparseProbing.Config(train=100, test=50), bench)
    before = task.cost()[0].shared
    task.prepare()
    scores = task.try_on(identity(16))
    assert set(scores.values) == set(SparseProbing.scores)
    assert next(iter(SparseProbing.scores)) == "latents_1"
    assert all(0.4 < value <= 1 for value in scores.values.values())
    assert scores.values["dense"] > 0.7
    assert set(scores.items) == {f"latents_{k}" for k in SIZES}
    for name, texts in scores.items.items():
        assert sum(texts) / len(texts) == pytest.approx(scores.values[name], abs=1e-9)
    assert scores.values["latents_16"] > scores.values["latents_1"]
    assert json.loads(json.dumps(scores.details)) == scores.details
    assert set(scores.details) == {"left_out", "sentiment.sentiment", "newsgroups.group", "jobs.job", "jobs.pronoun"}
    assert set(scores.details["newsgroups.group"]["latents_1"]) == {"fresh", "med", "rotten"}
    assert scores == task.try_on(identity(16)), "equal asks, equal answers"
    assert sum(before.values()) > 0
    assert not task.cost()[0].shared, "what is kept costs nothing"


def test_a_dictionary_that_says_nothing_scores_chance(bench):
    task = SparseProbing(SparseProbing.Config(train=100, test=50), bench)
    task.prepare()
    values = task.try_on(constant(bench.sample.mean(0))).values
    assert all(math.isclose(values[f"latents_{k}"], 0.5) for k in SIZES)


def test_texts_that_even_a_dense_probe_cannot_read_are_refused(bench, monkeypatch):
    def alike(name):
        return dataclasses.replace(SETS[name], texts=("the film",) * len(SETS[name].texts))

    monkeypatch.setattr(pooling, "load_labelled", alike)
    task = SparseProbing(SparseProbing.Config(train=100, test=50), bench)
    with pytest.raises(NotApplicable, match=r"needed is 0\.6 for one set"):
        task.prepare()

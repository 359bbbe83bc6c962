"""TPP and SCR from text to scores, with a model of a few words; and what they refuse."""

from __future__ import annotations

import dataclasses
import json

import pytest
import torch

from assay.analysis import pooling
from assay.dictionaries.transcoder import Transcoder
from assay.task import NotApplicable
from assay.tasks import scr
from assay.tasks.scr import SCR
from assay.tasks.tpp import TPP
from assay.testing.known import constant, identity
from tests.tasks.probing_bench import labelled, tiny_bench

JOB, PRONOUN = {"professor": "good", "nurse": "bad", "surgeon": "slow"}, {"he": "star", "she": "plot"}
SETS = {"newsgroups": labelled(group=JOB), "jobs": labelled(job=JOB, pronoun=PRONOUN)}
SMALL = {"train": 180, "test": 60}


@pytest.fixture
def bench(tmp_path, monkeypatch):
    monkeypatch.setattr(pooling, "load_labelled", lambda name: SETS[name])
    monkeypatch.setattr(scr, "PAIRS", (("professor", "nurse"),))
    return tiny_bench(tmp_path / "tiny")


@pytest.mark.parametrize("kind", [TPP, SCR])
def test_a_task_gives_each_of_its_scores_twice_alike(bench, kind, monkeypatch):
    monkeypatch.setattr(f"assay.tasks.{kind.name}.{'LEAST' if kind is TPP else 'ROOM'}", 0.0)
    task = kind(kind.Config(**SMALL), bench)
    assert sum(task.cost()[0].shared.values()) > 0
    task.prepare()
    assert not task.cost()[0].shared
    scores = task.try_on(identity(16))
    assert list(scores.values) == list(kind.scores)
    assert next(iter(kind.scores)) == kind.name
    assert scores == task.try_on(identity(16))
    assert json.loads(json.dumps(scores.details)) == scores.details
    assert set(scores.items) == set(kind.scores) - {"channels"}
    for name, texts in scores.items.items():
        assert sum(texts) / len(texts) == pytest.approx(scores.values[name], abs=1e-9)
    assert scores.values["channels"] != 0
    silent = task.try_on(constant(torch.zeros(16))).values
    assert {silent[name] for name in kind.scores if name != "channels"} == {0.0}


@pytest.mark.parametrize("kind", [TPP, SCR])
def test_texts_that_probes_cannot_read_are_refused(bench, kind, monkeypatch):
    def alike(name):
        return dataclasses.replace(SETS[name], texts=("the film",) * len(SETS[name].texts))

    monkeypatch.setattr(pooling, "load_labelled", alike)
    with pytest.raises(NotApplicable, match="needed is a"):
        kind(kind.Config(**SMALL), bench).prepare()


@pytest.mark.parametrize("kind", [TPP, SCR])
def test_a_dictionary_of_two_sites_is_refused(bench, kind, monkeypatch):
    monkeypatch.setattr(f"assay.tasks.{kind.name}.{'LEAST' if kind is TPP else 'ROOM'}", 0.0)
    task = kind(kind.Config(**SMALL), bench)
    task.prepare()
    with pytest.raises(NotApplicable, match="another site"):
        task.try_on(Transcoder.Config(d_in=16, target_width=16, width=8, k=2).build())

"""The task on a model of a few words: words are explained, and what has no windows gives no number."""

from __future__ import annotations

import json
import math

import pytest
import torch

from assay.interp.windows import WindowSettings
from assay.task import NotApplicable
from assay.tasks.autointerp import AutoInterp
from assay.testing.known import constant
from tests.interp.tiny_bench import one_latent_a_word, tiny_bench

SETTINGS = AutoInterp.Config(encoder="", windows=WindowSettings(length=6, least=10, explaining=4))


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return tiny_bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def task(bench):
    task = AutoInterp(SETTINGS, bench)
    task.prepare()
    return task


def test_latents_that_are_words_are_explained(task, bench):
    found = task.score(one_latent_a_word(bench))
    assert found.values["detection"] >= 0.9
    assert found.values["fuzzing"] >= 0.9
    assert found.values["fuzzing_active"] >= 0.9
    assert found.values["explained"] == 1.0
    assert found.values["fuzzing"] - found.values["fuzzing_moved"] >= 0.1
    assert abs(found.values["shuffled"] - 0.5) <= 0.05
    assert found.details["skipped"] == {"dead": 1} or found.details["skipped"] == {"dead": 2}
    assert list(found.values) == list(AutoInterp.scores)
    json.dumps(found.details)


def test_the_same_dictionary_gets_the_same_scores(task, bench):
    dictionary = one_latent_a_word(bench)
    first, again = task.score(dictionary), task.score(dictionary)
    assert first.details == again.details
    assert {name: value for name, value in first.values.items() if name != "embedding_auc"} == {
        name: value for name, value in again.values.items() if name != "embedding_auc"
    }
    assert math.isnan(first.values["embedding_auc"])


def test_a_dictionary_that_never_fires_has_no_scores(task):
    found = task.score(constant(torch.zeros(32)))
    assert all(math.isnan(found.values[name]) for name in AutoInterp.scores)
    assert found.details["skipped"] == {"dead": 8}


def test_too_few_documents_are_refused(bench):
    with pytest.raises(NotApplicable, match=r"60 held-out tokens are of \d documents"):
        AutoInterp(AutoInterp.Config(tokens=60, encoder=""), bench).prepare()

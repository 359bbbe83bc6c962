"""The task on a model of a few words: words are explained, and what has no windows gives no number."""

from __future__ import annotations

import json
import math

import pytest
import torch

from assay.config import parse
from assay.errors import ConfigError
from assay.interp.endpoint_judge import Endpoint
from assay.interp.judge import RuleJudge
from assay.interp.windows import WindowSettings
from assay.task import NotApplicable
from assay.tasks import autointerp
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
    found = task.try_on(one_latent_a_word(bench))
    assert found.values["detection"] >= 0.9
    assert found.values["fuzzing"] >= 0.9
    assert found.values["fuzzing_active"] >= 0.9
    assert found.values["explained"] == 1.0
    assert found.values["fuzzing"] - found.values["fuzzing_moved"] >= 0.1
    assert abs(found.values["shuffled"] - 0.5) <= 0.05
    assert found.details["skipped"] == {"dead": 1} or found.details["skipped"] == {"dead": 2}
    assert list(found.values) == list(AutoInterp.scores)
    json.dumps(found.details)
    assert all(sum(each) / len(each) == pytest.approx(found.values[name]) for name, each in found.own.items())


def test_the_same_dictionary_gets_the_same_scores(task, bench):
    dictionary = one_latent_a_word(bench)
    first, again = task.try_on(dictionary), task.try_on(dictionary)
    assert first.details == again.details
    unasked = {
        name for name in AutoInterp.scores if name.startswith(("embedding", "language", "surprisal", "endpoint"))
    }
    assert {name for name, value in first.values.items() if math.isnan(value)} == unasked
    assert [first.values[name] for name in first.values if name not in unasked] == [
        again.values[name] for name in again.values if name not in unasked
    ]


class Knows(RuleJudge):
    """Runs rules where others would read."""

    def __init__(self, *asked) -> None:
        self.asked = asked

    def surprisal(self, explanation, windows):
        return self.detect(explanation, windows)


def test_judges_that_read_are_asked_where_they_are_wanted(bench, monkeypatch):
    monkeypatch.setattr(autointerp, "LanguageJudge", Knows)
    monkeypatch.setattr(autointerp, "EndpointJudge", Knows)
    table = {**SETTINGS.resolved(), "language": True, "endpoint": {"url": "https://example.org/v1", "model": "m"}}
    task = AutoInterp(parse(AutoInterp.Config, table, where="here"), bench)
    task.prepare()
    found = task.try_on(one_latent_a_word(bench)).values
    assert found["language_auc"] == found["surprisal_auc"] >= 0.9
    assert abs(found["language_auc_shuffled"] - 0.5) <= 0.05
    assert (found["endpoint_detection"], found["endpoint_fuzzing"]) == (found["detection"], found["fuzzing"])
    asked, answers = task.endpoint.asked
    assert asked == task.settings.endpoint
    assert answers.path.parent.name == "answers"


def test_judges_that_read_cost_what_they_read(bench):
    endpoint = Endpoint(url="https://example.org/v1", model="m")
    costs = [
        AutoInterp(SETTINGS.model_copy(update=changed), bench).cost()[1]
        for changed in ({}, {"language": True}, {"endpoint": endpoint})
    ]
    assert costs[0].to_end == costs[2].to_end == 0 < costs[1].to_end
    assert costs[0].seconds == costs[1].seconds < costs[2].seconds


def test_an_endpoint_that_is_not_safe_is_refused_before_any_work(bench):
    endpoint = Endpoint(url="http://example.org/v1", model="m")
    with pytest.raises(ConfigError, match="http only to localhost"):
        AutoInterp(SETTINGS.model_copy(update={"endpoint": endpoint}), bench).prepare()


def test_a_dictionary_that_never_fires_has_no_scores(task):
    found = task.try_on(constant(torch.zeros(32)))
    assert all(math.isnan(found.values[name]) for name in AutoInterp.scores)
    assert found.details["skipped"] == {"dead": 8}


def test_too_few_documents_are_refused(bench):
    with pytest.raises(NotApplicable, match=r"60 held-out tokens are of \d documents"):
        AutoInterp(AutoInterp.Config(tokens=60, encoder=""), bench).prepare()

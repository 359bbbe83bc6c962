"""The task `unlearning` on a small model: equal scores for equal dictionaries, and refusals that say what was missing."""

from __future__ import annotations

import random

import pytest
import torch

from assay.activations.source import TextSource
from assay.dictionaries.random import Random
from assay.materials import load_language_model
from assay.sites import locate
from assay.task import Bench, NotApplicable, Task
from assay.tasks import unlearning
from assay.tasks.unlearning import Unlearning
from assay.testing.known import constant
from tests.tiny_language import WORDS, write_model

SETTINGS = Unlearning.Config(thresholds=(0.05, 0.3), counts=(2,), strengths=(1.0, 4.0), rows=200, tokens=60, bound=0.1)


def texts(words: list[str], seed: int) -> list[str]:
    draw = random.Random(seed)
    return [" ".join(draw.choices(words, k=20)) for _ in range(60)]


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Bench:
    write_model(tmp_path / "model")
    plots, reviews = texts(WORDS[:9], 0), texts(WORDS[4:], 1)
    monkeypatch.setattr(unlearning, "load_by_label", lambda name, label: {"plot": [*plots], "fresh": [*reviews]})
    loaded = load_language_model(str(tmp_path / "model"))
    held_out = TextSource([*plots, *reviews], loaded.tokenizer, context=20, part="held_out", held_out=0.5)
    return Bench(loaded, locate(loaded.model, "resid_post.1"), held_out, torch.randn(10, 16))


def test_it_scores_dictionaries_on_documents_that_training_did_not_see(bench):
    assert Task.registry.named("unlearning") is Unlearning
    task = Unlearning(SETTINGS, bench)
    forget, retain = task.texts()
    assert 15 < len(forget) < 45
    assert 15 < len(retain) < 45
    task.prepare()
    dictionary = Random.Config(d_in=16, width=64, k=3).build()
    found = task.try_on(dictionary)
    assert list(found.values) == list(Unlearning.scores)
    assert found == task.try_on(dictionary)
    assert found.details["forget_loss"][0] != found.details["forget_loss"][1]
    assert found.details["tried"]


def test_a_dictionary_that_never_fires_gets_no_number(bench):
    task = Unlearning(SETTINGS, bench)
    task.prepare()
    with pytest.raises(NotApplicable, match="no latent fires"):
        task.try_on(constant(torch.zeros(16)))


def test_too_little_text_is_refused(bench):
    with pytest.raises(NotApplicable, match="1000"):
        Unlearning(SETTINGS.revised({"thresholds": (0.001,)}), bench).prepare()
    with pytest.raises(NotApplicable, match="1 context of a text"):
        Unlearning(SETTINGS.revised({"tokens": 20}), bench).prepare()
    assert Unlearning(SETTINGS, bench).cost()[1].to_end == 2 * 60 * 5

"""Questions to a tiny model: padding changes nothing, nor does putting back what was there; another activation changes the answer."""

from __future__ import annotations

import pytest
import torch

from assay.activations.produce import evaluating
from assay.analysis.questions import Questions
from assay.materials import LanguageModel, load_language_model
from assay.sites import locate
from tests.tiny_language import write_model

TEXTS = [("the film", "the film is"), ("the slow joke", "the slow joke of a star was"), ("one plot", "one plot in")]
ANSWERS = [[3, 4, 5], [6, 7], [8, 9, 10, 11]]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("lm")
    write_model(folder)
    return load_language_model(str(folder))


def ask(language_model: LanguageModel, texts=TEXTS, answers=ANSWERS) -> Questions:
    model = language_model.model
    return Questions.of(model, locate(model, "resid_post.1"), language_model.tokenizer, texts, answers)


def test_padding_changes_no_answer(language_model: LanguageModel) -> None:
    with evaluating(language_model.model), torch.no_grad():
        together = ask(language_model).logits()
        for place, (text, answers) in enumerate(zip(TEXTS, ANSWERS, strict=True)):
            alone = ask(language_model, [text], [answers]).logits()
            assert torch.allclose(together[place, : len(answers)], alone[0], atol=1e-5)
            assert together[place, len(answers) :].eq(-torch.inf).all()


def test_what_was_there_put_back_changes_nothing_and_something_else_does(language_model: LanguageModel) -> None:
    with evaluating(language_model.model), torch.no_grad():
        questions = ask(language_model)
        x, clean = questions.activations(), questions.logits()
        assert torch.allclose(questions.logits(x), clean, atol=1e-5)
        assert not torch.allclose(questions.logits(x.roll(1, 0))[:, :2], clean[:, :2], atol=1e-3)
        assert torch.allclose(questions.logits(x[2:], torch.tensor([2])), clean[2:], atol=1e-5)


def test_gradients_reach_the_changed_activation(language_model: LanguageModel) -> None:
    with evaluating(language_model.model):
        questions = ask(language_model)
        x = questions.activations().requires_grad_()
        questions.logits(x)[:, 0].sum().backward()
    assert x.grad is not None
    assert (x.grad.norm(dim=1) > 0).all()


def test_a_token_that_reaches_beyond_the_entity_is_refused(language_model: LanguageModel) -> None:
    with pytest.raises(ValueError, match="joins"):
        ask(language_model, [("the joke", "the film is")], [[3]])

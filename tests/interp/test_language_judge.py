"""A model made by hand that reads as it should, whose answers are known, and one with random weights that has all that a real one has."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from assay.errors import ConfigError
from assay.interp.judge import RuleJudge, Shown, shown
from assay.interp.language_judge import LanguageJudge
from assay.interp.scorers import detection, fuzzing, similarity, surprisal
from assay.interp.windows import Window

OTHERS = ["the", "plot", "joke", "star", "of", "and"]
WORDS = ["<unk>", "Yes", "No", "film", "<<", ">>", "Text", "A", *OTHERS]


def tokens(words: list[str] = WORDS, **special: str) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    marks = [pre_tokenizers.Split(mark, "isolated") for mark in ("<<", ">>")]
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*marks, pre_tokenizers.WhitespaceSplit()])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", **special)


class Reads(nn.Module):
    """Says Yes where it reads film in explanation and text, or behind <<, and expects words that it has seen.

    logits of word w after t    log(1 + seen_t(w)), and of Yes: 2 [film seen twice, or once behind <<] - 1, of No: 0
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.batches: list[tuple[int, ...]] = []

    def forward(self, input_ids, attention_mask):
        self.batches.append(tuple(input_ids.shape))
        one_hot = nn.functional.one_hot(input_ids, len(WORDS)) * attention_mask[..., None]
        seen = one_hot.cumsum(1).float()
        logits = torch.log1p(seen)
        logits[..., WORDS.index("No")] = 0
        marked = (input_ids[:, 1:] == WORDS.index("film")) & (input_ids[:, :-1] == WORDS.index("<<"))
        right = marked.any(1) if (input_ids == WORDS.index("<<")).any() else seen[:, -1, WORDS.index("film")] >= 2
        logits[..., WORDS.index("Yes")] = 2 * right[:, None].float() - 1
        return SimpleNamespace(logits=self.scale * logits)


def windows(count: int = 8, length: int = 6, seed: int = 0) -> list[Window]:
    """Half of them with one film."""
    draw = np.random.default_rng(seed)
    found = []
    for number in range(2 * count):
        pieces = [f" {word}" for word in draw.choice(OTHERS, length)]
        values = np.zeros(length)
        if number < count:
            place = int(draw.integers(length))
            pieces[place], values[place] = " film", 1.0
        found.append(Window(number, 0, tuple(pieces), tuple(values.tolist()), "active" if number < count else "random"))
    return found


@pytest.fixture(scope="module")
def random_judge():
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(WORDS), initializer_range=0.4, max_position_embeddings=200, **shape)
    return LanguageJudge(LlamaForCausalLM(config).eval(), tokens())


@pytest.fixture
def reader():
    return LanguageJudge(Reads(), tokens())


def test_a_model_that_reads_finds_the_windows_by_the_explanation(reader):
    assert detection(reader, "the word film ", windows()).balanced_accuracy == 1.0
    assert similarity(reader, "the word film ", windows()) == 1.0
    assert similarity(reader, "the word plot ", windows()) == 0.5


def test_its_probability_is_the_softmax_over_yes_and_no(reader):
    found = reader.detect("the word film ", shown(windows()))
    np.testing.assert_allclose(sorted(set(found.round(9))), torch.sigmoid(torch.tensor([-1.0, 1.0])), atol=1e-6)


def test_fuzzing_shows_the_highlights(reader):
    film = (" the", " film", " of")
    marked = [Shown(film, 0, (False, True, False)), Shown(film, 0, (True, False, False))]
    assert (reader.fuzz("film", marked) >= 0.5).tolist() == [True, False]
    assert fuzzing(reader, "film", windows(), wrong="active").balanced_accuracy == 1.0


def test_surprisal_is_the_formula(reader):
    some = windows(1, 3)
    gains = reader.surprisal("film", shown(some))
    told = torch.tensor(
        tokens()("A pattern in text is described like this: film\n\nA text with the pattern:\n")["input_ids"]
    )
    untold = torch.tensor(tokens()("A text:\n")["input_ids"])
    for gain, window in zip(gains, some, strict=True):
        text = torch.tensor(tokens()("".join(window.pieces))["input_ids"])
        losses = []
        for before in (untold, told):
            ids = torch.cat([before, text])[None]
            logits = Reads()(ids, torch.ones_like(ids)).logits[0, len(before) - 1 : -1].double()
            losses.append(nn.functional.cross_entropy(logits, text).item())
        assert gain == pytest.approx(losses[0] - losses[1], abs=1e-6)


def test_the_right_explanation_makes_its_windows_likelier(reader):
    assert surprisal(reader, "film " * 9, windows()) == 1.0
    assert 0.1 < surprisal(reader, "plot " * 9, windows(40)) < 0.6


def test_an_explanation_that_says_nothing_says_half_and_makes_nothing_likelier(reader):
    some = shown(windows())
    assert reader.detect("", some).tolist() == [0.5] * 16
    assert reader.fuzz("", some).tolist() == [0.5] * 16
    assert reader.surprisal("", some).tolist() == [0.0] * 16
    assert surprisal(reader, "", windows()) == 0.5
    assert reader.model.batches == []


def test_what_else_is_in_the_batch_does_not_matter(random_judge, monkeypatch):
    some = [*shown(windows(3, 4)), *shown(windows(3, 9)), Shown((), 0)]
    for ask in (random_judge.detect, random_judge.fuzz, random_judge.surprisal):
        together = ask("the film", some)
        alone = np.concatenate([ask("the film", [one]) for one in some])
        np.testing.assert_allclose(together, alone, atol=1e-6)
        np.testing.assert_array_equal(together, ask("the film", some))
        assert len(set(together[:-1].round(9))) > 1
    assert random_judge.surprisal("the film", some)[-1] == 0


def test_batches_are_bounded_and_nothing_is_left_out(reader, monkeypatch):
    monkeypatch.setattr("assay.interp.language_judge.TOKENS_AT_ONCE", 100)
    found = reader.detect("the word film ", shown(windows(20)))
    assert len(found) == sum(rows for rows, _ in reader.model.batches) == 40
    assert all(rows * length <= 100 for rows, length in reader.model.batches)
    assert reader.detect("film", []).shape == reader.surprisal("film", []).shape == (0,)


def test_the_model_takes_no_gradient_and_is_left_as_it_was(random_judge):
    random_judge.model.train()
    random_judge.surprisal("film", shown(windows(1)))
    assert random_judge.model.training
    assert all(weight.grad is None for weight in random_judge.model.parameters())
    assert torch.is_grad_enabled()
    random_judge.model.eval()


def test_braces_in_texts_and_explanations_are_letters(random_judge):
    odd = [Shown((" {explanation}", " {0}"), 0), Shown((" {text}",), 0)]
    for ask in (random_judge.detect, random_judge.fuzz, random_judge.surprisal):
        assert np.isfinite(ask("fires on '{text}', '{'", odd)).all()


def test_a_tokenizer_without_yes_and_no_is_refused():
    with pytest.raises(ConfigError, match="does not tell an answer of Yes from one of No"):
        LanguageJudge(Reads(), tokens(["<unk>", "film"])).detect("film", shown(windows(1)))


def test_more_than_the_model_reads_is_refused(random_judge):
    with pytest.raises(ConfigError, match="expected at most 200"):
        random_judge.surprisal("film " * 300, shown(windows(1)))


def test_judges_say_what_they_cannot_do(reader):
    with pytest.raises(ConfigError, match="LanguageJudge does not odd; expected one of detect, fuzz, surprisal"):
        reader.odd([])
    with pytest.raises(ConfigError, match="RuleJudge does not surprisal; expected one of detect, fuzz, simulate"):
        surprisal(RuleJudge(), "fires on numbers", windows())

"""The task from a vocabulary to scores, with a model of a few words; and the refusal where it can't spell."""

from __future__ import annotations

import json
import math
import random
from itertools import islice, product

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from assay.activations.source import TextSource
from assay.materials import load_language_model
from assay.sites import locate
from assay.task import Bench, NotApplicable
from assay.tasks.absorption import Absorption
from assay.testing.known import constant, identity

LETTERS = "abcdefgh"


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A model whose embeddings say the first letter in one of eight channels, and twenty words of each letter."""
    folder = tmp_path_factory.mktemp("speller")
    words = [a + "".join(rest) for a in LETTERS for rest in islice(product("klmno", repeat=3), 20)]
    random.Random(0).shuffle(words)
    vocabulary = {word: number for number, word in enumerate(["<unk>", "<end>", *(f"▁{word}" for word in words)])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", eos_token="<end>").save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(vocabulary), **shape))
    with torch.no_grad():
        for word in words:
            model.model.embed_tokens.weight[vocabulary[f"▁{word}"], LETTERS.index(word[0])] += 1.0
    model.save_pretrained(folder)
    language_model = load_language_model(str(folder))
    held_out = TextSource([" ".join(words)], language_model.tokenizer, context=8)
    return Bench(language_model, locate(language_model.model, "resid_post.0"), held_out, torch.randn(50, 16))


def test_channels_that_are_letters_absorb_nothing(bench):
    task = Absorption(Absorption.Config(words=20, letters=6), bench)
    task.prepare()
    scores = task.try_on(identity(16))
    assert list(scores.values) == list(Absorption.scores)
    assert scores.values["main_f1"] > 0.9
    assert scores.values["absorption"] < 0.1
    assert scores.values["full_absorption"] == 0
    assert 1 <= scores.values["main_latents"] <= 3
    assert scores == task.try_on(identity(16))
    assert json.loads(json.dumps(scores.details)) == scores.details
    assert task.cost()[0].to_site > 0


def test_a_dictionary_without_latents_has_no_score(bench):
    task = Absorption(Absorption.Config(words=20, letters=6), bench)
    task.prepare()
    scores = task.try_on(constant(torch.zeros(16)))
    assert math.isnan(scores.values["absorption"])
    assert scores.values["main_f1"] == 0
    json.dumps(scores.details, allow_nan=False)


def test_a_model_that_cannot_spell_is_refused(bench):
    with torch.no_grad():
        weight = bench.language_model.model.model.embed_tokens.weight
        before = weight.clone()
        weight.copy_(weight.roll(5, 1)[torch.randperm(len(weight), generator=torch.Generator().manual_seed(0))])
    try:
        with pytest.raises(NotApplicable, match=r"letters with F1 above 0\.6 at .* needed are 6 letters"):
            Absorption(Absorption.Config(words=20, letters=6), bench).prepare()
    finally:
        with torch.no_grad():
            weight.copy_(before)


def test_a_vocabulary_of_few_letters_is_refused(bench):
    with pytest.raises(NotApplicable, match="words of 8 letters in the vocabulary; needed are 20"):
        Absorption(Absorption.Config(words=20), bench).prepare()

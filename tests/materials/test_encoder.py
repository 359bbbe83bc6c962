"""Sentences become unit vectors, each by itself, from a local folder."""

from __future__ import annotations

import pytest
import torch

from assay.errors import ConfigError
from assay.materials import CATALOGUE
from assay.materials.encoder import load_encoder, read_encoder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("encoder")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "film", "about", "love"]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab={word: number for number, word in enumerate(words)}).save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(words), **shape)).save_pretrained(folder)
    return folder


def test_a_sentence_is_the_mean_over_its_tokens_whatever_is_beside_it(folder):
    encoder = read_encoder(folder)
    texts = ["a film", "a film about love about a film", "love"]
    found = encoder.embed(texts)
    assert torch.allclose(found.norm(dim=-1), torch.ones(3))
    for text, vector in zip(texts, found, strict=True):
        hidden = encoder.model(**encoder.tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        assert torch.allclose(vector, torch.nn.functional.normalize(hidden.mean(0), dim=0), atol=1e-5)
    assert not any(parameter.requires_grad for parameter in encoder.model.parameters())


def test_a_language_model_is_not_taken_for_an_encoder():
    assert CATALOGUE["minilm"].kind == "encoder"
    with pytest.raises(ConfigError, match="'smollm2' is a model; expected an encoder, such as minilm"):
        load_encoder("smollm2")


@pytest.mark.model
def test_the_packaged_encoder_knows_what_is_alike():
    vectors = load_encoder().embed(["A funny film.", "This movie is hilarious.", "The stock market fell."])
    assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2]) + 0.2

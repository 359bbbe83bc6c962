"""Pooled codes are the means that a table would give, and texts are read without their padding and without the sink."""

from __future__ import annotations

import pytest
import torch

from assay.activations.planted import Planted
from assay.analysis.pooling import PooledCodes, TextRows, pool, raw_atoms, read_labelled, read_texts
from assay.materials import LanguageModel, load_language_model
from assay.materials.labelled import Labelled
from assay.sites import capture, locate
from assay.testing.known import oracle
from tests.tiny_language import write_model

TEXTS = ["the film is good", "a joke", "the", "star of the plot was bad and slow", "one film in a film"]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("tiny")
    write_model(folder)
    return load_language_model(str(folder))


def some_texts(count=70, seed=0):
    """Texts of planted rows, of which one has none."""
    planted = Planted(width=8, atoms=8, orthogonal=True, active=2.0)
    lengths = torch.randint(1, 9, (count,), generator=torch.Generator().manual_seed(seed))
    lengths[3] = 0
    return planted, TextRows(planted.sample(int(lengths.sum()), 0), lengths)


def table_of(codes):
    return torch.zeros(codes.count, codes.width).double().index_put((codes.texts, codes.latents), codes.values)


def test_pooled_codes_are_the_means_over_tokens():
    planted, texts = some_texts()
    dictionary = oracle(planted)
    codes, table = pool(dictionary, texts), dictionary.encode(texts.rows).to_dense().double()
    expected = torch.stack([part.sum(0) / max(len(part), 1) for part in table.split(texts.lengths.tolist())])
    assert (table_of(codes) - expected).abs().max() < 1e-6
    assert (codes.texts.diff() >= 0).all()
    assert len(codes.values) == (expected != 0).sum()


def test_what_pooled_codes_decode_to_is_the_pooled_reconstruction():
    planted, texts = some_texts()
    dictionary = oracle(planted)
    dictionary.scale.fill_(0.5)
    dictionary.mean.fill_(0.1)
    whole = TextRows(dictionary(texts.rows).detach(), texts.lengths).pooled()[texts.lengths > 0]
    decoded = (table_of(pool(dictionary, texts)) @ raw_atoms(dictionary))[texts.lengths > 0]
    assert (whole - decoded - (dictionary.mean + 0.5 * dictionary.decoder_bias)).abs().max() < 1e-5


def test_differences_and_columns_are_those_of_the_table():
    planted, texts = some_texts()
    codes = pool(oracle(planted), texts)
    table, among = table_of(codes), torch.arange(70) < 50
    y = torch.stack([torch.arange(70) % 3 == 0, torch.arange(70) % 2 == 0], 1)
    found = codes.differences(y, among)
    for number in range(2):
        inside, outside = table[among & y[:, number]], table[among & ~y[:, number]]
        assert (found[number] - (inside.mean(0) - outside.mean(0))).abs().max() < 1e-12
    assert (codes.columns(torch.tensor([5, 0, 2])) - table[:, [5, 0, 2]]).abs().max() == 0
    assert (table_of(PooledCodes.of(table)) == table).all()


def test_a_text_is_read_as_if_it_were_alone(tiny):
    site = locate(tiny.model, "resid_post.1")
    found = read_texts(tiny, site, TEXTS, most=5)
    assert found.lengths.tolist() == [3, 1, 0, 4, 4]
    for text, rows in zip(TEXTS, found.rows.split(found.lengths.tolist()), strict=True):
        ids = torch.tensor([tiny.tokenizer(text)["input_ids"][:5]])
        alone = capture(tiny.model, [site], input_ids=ids)[site][0, 1:]
        assert rows.numpy() == pytest.approx(alone.numpy(), abs=1e-5)


def test_a_set_is_read_once(tiny, monkeypatch):
    made = Labelled(
        "mine", tuple(TEXTS), {"kind": ("a", "b", "a", "a", "b")}, (False, False, True, False, True), "none"
    )
    kept: dict = {}
    monkeypatch.setattr("assay.analysis.pooling.load_labelled", lambda name: made)
    site = locate(tiny.model, "resid_post.1")
    first = read_labelled("mine", 2, 2, 5, tiny, site, kept)
    assert read_labelled("mine", 2, 2, 5, tiny, site, kept) is first
    assert read_labelled("mine", 2, 2, 4, tiny, site, kept) is not first
    names, y = first.members("kind")
    assert names == ["b"]
    assert y.shape == (len(first.labelled.texts), 1)
    assert first.pooled.shape == (len(first.labelled.texts), 16)

"""Windows: what is in them, what is not, and that the two halves share no text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch

from assay.interp.corpus import Corpus, read_corpus
from assay.interp.windows import WindowSettings, find_activity, find_windows, strongest
from tests.interp.planted_text import one_latent_a_dimension

SETTINGS = WindowSettings(explaining=6)


@pytest.fixture(scope="module")
def found(planted_text):
    rules, corpus, dictionary = planted_text
    return corpus, dictionary, find_windows(dictionary, corpus, SETTINGS, latents=range(len(rules)))


def test_train_and_test_share_no_document(found):
    _, _, windows = found
    train = {window.document for each in windows.latents for window in each.train}
    test = {window.document for each in windows.latents for window in each.test}
    assert train
    assert test
    assert not train & test


def test_windows_hold_the_text_and_the_values_of_their_tokens(found):
    corpus, _, windows = found
    texts: dict[int, list[str]] = {}
    for (document, _), piece in zip(corpus.origin.tolist(), corpus.pieces, strict=True):
        texts.setdefault(document, []).append(piece)
    first_row = {document: row for row, (document, at) in enumerate(corpus.origin.tolist()) if at == 0}
    for each in windows.latents:
        for window in (*each.train, *each.test):
            end = window.start + len(window.pieces)
            assert list(window.pieces) == texts[window.document][window.start : end]
            rows = slice(first_row[window.document] + window.start, first_row[window.document] + end)
            assert list(window.values) == pytest.approx(corpus.activations[rows, each.latent].tolist())


def test_the_strongest_quantiles_have_the_largest_peaks_and_all_silent_windows(found):
    _, _, windows = found
    for each in windows.latents:
        kept = strongest(each.test, 2)
        silent, active = (
            [window for window in each.test if (window.kind == "active") == fires] for fires in (False, True)
        )
        assert [window for window in kept if window.kind != "active"] == silent
        above = [window for window in kept if window.kind == "active"]
        assert {window.quantile for window in above} == {8, 9}
        assert min(max(window.values) for window in above) >= max(
            max(window.values) for window in active if window.quantile < 8
        )
        assert strongest(each.test, 10) == each.test


def test_a_latent_fires_in_active_windows_and_nowhere_in_the_others(found):
    _, _, windows = found
    for each in windows.latents:
        for part in (each.train, each.test):
            active = [window for window in part if window.kind == "active"]
            assert len(active) == len(part) - len(active) >= SETTINGS.least
            assert len(active) <= SETTINGS.quantiles * (SETTINGS.explaining if part is each.train else SETTINGS.judging)
            assert all(max(window.values) > 0 and any(window.fires) for window in active)
            assert all(max(window.values) == 0 and not any(window.fires) for window in part if window.kind != "active")
            assert {window.kind for window in part} == {"active", "neighbour", "random"}
            assert (
                len({(window.document, window.start) for window in part if window.kind != "active"}) == len(part) // 2
            )


def test_quantiles_rise_with_the_peak(found):
    _, _, windows = found
    for each in windows.latents:
        active = [window for window in each.test if window.kind == "active"]
        by_quantile = [[max(w.values) for w in active if w.quantile == quantile] for quantile in range(10)]
        assert all(max(weak) <= min(strong) for weak, strong in pairwise(by_quantile))


def test_equal_seeds_give_equal_windows_whatever_other_latents_are_asked_for(found):
    corpus, dictionary, windows = found
    again = find_windows(dictionary, corpus, SETTINGS, latents=[3])
    assert again.latents[0] == windows.latents[3]
    assert find_windows(dictionary, corpus, SETTINGS, latents=[3], seed=1).latents[0] != windows.latents[3]


def test_hard_negatives_are_where_a_neighbour_fires(found):
    corpus, _, windows = found
    first_row = {document: row for row, (document, at) in enumerate(corpus.origin.tolist()) if at == 0}
    for window in windows.latents[0].test:
        if window.kind == "neighbour":
            row = first_row[window.document] + window.start
            assert corpus.activations[row : row + len(window.pieces)].any()


def test_neighbours_can_be_those_that_fire_together(planted_text):
    _, corpus, dictionary = planted_text
    activity = find_activity(dictionary, corpus)
    active = (corpus.activations > 0).numpy().astype(float)
    both = active.T @ active
    expected = 2 * both[5] / (both[5, 5] + np.diag(both))
    np.testing.assert_allclose(activity.firing_f1(5), expected)
    windows = find_windows(dictionary, corpus, WindowSettings(near="firing", neighbours=1), latents=[5])
    assert any(window.kind == "neighbour" for window in windows.latents[0].test)


def test_latents_without_enough_windows_are_counted():
    rows, width = 600, 4
    activations = torch.zeros(rows, width)
    activations[:, 1] = 1.0
    activations[::50, 2] = 1.0
    activations[::13, 3] = 1.0
    origin = torch.stack([torch.arange(rows) // 20, torch.arange(rows) % 20], 1)
    corpus = Corpus(activations, ("x",) * rows, origin)
    settings = WindowSettings(length=8, least=8)
    windows = find_windows(one_latent_a_dimension(width), corpus, settings, latents=range(width))
    assert windows.skipped == {"dead": 1, "few peaks": 1, "too common": 1}
    assert [each.latent for each in windows.latents] == [3]
    assert find_windows(one_latent_a_dimension(width), corpus, settings, count=1).latents == windows.latents


def test_windows_stay_in_their_stretch():
    origin = torch.tensor([[0, 5], [0, 6], [0, 7], [0, 8], [0, 9], [0, 12], [3, 0], [3, 1]])
    corpus = Corpus(torch.zeros(8, 1), tuple("abcdefgh"), origin)
    low, high = corpus.windows(4)
    assert list(zip(low.tolist(), high.tolist(), strict=True)) == [
        *[(0, 4), (0, 4), (0, 4), (1, 5), (1, 5)],
        *[(5, 6), (6, 8), (6, 8)],
    ]


def test_a_corpus_holds_what_the_model_read(bench):
    corpus = read_corpus(bench.language_model.model, bench.site, bench.held_out, 300)
    assert len(corpus) == len(corpus.activations) == len(corpus.origin) == 300
    embedding = bench.language_model.model.get_input_embeddings().weight
    for row in (0, 7, 299):
        document, position = corpus.origin[row].tolist()
        token = int(bench.held_out.document_tokens(document)[position])
        assert corpus.pieces[row].strip() == bench.held_out.token_text(token)
        assert torch.equal(corpus.activations[row], embedding[token].detach())

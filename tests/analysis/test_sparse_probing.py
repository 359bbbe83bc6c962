"""Sparse probing where the truth is known: an oracle is read off one latent, random directions are not, and nothing scores chance."""

from __future__ import annotations

import pytest
import torch

from assay.analysis.pooling import PooledCodes
from assay.analysis.sparse_probing import dense, k_sparse
from assay.testing.known import known_dictionaries, known_planted

CLASSES, ROWS = 6, 3000


@pytest.fixture(scope="module")
def planted_set():
    """Rows as texts of one token; a class for each of some planted parents."""
    planted = known_planted()
    rows, strengths = planted.sample(ROWS, 1), planted.codes(ROWS, 1)
    parents = planted.parents.unique()[1 : 1 + CLASSES]
    return planted, rows, strengths[:, parents] != 0, torch.arange(ROWS) % 3 == 0


@pytest.fixture(scope="module")
def found(planted_set):
    planted, rows, y, test = planted_set
    with torch.no_grad():
        return {
            name: k_sparse(PooledCodes.of(dictionary.encode(rows).to_dense()), y, test, (1, 2, 5, 16))
            for name, dictionary in known_dictionaries(planted).items()
        }


def test_an_oracle_is_read_off_one_latent(found):
    assert found["oracle"][1].mean >= 0.95
    assert found["oracle"][1].f1.min() >= 0.95
    assert found["oracle"][1].auc.min() >= 0.95


def test_random_directions_are_far_below(found):
    assert found["random"][1].mean <= found["oracle"][1].mean - 0.15


def test_more_latents_tell_more_where_a_feature_is_spread(found):
    for name in ("random", "identity"):
        scores = [found[name][k].mean for k in (1, 2, 5, 16)]
        assert scores == sorted(scores)
        assert scores[-1] > scores[0] + 0.05


def test_an_absorbed_parent_cannot_be_read_off_its_own_latent(found):
    assert found["absorbing"][1].mean < 0.75
    assert found["absorbing"][5].mean > 0.95, "its children's latents say it together"


@pytest.mark.parametrize("name", ["zero", "mean"])
def test_codes_that_say_nothing_score_chance(found, name):
    assert all(found[name][k].mean == 0.5 for k in (1, 16))


def test_a_probe_on_everything_reads_what_is_there(planted_set):
    _, rows, y, test = planted_set
    assert dense(rows, y, test).mean > 0.97


def test_shuffled_labels_score_chance(planted_set):
    planted, rows, y, test = planted_set
    shuffled = y[torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))]
    oracle = known_dictionaries(planted)["oracle"]
    codes = PooledCodes.of(oracle.encode(rows).to_dense().detach())
    assert abs(k_sparse(codes, shuffled, test, (5,))[5].mean - 0.5) < 0.03


def test_the_report_names_classes(found):
    names = list("abcdef")
    said = found["oracle"][1].by_class(names)
    assert list(said) == names
    assert set(said["a"]) == {"accuracy", "f1", "auc"}

"""How alike directions are: by hand, against the whole table of cosines, and where there is no encoder."""

from __future__ import annotations

import math

import pytest
import torch

from assay.dictionaries.pca import PCA
from assay.dictionaries.relu import ReLU
from assay.dictionary import Dictionary
from assay.metric import Metric
from assay.metrics import atom_similarity


def value(name: str, dictionary: Dictionary) -> float:
    metric = Metric.registry.named(name)()
    metric.update(dictionary)
    return metric.value()


def dictionary(width: int = 50) -> ReLU:
    made = ReLU(ReLU.Config(d_in=6, width=width))
    with torch.no_grad():
        made.encoder.copy_(3 * torch.randn(width, 6, generator=torch.Generator().manual_seed(5)) + 1)
    return made


def test_three_directions_by_hand() -> None:
    made = ReLU(ReLU.Config(d_in=2, width=3))
    with torch.no_grad():
        made.atoms.copy_(torch.tensor([[1.0, 0.0], [0.6, 0.8], [-1.0, 0.0]]))
        made.encoder.copy_(torch.tensor([[2.0, 0.0], [6.0, 8.0], [3.0, 0.0]]))
    assert value("decoder_similarity", made) == pytest.approx((0.6 + 0.6 - 0.6) / 3, abs=1e-6)
    assert value("encoder_similarity", made) == pytest.approx((1 + 0.6 + 1) / 3, abs=1e-6)
    assert value("encoder_decoder_cosine", made) == pytest.approx((1 + 1 - 1) / 3, abs=1e-6)


def test_it_is_the_largest_entry_of_each_row_of_the_table(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(atom_similarity, "AT_ONCE", 7)
    made = dictionary()
    for name, directions in {"decoder_similarity": made.atoms, "encoder_similarity": made.encoder}.items():
        units = torch.nn.functional.normalize(directions.detach(), dim=1)
        cosines = (units @ units.T).fill_diagonal_(-2)
        assert value(name, made) == pytest.approx(float(cosines.amax(1).mean()), abs=1e-6)


def test_of_a_wide_dictionary_some_are_compared_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    made = dictionary(400)
    whole = value("decoder_similarity", made)
    monkeypatch.setattr(atom_similarity, "MOST", 200)
    assert value("decoder_similarity", made) == pytest.approx(whole, abs=0.02)


def test_without_encoder_rows_or_a_second_atom_there_is_no_value() -> None:
    assert math.isnan(value("encoder_similarity", PCA(PCA.Config(d_in=6, width=6))))
    assert math.isnan(value("encoder_decoder_cosine", PCA(PCA.Config(d_in=6, width=6))))
    assert math.isnan(value("decoder_similarity", ReLU(ReLU.Config(d_in=6, width=1))))

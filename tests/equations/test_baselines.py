"""Baselines that only start from a sample: the codes of each by its textbook formula, and what keeping all of them gives back."""

from __future__ import annotations

import pytest
import torch

from assay.dictionary import Dictionary
from assay.errors import ConfigError


def started(name, **settings):
    """A float64 baseline on 500 rows of 10 correlated numbers, and the scaled rows."""
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(10, 10, generator=generator, dtype=torch.float64)
    sparse = torch.rand(500, 10, generator=generator) < 0.3
    rows = (torch.randn(500, 10, generator=generator, dtype=torch.float64) * sparse) @ mixing + 3
    dictionary = Dictionary.registry.named(name).Config(d_in=10, **settings).build().double()
    dictionary.start(rows)
    return dictionary, dictionary.scaled(rows)


def largest(table, k):
    kept = torch.zeros_like(table, dtype=torch.bool)
    for row, latents in enumerate(table.abs().argsort(dim=1, descending=True)[:, :k]):
        kept[row, latents] = True
    return table * kept


@pytest.mark.parametrize("k", [1, 3, 10])
def test_identity_keeps_the_largest_coordinates(layout, k):
    identity, x = started("identity", k=k)
    torch.testing.assert_close(identity.encode_scaled(x).to_dense(), largest(x, k))
    torch.testing.assert_close(identity.decode_scaled(identity.encode_scaled(x)), largest(x, k))


@pytest.mark.parametrize("width", [4, 10])
def test_pca_is_the_best_subspace(layout, width):
    pca, x = started("pca", width=width)
    _, _, right = torch.linalg.svd(x, full_matrices=False)
    expected = x @ right[:width].T @ right[:width]
    torch.testing.assert_close(pca.decode_scaled(pca.encode_scaled(x)), expected, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(pca.atoms @ pca.atoms.T, torch.eye(width, dtype=torch.float64), rtol=0, atol=1e-6)


def test_pca_keeps_the_largest_components(layout):
    pca, x = started("pca", k=2)
    torch.testing.assert_close(pca.encode_scaled(x).to_dense(), largest(x @ pca.atoms.T, 2))


def test_ica_gives_all_back_and_keeps_the_largest_sources(layout):
    ica, x = started("ica")
    torch.testing.assert_close(ica.decode_scaled(ica.encode_scaled(x)), x, rtol=1e-5, atol=1e-6)
    few, _ = started("ica", k=3)
    torch.testing.assert_close(few.encode_scaled(x).to_dense(), largest(x @ few.encoder.T, 3))


def test_ica_sources_are_uncorrelated(layout):
    ica, x = started("ica")
    sources = x @ ica.encoder.T
    covariance = sources.T @ sources / len(x)
    scale = covariance.diagonal().sqrt()
    torch.testing.assert_close(covariance / scale / scale[:, None], torch.eye(10).double(), rtol=0, atol=1e-5)


def test_nmf_is_the_difference_of_two_parts(layout):
    nmf, x = started("nmf", width=16, rounds=300, code_rounds=300)
    positive, negative = nmf.parts.chunk(2, dim=1)
    assert bool((nmf.parts >= 0).all())
    torch.testing.assert_close(positive - negative, nmf.atoms)
    codes = nmf.encode_scaled(x).to_dense()
    assert bool((codes >= 0).all())
    split = torch.cat([x.clamp_min(0), (-x).clamp_min(0)], 1)
    # Karush-Kuhn-Tucker: where a code is positive the error has no slope, elsewhere it doesn't fall.
    slope = (codes @ nmf.parts - split) @ nmf.parts.T
    assert float((slope * codes).abs().max()) < 0.02
    assert float(slope.min()) > -0.05


def test_random_atoms_are_their_own_encoder(layout):
    random, x = started("random", width=24, k=4)
    products = x @ random.atoms.T
    kept = torch.zeros_like(products)
    for row, latents in enumerate(products.argsort(dim=1, descending=True)[:, :4]):
        kept[row, latents] = products[row, latents].relu()
    torch.testing.assert_close(random.encode_scaled(x).to_dense(), kept)


@pytest.mark.parametrize(("name", "width"), [("identity", 9), ("pca", 11), ("ica", 11)])
def test_more_directions_than_the_space_has_are_refused(name, width):
    with pytest.raises((ConfigError, ValueError), match="d_in = 10"):
        Dictionary.registry.named(name).Config(d_in=10, width=width)


@pytest.mark.parametrize("name", ["identity", "pca", "ica", "nmf", "random"])
def test_baselines_learn_nothing(name):
    dictionary, _ = started(name, **({"width": 16} if name in ("nmf", "random") else {}))
    assert not dictionary.learns()

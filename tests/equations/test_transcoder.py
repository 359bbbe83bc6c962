"""Transcoder (arXiv:2406.11944) and skip transcoder (arXiv:2501.18823): another tensor is reconstructed, with and without a linear path."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay.dictionary import Dictionary, Step
from assay.testing import CHECKS, builder

K, E = 5, 7
NAMES = ["transcoder", "skip_transcoder"]


@pytest.fixture
def pair() -> Step:
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(32, 10, generator=generator, dtype=torch.float64)
    return Step(x, torch.randn(32, E, generator=generator, dtype=torch.float64))


def keep_largest(table, k):
    kept = torch.zeros_like(table)
    for row, latents in enumerate(table.detach().argsort(dim=1, descending=True)[:, :k]):
        kept[row, latents] = 1
    return table * kept


@pytest.mark.parametrize("name", NAMES)
def test_terms_and_gradients_are_the_papers(build, pair, agree, name):
    transcoder = build(name, k=K, k_aux=3, target_width=E)
    dead = torch.arange(24) % 3 == 0
    z = pair.x @ transcoder.encoder.T + transcoder.encoder_bias
    estimate = torch.relu(keep_largest(z, K)) @ transcoder.atoms + transcoder.decoder_bias
    if name == "skip_transcoder":
        estimate = estimate + pair.x @ transcoder.skip.T
    error = (pair.target - estimate).detach()
    among_dead = torch.zeros_like(z)
    among_dead[:, dead] = torch.relu(keep_largest(z[:, dead], 3))
    unexplained = (error - among_dead @ transcoder.atoms).pow(2).sum(1).mean()
    agree(
        transcoder,
        replace(pair, dead=dead),
        {
            "reconstruction": (pair.target - estimate).pow(2).sum(1).mean(),
            "auxk": unexplained / (error - error.mean(0)).pow(2).sum(1).mean(),
        },
    )


@pytest.mark.parametrize("name", NAMES)
def test_raw_rows_go_from_one_scale_to_the_other(build, name):
    transcoder = build(name, k=K, target_width=E)
    rows = 3 * torch.randn(200, 10 + E, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 2
    rows[:, 10:] *= 50
    transcoder.start(rows)
    x, y = rows[:, :10], rows[:, 10:]
    scaled = (x - x.mean(0)) / (x - x.mean(0)).square().sum(1).mean().sqrt()
    codes = torch.relu(keep_largest(scaled @ transcoder.encoder.T + transcoder.encoder_bias, K))
    made = codes @ transcoder.atoms + transcoder.decoder_bias
    if name == "skip_transcoder":
        made = made + scaled @ transcoder.skip.T
    expected = made * (y - y.mean(0)).square().sum(1).mean().sqrt() + y.mean(0)
    torch.testing.assert_close(transcoder(x), expected)


def test_linear_path_starts_at_zero_and_is_only_there_between_two_tensors():
    variant = Dictionary.registry.named("skip_transcoder")
    mapping = variant.Config(d_in=4, width=8, target_width=6).build()
    assert not mapping.skip.any()
    assert mapping.skip.shape == (6, 4)
    assert variant.Config(d_in=4, width=8).build().skip is None


def test_linear_path_is_no_row_a_latent_even_where_it_is_as_long():
    skip = Dictionary.registry.named("skip_transcoder").Config(d_in=4, width=8, target_width=8).build()
    assert "skip" not in skip.per_latent_parameters()
    before = skip.skip.detach().clone().fill_(1.0)
    skip.skip.data.fill_(1.0)
    skip.reset_latents(torch.tensor([2]), torch.ones(1, 8), 0.2, torch.ones(1, 4))
    assert torch.equal(skip.skip, before)


@pytest.mark.parametrize("name", NAMES)
def test_settings_follow_from_the_sites(name):
    config = Dictionary.registry.named(name).Config
    assert config.for_parts((4,)) == {"d_in": 4, "target_width": None}
    assert config.for_parts((4, 6)) == {"d_in": 4, "target_width": 6}
    assert config(d_in=4, width=8, target_width=6).resized(d_in=8, width=3).target_width == 12


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
@pytest.mark.parametrize("name", NAMES)
def test_every_rule_holds_between_two_tensors(name, check):
    if (name, check.__name__) == ("skip_transcoder", "check_recovers_planted"):
        pytest.skip("its target is its input there, which the linear path alone reconstructs")
    check(builder(Dictionary.registry.named(name), target_width=24))

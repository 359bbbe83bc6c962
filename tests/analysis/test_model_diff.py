"""Latent scaling, by least squares written out for one latent, and on crosscoders whose latents are what they are by construction."""

from __future__ import annotations

import pytest
import torch

from assay.analysis.model_diff import latent_scaling
from assay.dictionary import Dictionary
from assay.errors import ConfigError


def crosscoder(atoms: torch.Tensor) -> Dictionary:
    """One that knows the codes: each latent reads the first part along its own axis."""
    config = Dictionary.registry.named("crosscoder").Config(d_in=2 * atoms.shape[-1], width=len(atoms), sites=2)
    made = config.build().double()
    with torch.no_grad():
        made.atoms.copy_(atoms.flatten(1))
        made.get_parameter("encoder").zero_()
        made.get_parameter("encoder")[:, : atoms.shape[-1]] = torch.eye(atoms.shape[-1])[: len(atoms)]
    return made


def planted(rows: int = 4000) -> torch.Tensor:
    """Four independent causes on axes: two are in both parts, one in the first alone, one in the second at half strength."""
    generator = torch.Generator().manual_seed(0)
    f = torch.rand(rows, 4, generator=generator, dtype=torch.float64) + 0.5
    f = f * (torch.rand(rows, 4, generator=generator) < 0.3)
    return torch.cat([f, f * torch.tensor([1.0, 1.0, 0.0, 0.5])], 1)


def axes(second: list[float]) -> torch.Tensor:
    return torch.stack([torch.eye(4), torch.diag(torch.tensor(second))], 1).double()


def test_ratios_are_those_of_least_squares_for_each_latent():
    generator = torch.Generator().manual_seed(1)
    config = Dictionary.registry.named("crosscoder").Config(d_in=10, width=6, sites=2)
    made, rows = config.build().double(), torch.randn(200, 10, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        made.decoder_bias.copy_(torch.randn(10, generator=generator))
    found = latent_scaling(made, rows.split(64))
    f = torch.relu(rows @ made.get_parameter("encoder").T).detach()
    atoms, bias = made.atoms.detach(), made.decoder_bias.detach()
    for latent in range(6):
        parts = atoms[latent].view(2, 5)
        own = int(parts.norm(dim=1).argmax())
        regressor = (f[:, latent, None] * parts[own]).flatten()
        without = f @ atoms - f[:, latent, None] * atoms[latent]
        for values, target in ((found.error, rows - bias - without), (found.reconstruction, f @ atoms)):
            beta = [
                float(torch.linalg.lstsq(regressor[:, None], y.flatten()[:, None]).solution) for y in target.split(5, 1)
            ]
            assert float(values[latent]) == pytest.approx(beta[1 - own] / beta[own], rel=1e-6)


def test_what_is_exclusive_passes_and_what_was_shrunk_away_does_not():
    """The second part of latents 1 and 2 is zero: rightly for 2, wrongly for 1, whose concept is then in the error."""
    found = latent_scaling(crosscoder(axes([1.0, 0.0, 0.0, 0.5])), [planted()])
    assert found.exclusive().tolist() == [False, True, True, False]
    assert found.false_exclusive().tolist() == [False, True, False, False]
    assert found.error[1] == pytest.approx(1.0, abs=0.05)
    assert abs(float(found.error[2])) < 0.05
    assert found.shares[0].tolist() == pytest.approx([0.5, 0.5])
    assert found.shares[3].tolist() == pytest.approx([2 / 3, 1 / 3])
    assert found.own().tolist() == [0, 0, 0, 0]


def test_what_was_given_two_latents_is_found_in_the_reconstruction():
    """Cause 1 has a latent for each part: neither part's error holds it, but the other part's reconstruction does."""
    atoms = torch.cat([axes([1.0, 0.0, 0.0, 0.5]), axes([0.0, 1.0, 0.0, 0.0])[1:2]])
    atoms[4, 0] = 0
    made = crosscoder(atoms[:4])
    config = made.config.revised({"width": 5})
    both = config.build().double()
    with torch.no_grad():
        both.atoms.copy_(atoms.flatten(1))
        encoder = made.get_parameter("encoder").detach()
        both.get_parameter("encoder").copy_(torch.cat([encoder, encoder[1:2]]))
    found = latent_scaling(both, [planted()])
    assert found.exclusive().tolist() == [False, True, True, False, True]
    assert found.false_exclusive().tolist() == [False, True, False, False, True]
    assert abs(float(found.error[1])) < 0.2
    assert found.reconstruction[1] == pytest.approx(1.0, abs=0.05)


def test_latents_that_never_fire_are_not_judged():
    made = crosscoder(axes([1.0, 0.0, 0.0, 0.5]))
    with torch.no_grad():
        made.get_parameter("encoder_bias")[1] = -100
    found = latent_scaling(made, [planted()])
    assert bool(found.error[1].isnan() & found.reconstruction[1].isnan())
    assert not found.false_exclusive()[1]


def test_rows_without_parts_are_refused():
    topk = Dictionary.registry.named("topk").Config(d_in=4, width=6).build()
    with pytest.raises(ConfigError, match="crosscoder"):
        latent_scaling(topk, [torch.randn(3, 4)])

"""Crosscoders (Lindsey et al. 2024; BatchTopK: arXiv:2504.02922): sums over the parts, written out part by part."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay import ops
from assay.dictionary import Dictionary

NAMES = ["crosscoder", "batch_topk_crosscoder"]


def by_part(dictionary, x, target, codes):
    """(pre-activation, squared error, norm sums) with a weight matrix and a bias for each part."""
    z, error, norms = dictionary.encoder_bias, 0, 0
    for columns in (slice(0, 5), slice(5, 10)):
        z = z + x[:, columns] @ dictionary.encoder[:, columns].T
        if codes is not None:
            made = codes @ dictionary.atoms[:, columns] + dictionary.decoder_bias[columns]
            error = error + (target[:, columns] - made).pow(2).sum(1)
        norms = norms + dictionary.atoms[:, columns].pow(2).sum(1).sqrt()
    return z, error, norms


def test_terms_and_gradients_of_the_penalty_are_the_papers(layout, build, step, agree):
    crosscoder = build("crosscoder", sites=2)
    f = torch.relu(by_part(crosscoder, step.x, step.target, None)[0])
    _, error, norms = by_part(crosscoder, step.x, step.target, f)
    agree(crosscoder, step, {"reconstruction": error.mean(), "sparsity": (f * norms).sum(1).mean()})
    assert not crosscoder.unit_atoms


def test_terms_and_gradients_of_batch_topk_are_the_papers(layout, build, step, agree):
    crosscoder = build("batch_topk_crosscoder", sites=2, k=3, k_aux=4)
    z, _, norms = by_part(crosscoder, step.x, step.target, None)
    worth = torch.relu(z) * norms
    level = worth.flatten().sort(descending=True).values[3 * 32 - 1].detach()
    f = torch.relu(z) * (worth >= level)
    _, error, _ = by_part(crosscoder, step.x, step.target, f)
    dead = torch.arange(24) % 3 == 0
    rest = (step.target - f @ crosscoder.atoms - crosscoder.decoder_bias).detach()
    among = torch.zeros_like(z)
    for row, latents in enumerate(z.detach().masked_fill(~dead, -torch.inf).argsort(1, descending=True)[:, :4]):
        among[row, latents] = 1
    unexplained = (rest - (torch.relu(z) * among) @ crosscoder.atoms).pow(2).sum(1).mean()
    auxk = unexplained / (rest - rest.mean(0)).pow(2).sum(1).mean()
    agree(crosscoder, replace(step, dead=dead), {"reconstruction": error.mean(), "auxk": auxk})


def test_threshold_is_the_running_mean_of_the_least_worth_and_decides_alone(layout, build, step):
    crosscoder = build("batch_topk_crosscoder", sites=2, k=3, memory=0.9)
    least = []
    for rows in step.x.split(16):
        made = crosscoder.losses(replace(step, x=rows, target=rows))
        norms = by_part(crosscoder, rows, rows, None)[2]
        worth = made.codes.to_dense() * norms
        least.append(worth[worth > 0].min().detach())
        crosscoder.after_step(made)
    expected = (0.9 * 0.1 * least[0] + 0.1 * least[1]) / (1 - 0.9**2)
    torch.testing.assert_close(crosscoder.threshold, expected)
    z, _, norms = by_part(crosscoder, step.x, step.x, None)
    torch.testing.assert_close(crosscoder.encode_scaled(step.x).to_dense(), z * (z * norms > expected))


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_scaled_apart(name):
    crosscoder = Dictionary.registry.named(name).Config(d_in=10, width=12, sites=2).build()
    rows = torch.randn(300, 10, generator=torch.Generator().manual_seed(1)) + 2
    rows[:, 5:] *= 40
    crosscoder.start(rows)
    x = crosscoder.scaled(rows)
    for part in x.split(5, dim=1):
        torch.testing.assert_close(part.square().sum(1).mean(), torch.tensor(1.0))


@pytest.mark.parametrize("name", NAMES)
def test_settings_follow_from_the_sites(name):
    config = Dictionary.registry.named(name).Config
    assert config.for_parts((4, 4, 4)) == {"d_in": 12, "sites": 3}
    assert config(d_in=12, width=5, sites=3).resized(d_in=8, width=5).sites == 1
    with pytest.raises(ValueError, match="equal width"):
        config(d_in=10, width=5, sites=3)


def test_norms_of_parts_have_a_gradient_where_a_part_is_zero():
    atoms = torch.tensor([[3.0, 4.0, 0.0, 0.0]], requires_grad=True)
    norms = ops.part_norms(atoms, 2)
    assert norms.tolist() == [[5.0, 0.0]]
    norms.sum().backward()
    assert atoms.grad is not None
    assert atoms.grad.tolist() == [[pytest.approx(0.6), pytest.approx(0.8), 0.0, 0.0]]

"""Multi-TopK (arXiv:2406.04093): L(k) + L(4k)/8, and AuxK on what the k leave over."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay.dictionary import Dictionary

K = 3


def keep_largest(table, k):
    """Each row with all but its k largest entries set to zero, by sorting."""
    kept = torch.zeros_like(table)
    for row, latents in enumerate(table.detach().argsort(dim=1, descending=True)[:, :k]):
        kept[row, latents] = 1
    return table * kept


def pre_activations(multi, x):
    return (x - multi.decoder_bias) @ multi.encoder.T + multi.encoder_bias


def reconstruction(multi, x, k):
    return torch.relu(keep_largest(pre_activations(multi, x), k)) @ multi.atoms + multi.decoder_bias


@pytest.mark.parametrize("multiple", [4, 9], ids=["4 k", "more than there are"])
def test_terms_and_gradients_are_the_papers(layout, build, step, agree, multiple):
    multi, dead = build("multi_topk", k=K, multiple=multiple, k_aux=4), torch.arange(24) % 3 == 0
    step = replace(step, dead=dead)
    narrow, wide = (reconstruction(multi, step.x, k) for k in (K, multiple * K))
    error = (step.target - narrow).detach()
    by_dead = torch.relu(keep_largest(pre_activations(multi, step.x)[:, dead], 4)) @ multi.atoms[dead]
    agree(
        multi,
        step,
        {
            "reconstruction": (step.target - narrow).pow(2).sum(1).mean(),
            "wider": (step.target - wide).pow(2).sum(1).mean(),
            "auxk": (error - by_dead).pow(2).sum(1).mean() / (error - error.mean(0)).pow(2).sum(1).mean(),
        },
    )


def test_the_loss_weighs_the_wider_reconstruction_an_eighth():
    weights = Dictionary.registry.named("multi_topk").Config().weights()
    assert (weights["reconstruction"].value, weights["wider"].value, weights["auxk"].value) == (1.0, 1 / 8, 1 / 32)


def test_codes_at_any_k_are_nested(layout, build, step):
    multi = build("multi_topk", k=K)
    before = torch.zeros(32, 24, dtype=torch.bool)
    for k in (1, K, 7, 24):
        codes = multi.codes_at(step.x, k).to_dense()
        torch.testing.assert_close(codes, torch.relu(keep_largest(pre_activations(multi, step.x), k)))
        assert bool(((codes != 0) | ~before).all())
        before = codes != 0

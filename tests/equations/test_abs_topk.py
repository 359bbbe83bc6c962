"""AbsTopK (arXiv:2510.00404): the k pre-activations of largest magnitude keep their signs; the dead ones that AuxK teaches do too."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

K = 4


def largest_magnitudes(table, k):
    """Each row with all but its k entries of largest magnitude set to zero, by sorting."""
    kept = torch.zeros_like(table)
    for row, latents in enumerate(table.detach().abs().argsort(dim=1, descending=True)[:, :k]):
        kept[row, latents] = 1
    return table * kept


def pre_activations(signed, x):
    return (x - signed.decoder_bias) @ signed.encoder.T + signed.encoder_bias


@pytest.mark.parametrize("k_aux", [3, 256], ids=["fewer than the dead", "all of the dead"])
def test_terms_and_gradients_are_the_papers(layout, build, step, agree, k_aux):
    signed, dead = build("abs_topk", k=K, k_aux=k_aux), torch.arange(24) % 3 == 0
    step = replace(step, dead=dead)
    z = pre_activations(signed, step.x)
    codes = largest_magnitudes(z, K)
    xhat = codes @ signed.atoms + signed.decoder_bias
    error = (step.target - xhat).detach()
    unexplained = (error - largest_magnitudes(z[:, dead], k_aux) @ signed.atoms[dead]).pow(2).sum(1).mean()
    agree(
        signed,
        step,
        {
            "reconstruction": (step.target - xhat).pow(2).sum(1).mean(),
            "auxk": unexplained / (error - error.mean(0)).pow(2).sum(1).mean(),
        },
    )
    assert (codes < 0).any()
    assert (codes > 0).any()
    torch.testing.assert_close(signed.encode_scaled(step.x).to_dense(), codes)


def test_without_encoder_biases_it_is_odd_about_the_decoder_bias(layout, build, step):
    signed = build("abs_topk", k=K)
    with torch.no_grad():
        signed.encoder_bias.zero_()
    there = signed.encode_scaled(signed.decoder_bias + step.x).to_dense()
    back = signed.encode_scaled(signed.decoder_bias - step.x).to_dense()
    torch.testing.assert_close(there, -back)


def test_each_row_keeps_k(layout, build, step):
    assert build("abs_topk", k=K).encode_scaled(step.x).l0().unique().tolist() == [K]

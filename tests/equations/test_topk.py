"""TopK SAE (arXiv:2406.04093): the k largest pre-activations, and the auxiliary loss that brings dead latents back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

K = 5


def keep_largest(table, k):
    """Each row with all but its k largest entries set to zero, by sorting."""
    kept = torch.zeros_like(table)
    for row, latents in enumerate(table.detach().argsort(dim=1, descending=True)[:, :k]):
        kept[row, latents] = 1
    return table * kept


def pre_activations(topk, x):
    return (x - topk.decoder_bias) @ topk.encoder.T + topk.encoder_bias


@pytest.fixture
def dead():
    return torch.arange(24) % 3 == 0


@pytest.mark.parametrize("k_aux", [3, 256], ids=["fewer than the dead", "all of the dead"])
def test_terms_and_gradients_are_the_papers(build, step, agree, dead, k_aux):
    topk = build("topk", k=K, k_aux=k_aux)
    step = replace(step, dead=dead)
    z = pre_activations(topk, step.x)
    xhat = torch.relu(keep_largest(z, K)) @ topk.atoms + topk.decoder_bias
    error = (step.target - xhat).detach()
    among_dead = torch.zeros_like(z)
    among_dead[:, dead] = torch.relu(keep_largest(z[:, dead], k_aux))
    unexplained = (error - among_dead @ topk.atoms).pow(2).sum(1).mean()
    agree(
        topk,
        step,
        {
            "reconstruction": (step.target - xhat).pow(2).sum(1).mean(),
            "auxk": unexplained / (error - error.mean(0)).pow(2).sum(1).mean(),
        },
    )


def test_each_row_keeps_the_largest_k(build, step):
    topk = build("topk", k=K)
    expected = torch.relu(keep_largest(pre_activations(topk, step.x), K))
    torch.testing.assert_close(topk.encode_scaled(step.x).to_dense(), expected)
    assert float((expected > 0).sum(1).max()) == K


def test_auxk_teaches_the_dead_and_nobody_else(build, step, gradients, dead):
    topk = build("topk", k=K)
    found = gradients(topk.losses(replace(step, dead=dead)).terms["auxk"], topk)
    for name in ("encoder", "atoms"):
        taught = found[name].flatten(1).any(1)
        assert torch.equal(taught, dead), name
    assert torch.equal(found["encoder_bias"] != 0, dead)


@pytest.mark.parametrize("nobody", [None, torch.zeros(24, dtype=torch.bool)], ids=["nobody counts", "none is dead"])
def test_auxk_is_zero_while_none_is_dead(build, step, nobody):
    term = build("topk", k=K).losses(replace(step, dead=nobody)).terms["auxk"]
    assert term.item() == 0.0


def test_auxk_is_zero_where_the_error_doesnt_vary(build, step, dead, gradients):
    topk = build("topk", k=K)
    one = replace(step, x=step.x[:1], target=step.target[:1], dead=dead)
    term = topk.losses(one).terms["auxk"]
    assert term.item() == 0.0
    assert all(bool(torch.isfinite(gradient).all()) for gradient in gradients(term, topk).values())


def test_k_above_the_width_keeps_all(build, step):
    topk = build("topk", k=99)
    torch.testing.assert_close(topk.encode_scaled(step.x).to_dense(), torch.relu(pre_activations(topk, step.x)))

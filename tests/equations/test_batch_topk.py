"""BatchTopK SAE (arXiv:2412.06410): the k B largest of a batch in training, AuxK, and the threshold that takes their place at inference."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from assay.dictionary import Step

K, ROWS = 5, 32


def pre_activations(batch_topk, x):
    return (x - batch_topk.decoder_bias) @ batch_topk.encoder.T + batch_topk.encoder_bias


def batch_top_k(z, k):
    """BatchTopK(Z): all but the k n largest entries of the table of n rows set to zero, by sorting them all."""
    smallest_kept = z.detach().flatten().sort(descending=True).values[k * len(z) - 1]
    return z * (z.detach() >= smallest_kept)


def row_top_k(z, k):
    if k >= z.shape[1]:
        return z
    return z * (z.detach() >= z.detach().sort(1, descending=True).values[:, k - 1 : k])


@pytest.fixture
def dead():
    return torch.arange(24) % 3 == 0


def papers_terms(batch_topk, step, k, k_aux):
    """Codes, reconstruction and terms."""
    z = pre_activations(batch_topk, step.x)
    codes = torch.relu(batch_top_k(z, k))
    xhat = codes @ batch_topk.atoms + batch_topk.decoder_bias
    error = (step.target - xhat).detach()
    by_dead = torch.relu(row_top_k(z[:, step.dead], k_aux)) @ batch_topk.atoms[step.dead]
    unexplained = (error - by_dead).pow(2).sum(1).mean() / (error - error.mean(0)).pow(2).sum(1).mean()
    return codes, xhat, {"reconstruction": (step.target - xhat).pow(2).sum(1).mean(), "auxk": unexplained}


@pytest.mark.parametrize("k_aux", [3, 256], ids=["fewer than the dead", "all of the dead"])
@pytest.mark.parametrize("k", [K, 20], ids=["k of the positive", "all of the positive"])
def test_terms_and_gradients_are_the_papers(layout, build, step, agree, dead, k, k_aux):
    batch_topk, step = build("batch_topk", k=k, k_aux=k_aux), replace(step, dead=dead)
    assert ((pre_activations(batch_topk, step.x) > 0).sum() < k * ROWS) == (k == 20)
    codes, xhat, terms = papers_terms(batch_topk, step, k, k_aux)
    agree(batch_topk, step, terms)
    made = batch_topk.losses(step)
    torch.testing.assert_close(made.codes.to_dense(), codes)
    torch.testing.assert_close(made.reconstruction, xhat)


def test_rows_share_k_times_as_many_latents_as_there_are_rows(layout, build, step):
    codes = build("batch_topk", k=K).losses(step).codes
    assert codes.l0().sum() == K * ROWS
    assert codes.l0().unique().numel() > 1, "some rows get more than others"


def test_inference_keeps_each_latent_above_the_threshold(layout, build, step):
    batch_topk = build("batch_topk", k=K)
    for theta in (0.0, 0.7, 3.0):
        batch_topk.threshold.fill_(theta)
        z = pre_activations(batch_topk, step.x)
        expected = torch.where(z > theta, z, 0)
        assert expected.any()
        torch.testing.assert_close(batch_topk.encode_scaled(step.x).to_dense(), expected)


def test_the_threshold_estimates_the_mean_of_the_smallest_kept_value(layout, build):
    batch_topk = build("batch_topk", k=K, memory=0.8)
    smallest = []
    for key in range(6):
        x = torch.randn(ROWS, 10, generator=torch.Generator().manual_seed(key), dtype=torch.float64)
        kept = batch_top_k(pre_activations(batch_topk, (key + 1) * x), K).detach()
        smallest.append(float(kept[kept > 0].min()))
        batch_topk.after_step(batch_topk.losses(Step((key + 1) * x, x)))
        weights = 0.8 ** torch.arange(key, -1, -1).double()
        expected = (weights * torch.tensor(smallest, dtype=torch.float64)).sum() / weights.sum()
        torch.testing.assert_close(batch_topk.threshold, expected, rtol=1e-10, atol=0)


def test_auxk_teaches_the_dead_and_nobody_else(layout, build, step, gradients, dead):
    batch_topk = build("batch_topk", k=K)
    found = gradients(batch_topk.losses(replace(step, dead=dead)).terms["auxk"], batch_topk)
    for name in ("encoder", "atoms", "encoder_bias"):
        assert torch.equal(found[name].reshape(24, -1).any(1), dead), name


@pytest.mark.parametrize("nobody", [None, torch.zeros(24, dtype=torch.bool)], ids=["nobody counts", "none is dead"])
def test_auxk_is_zero_while_none_is_dead(build, step, nobody):
    assert build("batch_topk", k=K).losses(replace(step, dead=nobody)).terms["auxk"].item() == 0.0


def test_k_above_the_width_keeps_all_that_is_positive(layout, build, step):
    batch_topk = build("batch_topk", k=99)
    torch.testing.assert_close(
        batch_topk.losses(step).codes.to_dense(), torch.relu(pre_activations(batch_topk, step.x))
    )

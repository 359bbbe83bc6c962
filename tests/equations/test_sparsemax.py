"""Sparsemax SAE (arXiv:2604.14925): attention over the atoms in plain torch, in both modes, and the rule that rests frequent latents."""

from __future__ import annotations

import pytest
import torch

SCALE = 5.0


def papers_weights(z):
    """Rows of the projection on the simplex: tau from the sorted scores, p = [z - tau]_+."""
    descending = z.sort(dim=1, descending=True).values
    r = torch.arange(1, z.shape[1] + 1, dtype=z.dtype)
    k = (1 + r * descending > descending.cumsum(1)).sum(1, keepdim=True)
    tau = (descending.cumsum(1).gather(1, k - 1) - 1) / k
    return torch.clamp(z - tau, min=0)


def papers_codes(sparsemax, x, mode, allowed=None):
    centred = x - sparsemax.decoder_bias
    length = centred.pow(2).sum(1, keepdim=True).sqrt()
    query = centred @ sparsemax.projection.T if sparsemax.config.query else centred
    cosine = query / query.pow(2).sum(1, keepdim=True).sqrt() @ sparsemax.atoms.T
    p = papers_weights(SCALE * cosine if allowed is None else (SCALE * cosine).masked_fill(~allowed, -1e9))
    weight = p if mode == "simplex" else torch.relu(cosine) * (p > 0)
    return length * sparsemax.log_length.exp() * weight


@pytest.fixture(params=["simplex", "mask"])
def mode(request):
    return request.param


def made(build, **settings):
    sparsemax = build("sparsemax", scale=SCALE, **settings)
    sparsemax.normalize_atoms()
    return sparsemax


@pytest.mark.parametrize("query", [False, True])
def test_terms_and_gradients_are_the_papers(layout, build, step, agree, mode, query):
    sparsemax = made(build, mode=mode, query=query)
    f = papers_codes(sparsemax, step.x, mode)
    error = step.target - f @ sparsemax.atoms - sparsemax.decoder_bias
    agree(sparsemax, step, {"reconstruction": error.pow(2).sum(1).mean()})
    torch.testing.assert_close(sparsemax.losses(step).codes.to_dense(), f)
    assert len(set((f > 0).sum(1).tolist())) > 2, "rows take different numbers of latents"


def test_weights_sum_to_the_length_of_the_input(layout, build, step):
    sparsemax = made(build, mode="simplex")
    with torch.no_grad():
        sparsemax.log_length.zero_()
    total = sparsemax.encode_scaled(step.x).to_dense().sum(1)
    torch.testing.assert_close(total, (step.x - sparsemax.decoder_bias).norm(dim=1))


def test_latents_that_fire_too_often_rest(layout, build, step, mode):
    sparsemax = made(build, mode=mode, idf_max_rate=0.1)
    sparsemax.rates[::3] = 0.2
    f = papers_codes(sparsemax, step.x, mode, allowed=torch.arange(24) % 3 != 0)
    torch.testing.assert_close(sparsemax.encode_scaled(step.x).to_dense(), f)


def test_firing_rates_are_a_running_mean(build, step):
    sparsemax = made(build, memory=0.75)
    result = sparsemax.losses(step)
    fired = (result.codes.to_dense() > 0).double().mean(0)
    sparsemax.after_step(result)
    torch.testing.assert_close(sparsemax.rates, 0.25 * fired)
    sparsemax.after_step(result)
    torch.testing.assert_close(sparsemax.rates, 0.4375 * fired)

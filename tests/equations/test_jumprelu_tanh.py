"""JumpReLU with a tanh penalty (Anthropic, January 2025): the three terms in plain torch, and the threshold's estimator by hand."""

from __future__ import annotations

import pytest
import torch

from assay.dictionary import Dictionary

ROOT_D = 10**0.5
BANDWIDTH, STEEPNESS = 1.4, 4.0
"""In the units of the source, where E||x||^2 = D = 10."""


class Estimated(torch.autograd.Function):
    """z 1[z > theta], with the rectangle of the source's straight-through estimator for theta."""

    @staticmethod
    def forward(ctx, z, theta):
        ctx.save_for_backward(z, theta)
        return z * (z > theta)

    @staticmethod
    def backward(ctx, g):
        z, theta = ctx.saved_tensors
        eps = BANDWIDTH / ROOT_D
        inside = ((z - theta) / eps).abs() < 0.5
        return g * (z > theta), (-theta / eps * inside * g).sum(0)


@pytest.fixture
def tanh(build):
    tanh = build("jumprelu_tanh", bandwidth=BANDWIDTH, steepness=STEEPNESS)
    with torch.no_grad():
        tanh.log_threshold.sub_(0.7)
        tanh.atoms.mul_(0.7)
    return tanh


def test_terms_and_gradients_are_the_sources(layout, tanh, step, agree):
    z = (step.x - tanh.decoder_bias) @ tanh.encoder.T + tanh.encoder_bias
    theta = tanh.log_threshold.exp()
    f = Estimated.apply(z, theta)
    norms = tanh.atoms.pow(2).sum(1).sqrt()
    agree(
        tanh,
        step,
        {
            "reconstruction": (step.target - f @ tanh.atoms - tanh.decoder_bias).pow(2).sum(1).mean(),
            "sparsity": torch.tanh(STEEPNESS * ROOT_D * f * norms).sum(1).mean(),
            "pre_activation": (torch.clamp(theta - z, min=0) * norms).sum(1).mean(),
        },
    )
    torch.testing.assert_close(tanh.losses(step).codes.to_dense(), f)
    assert bool(((z < theta) & (theta - z < BANDWIDTH / ROOT_D / 2)).any()), "entries in the band that don't fire occur"
    assert 0.2 < float((f > 0).double().mean()) < 0.8


def test_codes_of_inference_are_those_of_training(layout, tanh, step):
    torch.testing.assert_close(tanh.encode_scaled(step.x).to_dense(), tanh.losses(step).codes.to_dense())


def test_settings_are_in_the_sources_units():
    fresh = Dictionary.registry.named("jumprelu_tanh").Config(d_in=10, width=24).build()
    torch.testing.assert_close(fresh.log_threshold.exp(), torch.full((24,), 0.7 / ROOT_D))
    assert not fresh.unit_atoms


def test_a_silent_latent_is_pulled_toward_its_threshold(layout, tanh, step, gradients):
    with torch.no_grad():
        tanh.encoder_bias[3] = -50.0
    found = gradients(tanh.losses(step).terms["pre_activation"], tanh)
    torch.testing.assert_close(found["encoder_bias"][3], -tanh.atoms[3].norm())

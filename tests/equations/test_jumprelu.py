"""JumpReLU SAE (arXiv:2407.14435): f = z 1[z > theta], a penalty on L0, and the two straight-through estimators, by hand."""

from __future__ import annotations

import pytest
import torch

from assay.dictionary import Dictionary

ROOT_D = 10**0.5
BANDWIDTH = 0.4
"""Where E||x||^2 = 1; the setting is in the units of E||x||^2 = D = 10."""


@pytest.fixture
def jump(build):
    jump = build("jumprelu", bandwidth=BANDWIDTH * ROOT_D)
    with torch.no_grad():
        jump.log_threshold.sub_(0.7)
    return jump


@pytest.fixture
def forward(jump, step):
    """(x - b_dec, z, theta, rectangle kernel K((z - theta) / eps), codes, error), without autograd."""
    with torch.no_grad():
        centred = step.x - jump.decoder_bias
        z = centred @ jump.encoder.T + jump.encoder_bias
        theta = jump.log_threshold.exp()
        kernel = ((z - theta) / BANDWIDTH).abs().lt(0.5).double()
        f = z * (z > theta)
        return centred, z, theta, kernel, f, f @ jump.atoms + jump.decoder_bias - step.target


def close(got, expected):
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)


def test_terms_are_the_papers(layout, jump, step, forward):
    _, z, theta, kernel, f, error = forward
    made = jump.losses(step)
    close(made.codes.to_dense(), f)
    close(made.terms["reconstruction"], error.pow(2).sum(1).mean())
    close(made.terms["sparsity"], (z > theta).double().sum(1).mean())
    below = bool((kernel * (z < theta)).any())
    assert below, "entries under the threshold but in the band must occur: they teach it too"


def test_gradients_of_the_reconstruction_are_the_papers(layout, jump, step, forward, gradients):
    centred, z, theta, kernel, f, error = forward
    with torch.no_grad():
        to_output = 2 / 32 * error
        to_code = to_output @ jump.atoms.T
        to_z = to_code * (z > theta)
        to_theta = (to_code * -(theta / BANDWIDTH) * kernel).sum(0)
    found = gradients(jump.losses(step).terms["reconstruction"], jump)
    close(found["atoms"], f.T @ to_output)
    close(found["encoder"], to_z.T @ centred)
    close(found["encoder_bias"], to_z.sum(0))
    close(found["decoder_bias"], to_output.sum(0) - (to_z @ jump.encoder.detach()).sum(0))
    close(found["log_threshold"], to_theta * theta)
    assert to_theta.any()


def test_gradient_of_the_penalty_reaches_the_thresholds_alone(layout, jump, step, forward, gradients):
    _, _, theta, kernel, _, _ = forward
    found = gradients(jump.losses(step).terms["sparsity"], jump)
    close(found.pop("log_threshold"), (-kernel / BANDWIDTH / 32).sum(0) * theta)
    assert kernel.any()
    assert [name for name, gradient in found.items() if gradient.any()] == []


def test_training_and_inference_agree_at_the_edge_of_the_band(layout, jump, step, forward):
    _, z, theta, _, f, _ = forward
    assert bool(((z - theta).abs() < BANDWIDTH / 2).any())
    close(jump.encode_scaled(step.x).to_dense(), f)


def test_a_target_l0_is_approached_by_a_square(layout, build, step, forward, gradients):
    _, z, theta, kernel, _, _ = forward
    jump = build("jumprelu", bandwidth=BANDWIDTH * ROOT_D, target_l0=5.0)
    with torch.no_grad():
        jump.log_threshold.sub_(0.7)
    l0 = (z > theta).double().sum(1).mean()
    term = jump.losses(step).terms["sparsity"]
    close(term, (l0 / 5 - 1).square())
    by_l0 = (-kernel / BANDWIDTH / 32).sum(0) * theta
    close(gradients(term, jump)["log_threshold"], 2 * (l0 / 5 - 1) / 5 * by_l0)


def test_thresholds_and_band_follow_the_width_of_the_activations():
    """A pre-activation of isotropic x with E||x||^2 = 1 is 1/sqrt(D) in size: settings count in that."""
    narrow, wide = (Dictionary.registry.named("jumprelu").Config(d_in=d_in, width=4).build() for d_in in (16, 64))
    torch.testing.assert_close(narrow.log_threshold.exp(), torch.full((4,), narrow.config.initial_threshold / 4))
    torch.testing.assert_close(wide.log_threshold.exp() * 2, narrow.log_threshold.exp())

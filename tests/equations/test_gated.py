"""Gated SAE (arXiv:2404.16014): the forward pass, the three terms, what is frozen in them, and the JumpReLU form."""

from __future__ import annotations

import pytest
import torch

from assay.dictionary import Dictionary


def papers_codes(gated, x):
    """(rectified gate, codes) as in the paper: pi_gate = W (x - b_dec) + b_gate; f = 1[pi_gate > 0] relu(exp(r) W (x - b_dec) + b_mag)."""
    centred = x - gated.decoder_bias
    pi_gate = centred @ gated.encoder.T + gated.gate_bias
    magnitude = centred @ (gated.log_rescale.exp()[:, None] * gated.encoder).T + gated.magnitude_bias
    return torch.relu(pi_gate), torch.heaviside(pi_gate.detach(), torch.zeros_like(pi_gate)) * torch.relu(magnitude)


def test_terms_and_gradients_are_the_papers(layout, build, step, agree):
    gated = build("gated")
    gate, f = papers_codes(gated, step.x)
    reconstruction = f @ gated.atoms + gated.decoder_bias
    by_gate = gate @ gated.atoms.detach() + gated.decoder_bias.detach()
    agree(
        gated,
        step,
        {
            "reconstruction": (step.target - reconstruction).pow(2).sum(1).mean(0),
            "sparsity": gate.abs().sum(1).mean(0),
            "gate_reconstruction": (step.target - by_gate).pow(2).sum(1).mean(0),
        },
    )
    assert not torch.equal(gate > 0, f > 0), "the case where the gate is open and the magnitude zero must occur"
    torch.testing.assert_close(gated.losses(step).codes.to_dense(), f)


@pytest.mark.parametrize("free_norms", [False, True])
def test_unfrozen_lets_the_gates_decoder_learn_and_freed_norms_weigh_the_penalty(
    layout, build, step, agree, free_norms
):
    gated = build("gated", unfrozen=True, free_norms=free_norms)
    gate, f = papers_codes(gated, step.x)
    norms = gated.atoms.pow(2).sum(1).sqrt() if free_norms else torch.ones(24, dtype=torch.float64)
    agree(
        gated,
        step,
        {
            "reconstruction": (step.target - f @ gated.atoms - gated.decoder_bias).pow(2).sum(1).mean(),
            "sparsity": (gate @ norms).mean(),
            "gate_reconstruction": (step.target - gate @ gated.atoms - gated.decoder_bias).pow(2).sum(1).mean(),
        },
    )
    assert gated.unit_atoms is not free_norms


def test_without_rescale_both_paths_have_one_scale(layout, build, step, agree):
    gated = build("gated", rescale=False)
    assert "log_rescale" not in dict(gated.named_parameters())
    u = (step.x - gated.decoder_bias) @ gated.encoder.T
    gate = torch.relu(u + gated.gate_bias)
    f = (gate.detach() > 0) * torch.relu(u + gated.magnitude_bias)
    by_gate = gate @ gated.atoms.detach() + gated.decoder_bias.detach()
    agree(
        gated,
        step,
        {
            "reconstruction": (step.target - f @ gated.atoms - gated.decoder_bias).pow(2).sum(1).mean(),
            "sparsity": gate.sum(1).mean(),
            "gate_reconstruction": (step.target - by_gate).pow(2).sum(1).mean(),
        },
    )
    raw = torch.randn(64, 10, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    torch.testing.assert_close(gated.to_jumprelu()(raw), gated(raw))


def test_gate_reconstruction_doesnt_reach_the_decoder(layout, build, step, gradients):
    gated = build("gated")
    found = gradients(gated.losses(step).terms["gate_reconstruction"], gated)
    assert not found["atoms"].any()
    assert not found["log_rescale"].any()
    assert not found["magnitude_bias"].any()
    # b_dec learns through x - b_dec alone: d/d b_dec = -sum_b W^T (1[g > 0] * 2 (xhat - y) A^T) / B.
    gate, _ = papers_codes(gated, step.x)
    error = gate @ gated.atoms + gated.decoder_bias - step.target
    through_input = -((gate > 0) * (2 / 32 * error @ gated.atoms.T) @ gated.encoder).sum(0)
    torch.testing.assert_close(found["decoder_bias"], through_input, rtol=1e-10, atol=1e-12)


def test_sparsity_reaches_the_gate_alone(layout, build, step, gradients):
    gated = build("gated")
    found = gradients(gated.losses(step).terms["sparsity"], gated)
    assert {name for name, gradient in found.items() if gradient.any()} == {"encoder", "gate_bias", "decoder_bias"}


def test_reconstruction_doesnt_reach_the_gate_bias(layout, build, step, gradients):
    gated = build("gated")
    assert not gradients(gated.losses(step).terms["reconstruction"], gated)["gate_bias"].any()


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-12)])
@pytest.mark.parametrize("shift", [0.0, -0.6, 0.6], ids=["mixed", "shut", "open"])
def test_a_gated_dictionary_is_a_jumprelu_dictionary(layout, build, dtype, tolerance, shift):
    gated = build("gated").to(dtype)
    with torch.no_grad():
        gated.gate_bias += shift
        gated.mean.fill_(0.5)
        gated.scale.fill_(2.0)
    gated.provenance = {"site": "resid_post.1"}
    jump = gated.to_jumprelu()
    raw = 2 * torch.randn(256, 10, generator=torch.Generator().manual_seed(7), dtype=dtype) + 0.5
    expected, got = gated.encode(raw).to_dense(), jump.encode(raw).to_dense()
    assert jump.atoms.dtype == got.dtype == dtype
    gate = gated.scaled(raw).sub(gated.decoder_bias) @ gated.encoder.T + gated.gate_bias
    decided = gate.abs() > 1e-6
    assert torch.equal((got > 0) & decided, (expected > 0) & decided)
    torch.testing.assert_close(got * decided, expected * decided, rtol=tolerance, atol=tolerance)
    if bool(decided.all()):
        torch.testing.assert_close(jump(raw), gated(raw), rtol=10 * tolerance, atol=10 * tolerance)
    assert isinstance(jump, Dictionary.registry.named("jumprelu"))
    assert jump.provenance == {"site": "resid_post.1", "converted_from": "gated"}
    raised = gated.magnitude_bias - gated.log_rescale.exp() * gated.gate_bias
    assert bool((raised < 0).any()), "thresholds that must be clamped at zero are part of the case"

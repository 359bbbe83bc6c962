"""Gated SAE with untied encoders (arXiv:2404.16014, ablation): each path has its own directions, all else as in Gated."""

from __future__ import annotations

import torch


def papers_codes(gated, x):
    centred = x - gated.decoder_bias
    pi_gate = centred @ gated.encoder.T + gated.gate_bias
    magnitude = centred @ gated.magnitude_encoder.T + gated.magnitude_bias
    return torch.relu(pi_gate), (pi_gate.detach() > 0) * torch.relu(magnitude)


def test_terms_and_gradients_are_the_papers(layout, build, step, agree):
    gated = build("gated_untied")
    with torch.no_grad():
        gated.magnitude_encoder.mul_(3)
    gate, f = papers_codes(gated, step.x)
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
    torch.testing.assert_close(gated.losses(step).codes.to_dense(), f)


def test_each_term_teaches_its_own_encoder(layout, build, step, gradients):
    gated = build("gated_untied")
    terms = gated.losses(step).terms
    for term in ("sparsity", "gate_reconstruction"):
        assert not gradients(terms[term], gated)["magnitude_encoder"].any()
        assert not gradients(terms[term], gated)["atoms"].any()
    of_reconstruction = gradients(terms["reconstruction"], gated)
    assert not of_reconstruction["encoder"].any()
    assert not of_reconstruction["gate_bias"].any()

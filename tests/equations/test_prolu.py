"""ProLU SAE (Taggart 2024): f = m 1[m > 0 and m + b > 0] with either of its gradients, written as surrogates in plain torch."""

from __future__ import annotations

import pytest
import torch


def papers_codes(prolu, x, gradient):
    """f, built so that autograd gives the source's gradients: a value without gradient plus a surrogate that adds nothing to it."""
    m = (x - prolu.decoder_bias) @ prolu.encoder.T
    gate = ((m > 0) & (m + prolu.encoder_bias > 0)).double()
    f = (gate * m).detach()
    constant = m.detach()
    as_relu = gate * (m + prolu.encoder_bias)
    straight_through = gate * ((1 + constant) * m + constant * prolu.encoder_bias)
    surrogate = {"relu": as_relu, "ste": straight_through}[gradient]
    return f + surrogate - surrogate.detach()


@pytest.mark.parametrize("gradient", ["relu", "ste"])
@pytest.mark.parametrize("power", [1.0, 0.5])
def test_terms_and_gradients_are_the_sources(layout, build, step, agree, gradient, power):
    prolu = build("prolu", gradient=gradient, power=power)
    f = papers_codes(prolu, step.x, gradient)
    fires = f > 0
    penalty = torch.where(fires, f, 1.0).pow(power)[fires].sum() / 32
    error = step.target - f @ prolu.atoms - prolu.decoder_bias
    agree(prolu, step, {"reconstruction": error.pow(2).sum(1).mean(), "sparsity": penalty})
    torch.testing.assert_close(prolu.losses(step).codes.to_dense(), f)
    assert bool((prolu.encoder_bias > 0).any() and (prolu.encoder_bias < 0).any())


def test_it_is_a_jumprelu_without_shrinkage(layout, build, step):
    prolu, jump = build("prolu"), build("jumprelu")
    threshold = prolu.encoder_bias.neg().clamp_min(1e-12)
    with torch.no_grad():
        for name in ("encoder", "atoms", "decoder_bias"):
            getattr(jump, name).copy_(getattr(prolu, name))
        jump.encoder_bias.zero_()
        jump.log_threshold.copy_(threshold.log())
    torch.testing.assert_close(prolu.encode_scaled(step.x).to_dense(), jump.encode_scaled(step.x).to_dense())

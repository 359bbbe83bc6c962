"""ReLU SAE (Bricken et al. 2023): f = relu(W (x - b_dec) + b_enc), loss ||y - xhat||^2 + lambda ||f||_1."""

from __future__ import annotations

import torch

from assay.codes import CsrSupport


def test_terms_and_gradients_are_the_papers(layout, build, step, agree):
    relu = build("relu")
    f = torch.clamp((step.x - relu.decoder_bias) @ relu.encoder.T + relu.encoder_bias, min=0)
    error = f @ relu.atoms + relu.decoder_bias - step.target
    agree(relu, step, {"reconstruction": (error**2).sum() / 32, "sparsity": f.abs().sum() / 32})
    codes = relu.losses(step).codes
    assert isinstance(codes.support, CsrSupport) == (layout == "csr")
    torch.testing.assert_close(codes.to_dense(), f)
    assert 0.2 < float((f > 0).double().mean()) < 0.8

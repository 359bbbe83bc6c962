"""Gated SAE with untied encoders: gate and magnitude read the input along directions of their own.

An ablation of the Gated paper, which finds no gain for twice the encoder's parameters.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class GatedUntied(Dictionary, name="gated_untied", paper="arXiv:2404.16014"):
    """Gate and magnitude have an encoder each.

    gate       g = W_gate (x - b_dec) + b_gate                    fires where g > 0
    codes      f = 1[g > 0] * relu(W_mag (x - b_dec) + b_mag)
    loss       ||x - xhat(f)||^2 + lambda ||relu(g)||_1 + ||x - xhat_frozen(relu(g))||^2
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.4, warmup=0.05)
        """L1 on the rectified gate."""
        gate_reconstruction: Weight = Weight()
        """Error of decoding the rectified gate through a frozen decoder."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.magnitude_encoder = nn.Parameter(self.atoms.detach().clone())
        self.gate_bias = nn.Parameter(torch.zeros(config.width))
        self.magnitude_bias = nn.Parameter(torch.zeros(config.width))

    def paths(self, x: Float[Tensor, "B D"]) -> tuple[SparseCodes, SparseCodes]:
        """The rectified gate, and the codes on its support."""
        read = ops.select_positive(x, self.encoder, self.gate_bias, self.decoder_bias)
        sized = ops.products_on(read, x, self.magnitude_encoder, self.decoder_bias)
        gate = read.with_values(read.values + read.spread(self.gate_bias))
        return gate, read.with_values((sized.values + sized.spread(self.magnitude_bias)).relu())

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return self.paths(x)[1]

    def losses(self, step: Step) -> Pass:
        gate, codes = self.paths(step.x)
        reconstruction, by_gate = self.decode_both(codes, gate, frozen=True)
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "sparsity": gate.mean_row_sum(),
            "gate_reconstruction": ops.squared_error(by_gate, step.target),
        }
        return Pass(codes, reconstruction, terms)

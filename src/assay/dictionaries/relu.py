"""ReLU SAE: one rectified encoder, an L1 penalty on its codes.

The penalty that selects also shrinks: the baseline that Gated dictionaries improve on.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class ReLU(Dictionary, name="relu", paper="transformer-circuits.pub/2023/monosemantic-features"):
    """codes f = relu(W_enc (x - b_dec) + b_enc); loss ||x - xhat(f)||^2 + lambda ||f||_1, unit-norm atoms."""

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.15, warmup=0.05)
        """L1 on the codes."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_positive(x, self.encoder, self.encoder_bias, self.decoder_bias)
        return products.with_values((products.values + products.spread(self.encoder_bias)).relu())

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        return Pass(
            codes,
            reconstruction,
            {
                "reconstruction": ops.squared_error(reconstruction, step.target),
                "sparsity": codes.mean_row_sum(),
            },
        )

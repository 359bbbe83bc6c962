"""End-to-end SAE: it learns what the model needs of its activations, from what the model predicts with reconstructions in their place.

Its loss asks the model, so its batches must be whole contexts that are run live (`batches.contexts` in a run,
`ActivationStore.contexts`). Rows without a model teach it as they teach a ReLU dictionary.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class EndToEnd(Dictionary, name="end_to_end", paper="arXiv:2405.12241"):
    """codes  f = relu(W_enc (x - b_dec) + b_enc), unit-norm atoms
    loss   KL(p || p(xhat)) + lambda ||f||_1 + ||x - xhat||^2

    p is what the model predicts at the rows of the batch, p(xhat) what it predicts with the reconstructions in place of all of them.
    The paper's e2e has reconstruction.value = 0; its e2e + downstream also holds later activations to theirs, which is left out here.
    Without a model the KL is zero.
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.15, warmup=0.05)
        """L1 on the codes."""
        kl: Weight = Weight(value=1.0)
        """Nats by which reconstructions move the model's predictions."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_positive(x, self.encoder, self.encoder_bias, self.decoder_bias)
        return ops.rectified(products, self.encoder_bias)

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        nothing = reconstruction.new_zeros(())
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "sparsity": codes.mean_row_sum(),
            "kl": nothing if step.downstream is None else step.downstream(self.unscaled(reconstruction)).to(nothing),
        }
        return Pass(codes, reconstruction, terms)

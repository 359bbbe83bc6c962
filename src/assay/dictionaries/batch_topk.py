"""BatchTopK SAE: keep the k B largest pre-activations of a batch of B rows, so that rows with more to say get more latents."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class BatchTopK(Dictionary, name="batch_topk", paper="arXiv:2412.06410"):
    """Training chooses across the batch; inference compares each latent with a threshold that training has learnt.

    pre-activation  z = W_enc (x - b_dec) + b_enc
    training        f = z where it is among the k B largest positive of the batch
    inference       f = z 1[z > theta],  theta = running mean of the smallest f of each batch
    AuxK            e = x - xhat (no gradient); the k_aux largest dead latents reconstruct it: ||e - ehat||^2 / ||e - mean e||^2
    """

    chooses_by_batch = True

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        k: int = Field(default=32, ge=1)
        """Latents kept for each row, on average over the batch."""
        k_aux: int = Field(default=256, ge=1)
        """Dead latents that reconstruct the error; the paper takes a power of two near D / 2."""
        auxk: Weight = Weight(value=1 / 32)
        """Error of reconstructing the error with dead latents."""
        memory: float = Field(default=0.99, ge=0, lt=1)
        """Share of the threshold that a step keeps."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: BatchTopK.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))
        self.register_buffer("threshold", torch.zeros(()))
        self.register_buffer("learnt", torch.zeros(()))
        self.threshold: Tensor
        self.learnt: Tensor

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_positive(x, self.encoder, self.encoder_bias - self.threshold, self.decoder_bias)
        return ops.rectified(products, self.encoder_bias)

    def losses(self, step: Step) -> Pass:
        layer = self.encoder, self.encoder_bias
        products = ops.select_batch_top_k(step.x, *layer, self.config.k, self.decoder_bias)
        codes = ops.rectified(products, self.encoder_bias)
        reconstruction = self.decode_scaled(codes)
        error = step.target - reconstruction
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "auxk": ops.auxk(step.x, step.dead, error, self.config.k_aux, *layer, self.decoder_bias, self.atoms),
        }
        return Pass(codes, reconstruction, terms)

    def after_step(self, result: Pass) -> None:
        """Take the smallest active value of the batch into the threshold's running mean."""
        learnt = ops.running_threshold(self.threshold, self.learnt, result.codes, self.config.memory)
        self.threshold, self.learnt = learnt

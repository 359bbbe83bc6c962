"""p-annealing: the L1 penalty of a ReLU SAE turns in steps toward L0, which asks for fewer latents and shrinks them less."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops, ranks
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class PAnneal(Dictionary, name="p_anneal", paper="arXiv:2408.00113"):
    """A ReLU dictionary whose penalty's power falls while it trains.

    codes     f = relu(W_enc (x - b_dec) + b_enc)
    loss      ||x - xhat(f)||^2 + lambda c ||f||_p^p,  unit-norm atoms
    schedule  p = 1 - (1 - p_end) k / n after the k-th of n changes, the first at `anneal_start`, the others at equal distances
    change    c <- c * mean ||f||_p^p / mean ||f||_q^q over recent batches, q the next power: the term keeps its size

    Below |f| = 0.001 the power is a straight line (`ops.power`), which bounds its slope; that is ours, as is the sparsity term's c,
    which the paper puts into lambda.
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.15, warmup=0.05)
        """Penalty on the codes."""
        p_end: float = Field(default=0.2, gt=0, le=1)
        """The last power."""
        anneal_start: float = Field(default=0.3, ge=0, lt=1)
        """Fraction of training at which the power first changes."""
        changes: int = Field(default=10, ge=1, le=10_000)
        """How often it changes."""
        queue: int = Field(default=10, ge=1, le=10_000)
        """Recent batches that the new coefficient is taken from."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: PAnneal.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))
        self.register_buffer("changed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("coefficient", torch.ones(()))
        self.register_buffer("recent", torch.zeros(config.queue, 2))
        self.changed: Tensor
        self.coefficient: Tensor
        self.recent: Tensor

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_positive(x, self.encoder, self.encoder_bias, self.decoder_bias)
        return products.with_values((products.values + products.spread(self.encoder_bias)).relu())

    def losses(self, step: Step) -> Pass:
        config, codes = self.config, self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        powers = ops.powers(codes, self.changed, config.changes, config.p_end)
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "sparsity": self.coefficient * powers[0],
        }
        due = ops.changes_due(step.progress, config.anneal_start, config.changes)
        return Pass(codes, reconstruction, terms, {"powers": powers.detach(), "due": torch.tensor(due)})

    @torch.no_grad()
    def after_step(self, result: Pass) -> None:
        """Remember what this batch gives under both powers; go on to the next one when it is due."""
        powers, due = ranks.batch_mean(result.notes["powers"]), int(result.notes["due"])
        state = self.changed, self.coefficient, self.recent
        for buffer, value in zip(state, ops.annealed(*state, powers, due), strict=True):
            buffer.copy_(value)

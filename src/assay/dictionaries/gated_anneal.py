"""p-annealed Gated SAE: the L1 penalty on the gate turns in steps toward L0."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops, ranks
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class GatedAnneal(Dictionary, name="gated_anneal", paper="arXiv:2408.00113"):
    """A Gated dictionary whose penalty's power falls while it trains.

    gate       g = W_enc (x - b_dec) + b_gate                    fires where g > 0
    codes      f = 1[g > 0] * relu(exp(r) * W_enc (x - b_dec) + b_mag)
    loss       ||x - xhat(f)||^2 + lambda c ||relu(g)||_p^p + ||x - xhat_frozen(relu(g))||^2
    schedule   p = 1 - (1 - p_end) k / n after the k-th of n changes, the first at `anneal_start`, the others at equal distances
    change     c <- c * mean ||relu(g)||_p^p / mean ||relu(g)||_q^q over recent batches, q the next power: the term keeps its size

    Below g = 0.001 the power is a straight line (`ops.power`), which bounds its slope; that is ours.
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.4, warmup=0.05)
        """Penalty on the rectified gate."""
        gate_reconstruction: Weight = Weight()
        """Error of decoding the rectified gate through a frozen decoder."""
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
        self.config: GatedAnneal.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.gate_bias = nn.Parameter(torch.zeros(config.width))
        self.magnitude_bias = nn.Parameter(torch.zeros(config.width))
        self.log_rescale = nn.Parameter(torch.zeros(config.width))
        self.register_buffer("changed", torch.zeros((), dtype=torch.int64))
        self.register_buffer("coefficient", torch.ones(()))
        self.register_buffer("recent", torch.zeros(config.queue, 2))
        self.changed: Tensor
        self.coefficient: Tensor
        self.recent: Tensor

    def paths(self, x: Float[Tensor, "B D"]) -> tuple[SparseCodes, SparseCodes]:
        """The rectified gate, and the codes on its support."""
        products = ops.select_positive(x, self.encoder, self.gate_bias, self.decoder_bias)
        return ops.gated_codes(products, self.gate_bias, self.log_rescale, self.magnitude_bias)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return self.paths(x)[1]

    def losses(self, step: Step) -> Pass:
        config, (gate, codes) = self.config, self.paths(step.x)
        reconstruction, by_gate = self.decode_both(codes, gate, frozen=True)
        powers = ops.powers(gate, self.changed, config.changes, config.p_end)
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "sparsity": self.coefficient * powers[0],
            "gate_reconstruction": ops.squared_error(by_gate, step.target),
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

"""HH-SAE: a dense tier takes the background away, gated atoms take apart what is left, composites say which of them fire together."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class Hierarchical(Dictionary, name="hierarchical", paper="arXiv:2605.10536"):
    """Three tiers; our reconstruction of HH-SAE, whose abstract leaves their wiring open.

    context     c = V^T V x                    V [q D] the first principal axes of a sample: where a linear autoencoder of rank q ends
    atomic      g = W (x - c - b_dec) + b_gate;  f1 = 1[g > 0] relu(exp(s) * (g - b_gate) + b_mag);  rhat = A f1
    composite   f2 = relu(Top1(C rhat)), with C the last rows of `atoms`, and rhat without gradient: spherical k-means of what atoms write
    loss        ||x - c - rhat - b_dec||^2 + lambda ||relu(g)||_1 + ||x - c - b_dec - A_frozen relu(g)||^2 + ||rhat - C^T f2||^2

    A composite is a direction that several atoms share; it reads their codes through it, and starts from a row with much beside its
    background. It repeats what atoms say, so `context(x)` is c - C^T f2: x becomes c + A f1, and an edit of f2 moves it along C.
    With a quarter of 112 latents being composites, 84 are left for 96 planted directions: MMCS .85.
    """

    divisible = False

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        rank: int = Field(default=16, ge=0)
        """Dimensions q of the dense background; 0 leaves it out."""
        composites: float = Field(default=0.25, gt=0, le=1 / 3)
        """Share of the latents, the last, that are composites; a third is half as many as there are atoms."""
        sparsity: Weight = Weight(value=0.25, warmup=0.05)
        """L1 on the atoms' rectified gate; smaller where the background is most of the variance."""
        gate_reconstruction: Weight = Weight()
        """Error of decoding the rectified gate through frozen atoms."""
        composite: Weight = Weight()
        """Error of reconstructing what the atoms wrote with composites."""

        def resized(self, *, d_in: int, width: int) -> Dictionary.Config:
            return self.revised({"d_in": d_in, "width": width, "rank": min(self.rank, max(d_in // 16, 1))})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Hierarchical.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.gate_bias = nn.Parameter(torch.zeros(config.width))
        self.magnitude_bias = nn.Parameter(torch.zeros(config.width))
        self.log_rescale = nn.Parameter(torch.zeros(config.width))
        self.count = max(int(config.width * config.composites), 1)
        self.register_buffer("axes", torch.zeros(min(config.rank, config.d_in), config.d_in))
        self.axes: Tensor

    def start_from(self, x: Float[Tensor, "B D"]) -> None:
        left = x - self.fit_background(x)
        rows = left.norm(dim=-1).topk(min(len(x), max(self.count, len(x) // 50))).indices
        rows = rows[torch.linspace(0, len(rows) - 1, self.count).long()]
        self.atoms[-self.count :] = nn.functional.normalize(left[rows], dim=-1)

    @torch.no_grad()
    def fit_background(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        """Take the first principal axes of scaled activations for the background, as for another domain; returns it."""
        self.axes.copy_(torch.linalg.eigh((x.mT @ x).double()).eigenvectors.mT.flip(0)[: self.config.rank])
        return x @ self.axes.mT @ self.axes

    def tiers(self, x: Float[Tensor, "B D"]) -> tuple[Tensor, SparseCodes, Tensor, SparseCodes, SparseCodes]:
        """Background, rectified gate, what the atoms write, composite codes, all codes."""
        background = x @ self.axes.mT @ self.axes
        last = torch.arange(self.config.width, device=x.device) >= self.config.width - self.count
        high = torch.where(last, torch.inf, -self.gate_bias)
        u = ops.select_outside(x - background, self.encoder, high, None, self.decoder_bias)
        atomic = u.with_values((u.spread(self.log_rescale.exp()) * u.values + u.spread(self.magnitude_bias)).relu())
        written = ops.decode(atomic, self.atoms)
        nearest = ops.select_top_k(written.detach(), self.atoms, torch.zeros_like(high), 1, last)
        composite = nearest.with_values(nearest.values.relu())
        gate = u.with_values(u.values + u.spread(self.gate_bias))
        return background, gate, written, composite, atomic.joined(composite)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return self.tiers(x)[-1]

    def context(self, x: Float[Tensor, "B D"]) -> Float[Tensor, "B D"]:
        background, _, _, composite, _ = self.tiers(x)
        return background - ops.decode(composite, self.atoms)

    def losses(self, step: Step) -> Pass:
        background, gate, written, composite, codes = self.tiers(step.x)
        reconstruction = background + written + self.decoder_bias
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "sparsity": gate.mean_row_sum(),
            "gate_reconstruction": ops.squared_error(background + self.decode_frozen(gate), step.target),
            "composite": ops.squared_error(ops.decode(composite, self.atoms), written.detach()),
        }
        return Pass(codes, reconstruction, terms)

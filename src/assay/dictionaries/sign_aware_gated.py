"""SA-GSAE: a Gated dictionary whose gate opens on either side, so that one latent stands for both poles of an axis.

The resulting activation is called Bi-Jump-ReLU: z where it is far enough from zero, on whichever side.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from assay import ops, ranks
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class SignAwareGated(Dictionary, name="sign_aware_gated", paper="arXiv:2605.28149"):
    """Codes are signed: f(-u) = -f(u) for u = W_enc (x - b_dec), unless the polarities are told apart.

    gate       g = sign(u) relu(|u| - tau),  tau >= 0            fires where |u| > tau
    codes      f = sign(u) 1[|u| > tau] relu(exp(r) |u| + c)
    loss       ||x - xhat(f)||^2 + lambda ||g||_1 + ||x - xhat_frozen(g)||^2
    dead       a latent that has not fired for the tracker's window has tau set back to its first value; directions stay

    Our reconstruction from the abstracts (versions 1 and 2), which give the two-sided gate, the auxiliary term, the tied symmetric form,
    small first thresholds and their resets, and no formulas. The paper's thresholds may go through exp or softplus; here tau = |t|,
    because Adam moves a logarithm too slowly away from a small first value. Where no axis has two poles the second gate fires on noise:
    96 planted directions with one pole are not recovered (MMCS 0.6 at width 112, where 48 axes of either sign are, 0.95 at width 56).
    """

    signed = True

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.4, warmup=0.05)
        """L1 on the gate."""
        gate_reconstruction: Weight = Weight()
        """Error of decoding the gate through a frozen decoder; weight zero is the arm without it."""
        initial_threshold: float = Field(default=0.01, gt=0, le=1e30)
        """Every tau at the start, as a share of the root mean square 1 / sqrt(D) of u along a unit direction."""
        polarities: bool = False
        """Whether positive and negative codes have a tau, r and c each; the paper recommends one for both."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: SignAwareGated.Config = config
        sides = config.width, 2 if config.polarities else 1
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.threshold = nn.Parameter(torch.full(sides, self.first_threshold()))
        self.log_rescale = nn.Parameter(torch.zeros(sides))
        self.shift = nn.Parameter(torch.zeros(sides))

    def first_threshold(self) -> float:
        """Every tau at the start."""
        return self.config.initial_threshold / self.config.d_in**0.5

    def paths(self, x: Float[Tensor, "B D"]) -> tuple[SparseCodes, SparseCodes]:
        """The signed gate, and the codes on its support."""
        threshold = self.threshold.abs()
        products = ops.select_outside(x, self.encoder, threshold[:, 0], -threshold[:, -1], self.decoder_bias)
        sign, size = products.values.detach().sign(), products.values.abs()

        def spread(sides: Float[Tensor, "L P"]) -> Tensor:
            return torch.where(sign > 0, products.spread(sides[:, 0]), products.spread(sides[:, -1]))

        magnitude = (spread(self.log_rescale.exp()) * size + spread(self.shift)).relu()
        return products.with_values(sign * (size - spread(threshold))), products.with_values(sign * magnitude)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return self.paths(x)[1]

    def losses(self, step: Step) -> Pass:
        gate, codes = self.paths(step.x)
        reconstruction, by_gate = self.decode_both(codes, gate, frozen=True)
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "sparsity": gate.mean_row_sum(gate.values.abs()),
            "gate_reconstruction": ops.squared_error(by_gate, step.target),
        }
        return Pass(codes, reconstruction, terms, {} if step.dead is None else {"dead": step.dead})

    @torch.no_grad()
    def after_step(self, result: Pass) -> None:
        """Set the thresholds of dead latents back."""
        if "dead" in result.notes:
            ranks.set_rows(self.threshold, result.notes["dead"].nonzero().view(-1), self.first_threshold())

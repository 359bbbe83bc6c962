"""Gated SAE: one path decides which latents fire, a tied path decides how strongly.

The L1 penalty acts on the gate alone, so magnitudes are not shrunk toward zero. The gate's support is the code's support: after one
encoder product everything here is sparse.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class Gated(Dictionary, name="gated", paper="arXiv:2404.16014"):
    """Gate and magnitude share an encoder up to a per-latent rescale.

    gate       g = W_enc (x - b_dec) + b_gate                    fires where g > 0
    magnitude  m = exp(r) * W_enc (x - b_dec) + b_mag
    codes      f = 1[g > 0] * relu(m)
    loss       ||x - xhat(f)||^2 + lambda ||relu(g)||_1 + ||x - xhat_frozen(relu(g))||^2
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.25, warmup=0.05)
        """L1 on the rectified gate."""
        gate_reconstruction: Weight = Weight()
        """Error of decoding the rectified gate."""
        unfrozen: bool = False
        """Whether the gate's decoder learns too (an ablation of the paper)."""
        free_norms: bool = False
        """Whether atoms have any norm and the L1 is weighted by it; later public code does so, with `unfrozen`."""
        rescale: bool = True
        """Whether magnitudes have a scale r of their own; without, r is zero (an ablation of the paper)."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Gated.Config = config
        self.unit_atoms = not config.free_norms
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.gate_bias = nn.Parameter(torch.zeros(config.width))
        self.magnitude_bias = nn.Parameter(torch.zeros(config.width))
        if config.rescale:
            self.log_rescale = nn.Parameter(torch.zeros(config.width))
        else:
            self.register_buffer("log_rescale", torch.zeros(config.width))
        self.log_rescale: Tensor

    def paths(self, x: Float[Tensor, "B D"]) -> tuple[SparseCodes, SparseCodes]:
        """The rectified gate, and the codes on its support."""
        products = ops.select_positive(x, self.encoder, self.gate_bias, self.decoder_bias)
        return ops.gated_codes(products, self.gate_bias, self.log_rescale, self.magnitude_bias)

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return self.paths(x)[1]

    def losses(self, step: Step) -> Pass:
        gate, codes = self.paths(step.x)
        reconstruction, by_gate = self.decode_both(codes, gate, frozen=not self.config.unfrozen)
        penalised = gate.values * gate.spread(self.atoms.norm(dim=-1)) if self.config.free_norms else gate.values
        return Pass(
            codes,
            reconstruction,
            {
                "reconstruction": ops.squared_error(reconstruction, step.target),
                "sparsity": gate.mean_row_sum(penalised),
                "gate_reconstruction": ops.squared_error(by_gate, step.target),
            },
        )

    @torch.no_grad()
    def to_jumprelu(self) -> Dictionary:
        """The same function as one JumpReLU layer: threshold = max(b_mag - exp(r) b_gate, 0) on the magnitude path."""
        variant = Dictionary.registry.named("jumprelu")
        same = variant(variant.Config(d_in=self.config.d_in, width=self.config.width)).to(self.atoms)
        rescale = self.log_rescale.exp()
        threshold = (self.magnitude_bias - rescale * self.gate_bias).clamp_min(torch.finfo(rescale.dtype).tiny)
        state = {
            "atoms": self.atoms,
            "decoder_bias": self.decoder_bias,
            "mean": self.mean,
            "scale": self.scale,
            "encoder": rescale[:, None] * self.encoder,
            "encoder_bias": self.magnitude_bias,
            "log_threshold": threshold.log(),
        }
        same.load_state_dict(state)
        same.provenance = {**self.provenance, "converted_from": self.name}
        return same

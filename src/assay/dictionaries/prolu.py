"""ProLU SAE: a bias that says when a latent fires and leaves how strongly alone (Taggart 2024).

The forward pass is JumpReLU's with threshold max(-b, 0); the gradient that teaches b is another.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from assay import ops
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class ProLU(Dictionary, name="prolu", paper="lesswrong.com/posts/HEpufTdakGTTKgoYF"):
    """A latent keeps its whole product m with the encoder where that passes both zero and -b.

        m = W_enc (x - b_dec);  f = m where m > 0 and m + b > 0, else 0
        loss ||x - xhat(f)||^2 + lambda sum_i f_i^p,  p = 1 or 1/2
        gradients where it fires, g being that of f:
            relu  dm = g,          db = g       as if f were relu(m + b)
            ste   dm = g (1 + m),  db = g m     the product rule on 1[m + b > 0] m, the step's derivative taken for 1

    The second depends on the unit of x, here E||x||^2 = 1, and on planted data keeps more latents at equal explained variance.
    """

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "sparsity.value"
        sparsity: Weight = Weight(value=0.15, warmup=0.05)
        """Penalty on the codes."""
        power: float = Field(default=1.0, gt=0, le=1)
        """Exponent p of the penalty: 1 is L1, 1/2 is the source's other one, which shrinks strong codes less."""
        gradient: Literal["relu", "ste"] = "relu"
        """What teaches the bias."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: ProLU.Config = config
        self.encoder = nn.Parameter(self.atoms.detach().clone())
        self.encoder_bias = nn.Parameter(torch.zeros(config.width))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        products = ops.select_outside(x, self.encoder, (-self.encoder_bias).relu(), None, self.decoder_bias)
        bias = products.spread(self.encoder_bias)
        return products.with_values(_ProLU.apply(products.values, bias, self.config.gradient == "ste"))  # pyright: ignore

    def losses(self, step: Step) -> Pass:
        codes = self.encode_scaled(step.x)
        reconstruction = self.decode_scaled(codes)
        least = torch.finfo(codes.values.dtype).tiny ** 0.5
        powers = torch.where(codes.values > 0, codes.values.clamp_min(least).pow(self.config.power), 0)
        return Pass(
            codes,
            reconstruction,
            {
                "reconstruction": ops.squared_error(reconstruction, step.target),
                "sparsity": codes.mean_row_sum(powers),
            },
        )


class _ProLU(torch.autograd.Function):
    """m where m > 0 and m + b > 0; what teaches m and b is a choice."""

    @staticmethod
    def forward(ctx: Any, m: Tensor, bias: Tensor, straight_through: bool) -> Tensor:
        ctx.save_for_backward(m, bias)
        ctx.straight_through = straight_through
        return torch.where((m > 0) & (m + bias > 0), m, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor):  # pyright: ignore
        m, bias = ctx.saved_tensors
        gated = torch.where((m > 0) & (m + bias > 0), gradient, 0)
        to_m, to_bias = (gated * (1 + m), gated * m) if ctx.straight_through else (gated, gated)
        return to_m, to_bias.sum_to_size(bias.shape), None

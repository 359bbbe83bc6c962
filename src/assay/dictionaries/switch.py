"""Switch SAE: a router sends each activation to one of several small TopK dictionaries, so that a wide one costs no more to encode."""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from assay import ops, ranks
from assay.codes import SparseCodes
from assay.dictionary import Dictionary, Pass, Step, Weight


class Switch(Dictionary, name="switch", paper="arXiv:2410.08201"):
    """N experts of L / N consecutive latents each; an activation is encoded by the one that the router finds likeliest.

    router   p = softmax(W_r (x - b_r)),  e = argmax p
    codes    f = p_e relu(TopK(W_enc^e (x - b_dec))) on the latents of expert e, so that the router learns from the reconstruction
    balance  N sum_i s_i P_i - 1: s_i is the share of the batch sent to expert i (no gradient), P_i its mean probability; 0 when even

    There is no encoder bias, and dead latents are left alone, as in the authors' code. An expert is a dictionary of its own: a direction
    that many experts meet is learnt by many, so that at equal width fewer are found than by TopK (96 planted directions: MMCS .95 with
    2 experts of 56 latents, .90 with 4 of 28, .84 with 8 of 14, .96 with 8 of 56).
    """

    divisible = False

    class Config(Dictionary.Config):
        dial: ClassVar[str] = "k"
        k: int = Field(default=32, ge=1)
        """Latents kept in each row."""
        experts: int = Field(default=8, ge=2)
        """Experts N; they share the latents equally."""
        balance: Weight = Weight(value=0.1)
        """Cost of uneven loads, for x with E||x||^2 = 1. The authors' is 0.01 D for raw activations; 0.01 here leaves experts unused."""

        @model_validator(mode="after")
        def _shares_equally(self) -> Switch.Config:
            if self.width % self.experts:
                raise ValueError(f"a width that {self.experts} experts can share equally; {self.width} is none")
            return self

        def resized(self, *, d_in: int, width: int) -> Switch.Config:
            """A width that the experts can share, and no more of them than leave each 16 latents."""
            experts = min(self.experts, max(width // 16, 2))
            width = max(width // experts, 1) * experts
            return self.revised({"d_in": d_in, "width": width, "experts": experts})

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.config: Switch.Config = config
        generator = torch.Generator().manual_seed(config.seed + 1)
        bound = config.d_in**-0.5
        self.router = nn.Parameter(
            torch.empty(config.experts, config.d_in).uniform_(-bound, bound, generator=generator)
        )
        self.router_center = nn.Parameter(torch.zeros(config.d_in))
        self.encoder = nn.Parameter(self.atoms.detach().clone())

    def routed(self, x: Float[Tensor, "B D"]) -> tuple[Float[Tensor, "B N"], Int[Tensor, " B"]]:
        """Probabilities of the experts, and which one each row goes to."""
        likely = ((x - self.router_center) @ self.router.T).softmax(-1)
        return likely, likely.argmax(-1)

    def codes(self, x: Float[Tensor, "B D"], likely: Float[Tensor, "B N"], expert: Int[Tensor, " B"]) -> SparseCodes:
        """f of each row, by the expert that it goes to."""
        config, certainty = self.config, likely.gather(1, expert[:, None])[:, 0]
        products = ops.select_expert_top_k(x, self.encoder, config.k, expert, config.experts, self.decoder_bias)
        return products.with_values(products.values.relu() * products.spread_rows(certainty))

    def encode_scaled(self, x: Float[Tensor, "B D"]) -> SparseCodes:
        return self.codes(x, *self.routed(x))

    def losses(self, step: Step) -> Pass:
        likely, expert = self.routed(step.x)
        codes = self.codes(step.x, likely, expert)
        reconstruction = self.decode_scaled(codes)
        shares = torch.bincount(expert, minlength=self.config.experts) / max(len(expert), 1)
        balance = (ranks.batch_mean(shares.to(likely)) * likely.mean(0)).sum()
        terms = {
            "reconstruction": ops.squared_error(reconstruction, step.target),
            "balance": self.config.experts * balance - 1,
        }
        return Pass(codes, reconstruction, terms)

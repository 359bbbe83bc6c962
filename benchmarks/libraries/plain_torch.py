"""No library: the encoder product that is the unit, and a Gated step in plain autograd as a neutral control."""

from __future__ import annotations

import torch
from torch import Tensor

from benchmarks import libraries
from benchmarks.workload import Workload

PACKAGE = "torch"
VARIANTS = ("gated dense",)
L1 = 0.15


def has(variant: str) -> bool:
    return variant in VARIANTS


def build(variant: str, workload: Workload) -> libraries.Arm:
    return Product(workload) if variant == libraries.PRODUCT[1] else DenseGated(workload)


class Product:
    """`torch.mm(x, W.T)` with a fresh output, thrice a turn: 2 B d m FLOP each. Its median is one unit."""

    steps = 3

    def __init__(self, workload: Workload) -> None:
        self.batches, self.encoder = workload.batches(), workload.start.encoder

    @torch.no_grad()
    def turn(self) -> None:
        for _ in range(self.steps):
            torch.mm(next(self.batches), self.encoder.T)

    def l0(self) -> float:
        return float(len(self.encoder))

    def parameters(self) -> list[Tensor]:
        return []


class DenseGated:
    """The Gated loss (arXiv:2404.16014, equation 8) as one would write it, plain autograd, and torch's fused Adam.

        gate g = W (x - b) + b_gate; magnitude m = exp(r) W (x - b) + b_mag; codes f = 1[g > 0] relu(m)
        ||x - f A - b||^2 + lambda ||relu(g)||_1 + ||x - relu(g) A' - b'||^2, where the primed get no gradient

    with one product for both paths. The gradient along each atom is projected away and atoms are renormalised after the step.
    Left out: reading batches, counting firings, logging.
    """

    steps = 1

    def __init__(self, workload: Workload) -> None:
        self.batches = workload.batches()
        names = ("encoder", "atoms", "decoder_bias", "gate_bias", "magnitude_bias", "log_rescale")
        copies = {name: getattr(workload.start, name).clone().requires_grad_() for name in names}
        self.encoder, self.atoms, self.bias = copies["encoder"], copies["atoms"], copies["decoder_bias"]
        self.gate_bias, self.magnitude_bias = copies["gate_bias"], copies["magnitude_bias"]
        self.log_rescale = copies["log_rescale"]
        self.adam = torch.optim.Adam(copies.values(), lr=libraries.LEARNING_RATE, betas=(0.0, 0.999), fused=True)

    def turn(self) -> None:
        self.loss(next(self.batches)).backward()
        with torch.no_grad():
            along = (self.atoms.grad * self.atoms).sum(-1, keepdim=True)  # pyright: ignore[reportOptionalOperand]
            self.atoms.grad -= along * self.atoms
        self.adam.step()
        self.adam.zero_grad()
        with torch.no_grad():
            self.atoms /= self.atoms.norm(dim=-1, keepdim=True)

    def paths(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The rectified gate and the codes."""
        shared = (x - self.bias) @ self.encoder.T
        gate = shared + self.gate_bias
        magnitude = self.log_rescale.exp() * shared + self.magnitude_bias
        return gate.relu(), (gate > 0) * magnitude.relu()

    def loss(self, x: Tensor) -> Tensor:
        gate, codes = self.paths(x)
        error = x - (codes @ self.atoms + self.bias)
        error_by_gate = x - (gate @ self.atoms.detach() + self.bias.detach())
        squares = error.square().sum(-1).mean() + error_by_gate.square().sum(-1).mean()
        return squares + L1 * gate.sum(-1).mean()

    @torch.no_grad()
    def l0(self) -> float:
        return libraries.active(self.paths(next(self.batches))[1])

    def parameters(self) -> list[Tensor]:
        return [self.encoder, self.atoms, self.bias, self.gate_bias, self.magnitude_bias, self.log_rescale]

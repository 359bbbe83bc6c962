"""What every arm of a comparison is given: the same rows, and the same starting weights with the same number of active latents.

Real rows are activations of a language model, and the weights are those of a Gated dictionary trained on them; synthetic rows are
normal, the weights random. One constant is then added to all gate biases so that `l0` latents a row are active.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Data = Literal["real", "synthetic"]
SAMPLE = 512
"""Rows on which biases are set."""
ROOM = 8
"""How many more latents than k are positive in TopK kinds, so that the k largest are positive in every row."""


@dataclass(frozen=True)
class Shape:
    """Width d of the activations, number of latents, rows of a batch."""

    d: int
    width: int
    batch: int

    @classmethod
    def parse(cls, text: str) -> Shape:
        """`576x16384x2048`. Raises ValueError."""
        parts = text.split("x")
        if len(parts) != 3:
            raise ValueError(f"shape {text!r}: expected d x width x batch, for example 576x16384x2048")
        return cls(*map(int, parts))

    def __str__(self) -> str:
        return f"{self.d}x{self.width}x{self.batch}"


@dataclass(frozen=True, eq=False)
class Start:
    """Weights of a Gated dictionary, for rows with mean 0 and E||x||^2 = 1; other kinds take from it what they have."""

    encoder: Float[Tensor, "L D"]
    atoms: Float[Tensor, "L D"]
    decoder_bias: Float[Tensor, " D"]
    gate_bias: Float[Tensor, " L"]
    magnitude_bias: Float[Tensor, " L"]
    log_rescale: Float[Tensor, " L"]


@dataclass(frozen=True, eq=False)
class Workload:
    """Rows, weights and the wanted number of active latents a row."""

    shape: Shape
    rows: Float[Tensor, "N D"]
    start: Start
    l0: int

    def batches(self) -> Iterator[Float[Tensor, "B D"]]:
        """Contiguous batches, without end and without a copy: what the peers' trainers are fed with."""
        size = self.shape.batch
        whole = len(self.rows) // size
        return (self.rows[i % whole * size : (i % whole + 1) * size] for i in count())

    @cached_property
    def top_k_bias(self) -> Float[Tensor, " L"]:
        """The gate's biases, raised until far more than k latents are positive."""
        return biased(self.rows, self.start, min(ROOM * self.l0, self.shape.width // 2)).gate_bias


def biased(rows: Float[Tensor, "N D"], start: Start, l0: int) -> Start:
    """The weights with a constant added to all gate biases, so that `l0` gates a row are open on a sample of the rows."""
    gates = (rows[:SAMPLE] - start.decoder_bias) @ start.encoder.T + start.gate_bias
    closed = gates.numel() - l0 * len(gates)
    edge = gates.flatten().kthvalue(max(closed, 1)).values
    return replace(start, gate_bias=start.gate_bias - edge)


def synthetic(shape: Shape, l0: int, *, batches: int = 4) -> Workload:
    """Normal rows with mean 0 and E||x||^2 = 1; random unit atoms, the encoder their transpose."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(max(batches * shape.batch, SAMPLE), shape.d, generator=generator)
    rows -= rows.mean(0)
    rows /= rows.square().sum(-1).mean().sqrt()
    return Workload(shape, rows, biased(rows, random_start(shape, generator), l0), l0)


def random_start(shape: Shape, generator: torch.Generator) -> Start:
    """Random unit atoms, the encoder equal to them, every bias zero."""
    atoms = torch.randn(shape.width, shape.d, generator=generator)
    atoms /= atoms.norm(dim=-1, keepdim=True)
    latents = torch.zeros(shape.width)
    return Start(atoms, atoms.clone(), torch.zeros(shape.d), latents, latents.clone(), latents.clone())

"""Interchange of latents: a mask that carries one attribute of an entity over to another and leaves the others where they are (RAVEL)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.dictionary import Dictionary

COLDEST = 1e-2
"""Temperature of the mask at the end of training, from 1."""

Readout: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Changed activations [B D] and the pairs that they are of [B] in, logits of the answers [B V] out; gradients flow through it."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """A base and a source entity each, and the answer that the interchange is to give."""

    base: Float[Tensor, "P D"]
    source: Float[Tensor, "P D"]
    target: Int[Tensor, " P"]
    """The source's answer where the question is about the attribute, else the base's own."""
    cause: Bool[Tensor, " P"]
    """Whether the question is about the attribute that the mask is to carry over."""


@dataclass(frozen=True)
class Disentanglement:
    """Shares of pairs that were answered as they should be. The mask that moves nothing has cause 0, isolation 1 and so 0.5."""

    cause: float
    isolation: float
    latents: int
    """Latents that the mask carries over."""

    @property
    def score(self) -> float:
        """Mean of cause and isolation."""
        return (self.cause + self.isolation) / 2


def disentangle(
    dictionary: Dictionary,
    learn: Pairs,
    test: Pairs,
    readout: Callable[[Pairs], Readout],
    *,
    steps: int = 200,
    learning_rate: float = 0.05,
    batch: int = 32,
    seed: int = 0,
) -> Disentanglement:
    """Learn a mask over latents on some pairs and try it on others.

        x' = x_base + decode(f_base + m (f_source - f_base)) - decode(f_base),  m = sigmoid(mu / T), at the test 1[mu > 0]

    One cross-entropy teaches both aims, T falling from 1 to 0.01 geometrically. The error term of the base stays: with it dropped, as
    in SAEBench, a dictionary loses on isolation merely for reconstructing badly. Raises ShapeMismatch.
    """
    mu = torch.zeros(dictionary.config.width, requires_grad=True)
    optimizer, draw, answers = (
        torch.optim.Adam([mu], lr=learning_rate),
        torch.Generator().manual_seed(seed),
        readout(learn),
    )
    for step in range(steps):
        which = torch.randint(len(learn.target), (batch,), generator=draw)
        mask = (mu / COLDEST ** (step / steps)).sigmoid()
        changed = interchanged(dictionary, learn.base[which], learn.source[which], mask)
        loss = F.cross_entropy(answers(changed, which), learn.target[which])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        mask, which = (mu > 0).float(), torch.arange(len(test.target))
        right = readout(test)(interchanged(dictionary, test.base, test.source, mask), which).argmax(-1) == test.target
    shares = (float(right[chosen].double().mean()) for chosen in (test.cause, ~test.cause))
    return Disentanglement(*shares, latents=int(mask.sum()))


def interchanged(
    dictionary: Dictionary, base: Float[Tensor, "B D"], source: Float[Tensor, "B D"], mask: Float[Tensor, " L"]
) -> Float[Tensor, "B D"]:
    """x_base with the masked share of the difference of codes, through the atoms: scale * sum_l m_l (f_source - f_base)_l d_l."""
    with torch.no_grad():
        moved = dictionary.encode(source).to_dense() - dictionary.encode(base).to_dense()
    return base + (moved * mask) @ dictionary.atoms.detach() * dictionary.scale

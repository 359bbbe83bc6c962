"""Interchange of latents: a mask that carries one attribute of an entity over to another and leaves the others where they are (RAVEL)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay.dictionary import Dictionary

COUNTS = (1, 4, 8, 16, 64, 256)
"""How many latents a mask may carry over, beside none and all that help."""

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
    """What a mask does on pairs that it was not made from. The mask that moves nothing has cause 0, isolation 1 and so 0.5."""

    right: tuple[bool, ...]
    """Whether a pair was answered as it should be."""
    cause: float
    """Share of the cause pairs that were."""
    isolation: float
    """Share of the others that were."""
    latents: int
    """Latents that the mask carries over."""

    @property
    def score(self) -> float:
        """Mean of cause and isolation."""
        return (self.cause + self.isolation) / 2


def disentangle(
    dictionary: Dictionary,
    learn: tuple[Pairs, Readout],
    test: tuple[Pairs, Readout],
    *,
    batch: int = 32,
    counts: Sequence[int] = COUNTS,
) -> Disentanglement:
    """Make a mask over latents from some pairs and try it on others.

        x' = x_base + decode(f_base + m (f_source - f_base)) - decode(f_base)
        a_l = -(dL/dm_l at m = 0) - (dL/dm_l at m = 1),  L the summed cross-entropy of the answers in nats
        m_l = 1 for the n latents of largest a_l > 0

    n is 0, all of them or one of `counts`: what scores highest on the pairs to learn from, the fewest among equals. One cross-entropy
    ranks latents for both aims. RAVEL (arXiv:2402.17700) trains the mask, which takes many times as long; none of the latents is one
    of the choices here, so that only what differs between the pairs can bring the score below 0.5. The error term of the base stays:
    with it dropped, as in SAEBench, a dictionary loses on isolation merely for reconstructing badly. Raises ShapeMismatch.
    """
    effect = torch.stack([_effect(dictionary, *learn, mask, batch) for mask in (0.0, 1.0)]).sum(0)
    order = effect.argsort(descending=True, stable=True)
    most = int((effect > 0).sum())

    def tried(count: int, pairs: Pairs, answers: Readout) -> Disentanglement:
        mask = torch.zeros(dictionary.config.width)
        mask[order[:count]] = 1
        right = answered(dictionary, pairs, answers, mask)
        shares = (float(right[chosen].double().mean()) for chosen in (pairs.cause, ~pairs.cause))
        return Disentanglement(tuple(right.tolist()), *shares, latents=count)

    choices = [0, *(count for count in counts if count < most), most]
    best = max(choices, key=lambda count: (tried(count, *learn).score, -count))
    return tried(best, *test)


@torch.no_grad()
def answered(dictionary: Dictionary, pairs: Pairs, answers: Readout, mask: Float[Tensor, " L"]) -> Bool[Tensor, " P"]:
    """Whether each pair is answered as it should be with the mask's latents carried over."""
    changed = interchanged(dictionary, pairs.base, pairs.source, mask)
    return answers(changed, torch.arange(len(pairs.target))).argmax(-1) == pairs.target


def _effect(dictionary: Dictionary, pairs: Pairs, answers: Readout, mask: float, batch: int) -> Float[Tensor, " L"]:
    """-dL/dm where all of the mask is `mask`, summed over the pairs."""
    found = torch.zeros(dictionary.config.width)
    for which in torch.arange(len(pairs.target)).split(batch):
        m = torch.full_like(found, mask).requires_grad_()
        changed = interchanged(dictionary, pairs.base[which], pairs.source[which], m)
        loss = F.cross_entropy(answers(changed, which), pairs.target[which], reduction="sum")
        found -= torch.autograd.grad(loss, m)[0]
    return found


def interchanged(
    dictionary: Dictionary, base: Float[Tensor, "B D"], source: Float[Tensor, "B D"], mask: Float[Tensor, " L"]
) -> Float[Tensor, "B D"]:
    """x_base with the masked share of the difference of codes, through the atoms: scale * sum_l m_l (f_source - f_base)_l d_l."""
    with torch.no_grad():
        moved = dictionary.encode(source).to_dense() - dictionary.encode(base).to_dense()
    return base + (moved * mask) @ dictionary.atoms.detach() * dictionary.scale

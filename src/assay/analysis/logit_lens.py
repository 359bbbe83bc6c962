"""What an atom does to the next token if nothing later changed it: its product with the unembedding (logit lens)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from assay.dictionary import Dictionary


@dataclass(frozen=True)
class TokenEffects:
    """Token ids with the change of their logit for one unit of code, before the final norm's division."""

    raised: tuple[tuple[int, float], ...]
    """Largest first."""
    lowered: tuple[tuple[int, float], ...]
    """Most negative first."""


@torch.no_grad()
def token_effects(
    dictionary: Dictionary,
    latents: list[int],
    unembedding: Float[Tensor, "V D"],
    norm_scale: Float[Tensor, " D"] | None,
    count: int = 8,
) -> list[TokenEffects]:
    """W_U (gamma * scale * atom), centred over the vocabulary, for each latent; gamma is the final norm's scale.

    The division by the final norm's root mean square is left out, since it depends on the context: sizes compare within one latent.
    Meaningful for dictionaries of the residual stream. Source: nostalgebraist 2020.
    """
    atoms = dictionary.atoms[latents] * (dictionary.target_scale if dictionary.config.maps_to else dictionary.scale)
    weighted = atoms if norm_scale is None else atoms * norm_scale
    logits = weighted.to(unembedding.dtype) @ unembedding.T
    logits -= logits.mean(-1, keepdim=True)
    return [TokenEffects(_ranked(row, count), tuple((t, -v) for t, v in _ranked(-row, count))) for row in logits]


def _ranked(logits: Tensor, count: int) -> tuple[tuple[int, float], ...]:
    values, tokens = logits.topk(min(count, len(logits)))
    return tuple(zip(tokens.tolist(), values.tolist(), strict=True))

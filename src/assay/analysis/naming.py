"""What an atom is called: the entries of a vocabulary whose embeddings lie furthest along it, on either side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Names:
    """Entries of the vocabulary with their scores, largest first."""

    positive: tuple[tuple[str, float], ...]
    """By u . (t - mu): what a positive code means."""
    negative: tuple[tuple[str, float], ...]
    """By -u . (t - mu): what a negative code means, where codes have signs."""


@torch.no_grad()
def name_atoms(
    atoms: Float[Tensor, "N D"],
    vocabulary: Sequence[str],
    embeddings: Float[Tensor, "V D"],
    mean: Float[Tensor, " D"] | None = None,
    count: int = 8,
) -> list[Names]:
    """The entries t with the largest s * u_j . (t - mu) for each atom j and sign s; mu is the mean of the embeddings unless given.

    Embeddings of texts and what the dictionary was trained on must live in one space; where they are apart in it, as the images and the
    captions of CLIP are, each has its own mean. Source: CEDAR (arXiv:2605.22679).
    """
    centred = embeddings - (embeddings.mean(0) if mean is None else mean)
    scores = atoms.to(centred) @ centred.T
    return [Names(_ranked(row, vocabulary, count), _ranked(-row, vocabulary, count)) for row in scores]


def _ranked(scores: Tensor, vocabulary: Sequence[str], count: int) -> tuple[tuple[str, float], ...]:
    values, entries = scores.topk(min(count, len(scores)))
    return tuple(
        (vocabulary[int(entry)], value) for entry, value in zip(entries.tolist(), values.tolist(), strict=True)
    )

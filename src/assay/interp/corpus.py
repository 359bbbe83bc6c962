"""Text as a model read it, token by token, with the activation at each: what explanations are found on and judged by."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from assay.activations.order import key
from assay.activations.produce import evaluating, rows_kept
from assay.activations.source import TextSource
from assay.sites import Site, capture

CONTEXTS = 8
"""Contexts that run at once."""


@dataclass(frozen=True, eq=False)
class Corpus:
    """N tokens in the order in which they were read."""

    activations: Float[Tensor, "N D"]
    pieces: tuple[str, ...]
    """Text of each token, as it stands in its document."""
    origin: Int[Tensor, "N 2"]
    """(document, position in it) of each token."""

    def __len__(self) -> int:
        return len(self.pieces)

    @cached_property
    def stretches(self) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """Where the stretch of each token begins, and one past its end: tokens that follow each other in one document and context."""
        document, position = self.origin.numpy().astype(np.int64).T
        follows = (np.diff(document) == 0) & (np.diff(position) == 1)
        starts = np.flatnonzero(np.concatenate([[True], ~follows]))
        number = np.concatenate([[0], np.cumsum(~follows)])
        return starts[number], np.append(starts[1:], len(self))[number]

    def windows(self, length: int) -> tuple[Int[np.ndarray, " N"], Int[np.ndarray, " N"]]:
        """First token, and one past the last, of the window of each token: `length` tokens of its stretch, with it in the middle.

        Near an end of the stretch the window is moved inward; a shorter stretch is a window as it is.
        """
        first, end = self.stretches
        low = np.minimum(np.arange(len(self)) - length // 2, end - length).clip(first)
        return low, np.minimum(low + length, end)

    def held_back(self, seed: int) -> Bool[np.ndarray, " N"]:
        """Which tokens are of the half of the documents that no explanation is made from; decided by (seed, document) alone."""
        documents, number = np.unique(self.origin[:, 0].numpy(), return_inverse=True)
        chosen = np.array([key("explanations", seed, int(document)) >= 2**62 for document in documents])
        return chosen[number]


def read_corpus(model: nn.Module, site: Site, source: TextSource, tokens: int) -> Corpus:
    """The first `tokens` kept tokens of a source (all, if it has fewer) with their activations at a site, in float32.

    Raises what `sites.capture` raises, StoreError, ShapeMismatch.
    """
    activations, origins, found = [], [], 0
    device = next(model.parameters()).device
    with evaluating(model):
        for start in range(0, len(source), CONTEXTS):
            inputs = source.inputs(start, min(start + CONTEXTS, len(source)))
            read = capture(model, [site], **{name: value.to(device) for name, value in inputs.arguments.items()})[site]
            activations.append(rows_kept(site, read, inputs).cpu().float())
            origins.append(inputs.origin[inputs.keep])
            found += len(origins[-1])
            if found >= tokens:
                break
    origin = torch.cat(origins)[:tokens].long()
    return Corpus(torch.cat(activations)[:tokens], _pieces(source, origin), origin)


def _pieces(source: TextSource, origin: Int[Tensor, "N 2"]) -> tuple[str, ...]:
    last: dict[int, int] = {}
    for document, position in origin.tolist():
        last[document] = max(last.get(document, 0), position)
    texts = {document: source.text(document, 0, end + 1) for document, end in last.items()}
    return tuple(texts[document][position] for document, position in origin.tolist())

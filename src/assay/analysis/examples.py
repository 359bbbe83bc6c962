"""A latent's page: how often it fires, the contexts in which it does, and the tokens that its atom raises and lowers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import torch
from torch import Tensor

from assay.activations.source import TextSource
from assay.activations.store import ActivationStore
from assay.analysis.firings import Firing, LatentFirings, RowIndex, find_firings
from assay.analysis.logit_lens import TokenEffects, token_effects
from assay.config import Config
from assay.dictionary import Dictionary
from assay.record import Number

BEFORE, AFTER = 14, 6
"""Tokens shown before and after the firing."""
QUANTILES = 4
"""Equal parts of the sample of firings, weakest first."""


class TokenScore(Config):
    """A token and how far the atom moves its logit."""

    token: str
    score: Number


class Example(Config):
    """A stretch of text around one firing."""

    kind: Literal["top", "quantile"]
    """Among the strongest firings, or drawn from a quantile of all firings."""
    low: Number
    """Lower bound of its quantile, as a share of all firings; 1 for a top one."""
    high: Number
    """Upper bound."""
    document: int
    position: int
    """Token position of the firing in its document."""
    tokens: tuple[str, ...]
    values: tuple[Number, ...]
    """Value of the latent at each token; zero where it does not fire or the token was not harvested."""
    peak: int
    """Which of the tokens the firing is at."""


class LatentPage(Config):
    """All that is shown of one latent."""

    arm: str
    latent: int
    density: Number
    """Share of tokens on which it fires."""
    maximum: Number
    """Its largest value on the harvested rows."""
    raised: tuple[TokenScore, ...]
    lowered: tuple[TokenScore, ...]
    examples: tuple[Example, ...]


def describe_latents(
    arm: str,
    dictionary: Dictionary,
    store: ActivationStore,
    source: TextSource,
    readout: tuple[Tensor, Tensor | None] | None,
    latents: list[int] | None = None,
    *,
    count: int = 12,
    top: int = 4,
) -> list[LatentPage]:
    """Pages of `latents`, or of the `count` most telling ones (`Firings.telling`).

    `readout` is the unembedding [V D] and the final norm's scale; without it no tokens are listed. Raises StoreError.
    """
    firings = find_firings(dictionary, store, top=top)
    chosen = firings.telling(count) if latents is None else latents
    index = RowIndex(store)
    effects = token_effects(dictionary, chosen, *readout) if readout else [TokenEffects((), ()) for _ in chosen]
    return [
        LatentPage(
            arm=arm,
            latent=latent,
            density=seen.density,
            maximum=seen.maximum,
            raised=_scores(effect.raised, source),
            lowered=_scores(effect.lowered, source),
            examples=tuple(
                _example(dictionary, latent, firing, index, source, kind, bounds)
                for kind, bounds, firing in _chosen(seen)
            ),
        )
        for latent, effect in zip(chosen, effects, strict=True)
        for seen in [firings.of(latent)]
    ]


def _chosen(seen: LatentFirings) -> Iterator[tuple[Literal["top", "quantile"], tuple[float, float], Firing]]:
    """The strongest firings, then one from the middle of each quantile of the sample, strongest quantile first."""
    for firing in seen.top:
        yield "top", (1.0, 1.0), firing
    size = len(seen.sample)
    for part in reversed(range(QUANTILES)):
        members = seen.sample[part * size // QUANTILES : (part + 1) * size // QUANTILES]
        if members:
            yield "quantile", (part / QUANTILES, (part + 1) / QUANTILES), members[len(members) // 2]


@torch.no_grad()
def _example(
    dictionary: Dictionary,
    latent: int,
    firing: Firing,
    index: RowIndex,
    source: TextSource,
    kind: Literal["top", "quantile"],
    bounds: tuple[float, float],
) -> Example:
    start = max(firing.position - BEFORE, 0)
    tokens = source.text(firing.document, start, firing.position + AFTER + 1)
    found, activations = index.activations(firing.document, torch.arange(start, start + len(tokens)))
    rows, latents, values = dictionary.encode(dictionary.pair(activations)[0]).entries()
    here = torch.zeros(len(tokens))
    here[found[rows[latents == latent]]] = values[latents == latent].float()
    return Example(
        kind=kind,
        low=bounds[0],
        high=bounds[1],
        document=firing.document,
        position=firing.position,
        tokens=tuple(tokens),
        values=tuple(here.tolist()),
        peak=firing.position - start,
    )


def _scores(pairs: tuple[tuple[int, float], ...], source: TextSource) -> tuple[TokenScore, ...]:
    return tuple(TokenScore(token=source.token_text(token), score=score) for token, score in pairs)

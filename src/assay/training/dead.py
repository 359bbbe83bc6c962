"""Latents that no longer fire: counted by tokens since they last did, and brought back by resampling (Bricken et al. 2023)."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from assay import ops, ranks
from assay.dictionary import Dictionary, Pass, Step

RESAMPLED_NORM = 0.2
"""Norm of a new encoder row, as a share of the mean norm of the living ones."""


class DeadLatents:
    """Counts tokens since each latent fired; a latent is dead after `window` silent tokens."""

    def __init__(self, width: int, window: int, device: torch.device) -> None:
        self.window = window
        self.silent: Int[Tensor, " L"] = torch.zeros(width, dtype=torch.int64, device=device)

    def update(self, result: Pass) -> None:
        """Count one batch."""
        parts = ranks.batch()
        self.silent += len(result.codes) * (parts.size if parts else 1)
        self.silent[ranks.batch_sum(result.codes.firings()) > 0] = 0

    def mask(self) -> Bool[Tensor, " L"]:
        """Which latents are dead."""
        return self.silent >= self.window


@torch.no_grad()
def resample(
    dictionary: Dictionary, dead: Bool[Tensor, " L"], step: Step, result: Pass, generator: torch.Generator
) -> Int[Tensor, " R"]:
    """Point dead latents at inputs that are reconstructed badly; returns which latents were changed.

    Inputs are drawn with probability proportional to their squared loss. An atom becomes the drawn direction x - b_dec, the encoder row
    the same direction at 0.2 times the mean norm of living rows, every other parameter of the latent what it was at the start. The
    batch at hand stands for the paper's sample of 819,200 inputs. The caller clears the optimiser's moments.
    """
    latents = dead.nonzero().view(-1)
    if not len(latents):
        return latents
    loss = ranks.batch_rows((step.target - result.reconstruction).square().sum(-1))
    probabilities = loss.square().double().cpu()
    if not probabilities.sum() > 0:
        return latents[:0]
    drawn = torch.multinomial(probabilities, len(latents), replacement=True, generator=generator).to(step.x.device)
    norms = ranks.whole(getattr(dictionary, "encoder", dictionary.atoms).norm(dim=-1))
    living = norms[~dead].mean() if not dead.all() else torch.ones(())
    directions = ranks.batch_rows(step.target)[drawn] - dictionary.decoder_bias
    read = ranks.batch_rows(step.x)[drawn] if dictionary.config.maps_to else None
    dictionary.reset_latents(latents, directions, RESAMPLED_NORM * float(living), read)
    return latents


def explained_variance(result: Pass, target: Float[Tensor, "B D"]) -> float | None:
    """1 - sum ||xhat - x||^2 / sum ||x - mean x||^2 over the whole batch, None where x does not vary; evaluation has its own metric."""
    variance = ranks.batch_mean((target - ranks.batch_mean(target.mean(0))).square().sum(-1).mean())
    error = ranks.batch_mean(ops.squared_error(result.reconstruction.detach(), target))
    return float(1 - error / variance) if variance > 0 else None

"""Latents that fire so often that they can hardly stand for one thing: how many there are, and how much of all firing is theirs."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from assay.metric import Metric, Rows


class _Frequent(Metric, abstract=True):
    """Counts rows and firings."""

    share: ClassVar[float]

    def __init__(self) -> None:
        self.rows, self.firings = 0, torch.zeros(0, dtype=torch.float64)

    def update(self, batch: Rows) -> None:
        if len(batch.codes):
            self.rows += len(batch.codes)
            now = batch.codes.firings().double().cpu()
            self.firings = now + self.firings if len(self.firings) else now

    def value(self) -> float:
        often = self.firings > self.share * self.rows
        return float(self.of(often)) if self.rows else float("nan")

    @abstractmethod
    def of(self, often: Tensor) -> Tensor:
        """The number, given which latents fire more often than the share."""


class _Latents(_Frequent, abstract=True):
    def of(self, often: Tensor) -> Tensor:
        return often.double().mean()


class _Firings(_Frequent, abstract=True):
    def of(self, often: Tensor) -> Tensor:
        return self.firings[often].sum() / self.firings.sum()


class Over1Percent(_Latents, name="over_1_percent", unit="share of latents", better="target", reads="rows"):
    """|{l : E 1[f_l ≠ 0] > 0.01}| / L"""

    share = 0.01


class Over10Percent(_Latents, name="over_10_percent", unit="share of latents", better="lower", reads="rows"):
    """|{l : E 1[f_l ≠ 0] > 0.1}| / L"""

    share = 0.1


class FiringsOver1Percent(
    _Firings, name="firings_over_1_percent", unit="share of firings", better="target", reads="rows"
):
    """Σ over l with d_l > 0.01 of d_l / Σ d_l, d_l = E 1[f_l ≠ 0]"""

    share = 0.01


class FiringsOver10Percent(
    _Firings, name="firings_over_10_percent", unit="share of firings", better="lower", reads="rows"
):
    """Σ over l with d_l > 0.1 of d_l / Σ d_l, d_l = E 1[f_l ≠ 0]"""

    share = 0.1

"""The learning rate as a pure function of the step: warm-up, plateau, decay, and a dip after every resampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Schedule:
    """Factor on the peak learning rate at each step.

    Linear warm-up over `warmup` of the steps; linear decay to zero over the last `decay`; after each step in `dips` the factor falls
    to a tenth and climbs back along a cosine within `dip_steps` (Gated SAE paper, appendix D).
    """

    steps: int
    warmup: float
    decay: float
    dips: Sequence[int] = ()
    dip_steps: int = 1000

    def at(self, step: int) -> float:
        """The factor for step `step`, counted from zero; never zero within the run."""
        rise = (step + 1) / max(self.warmup * self.steps, 1)
        fall = (self.steps - step) / max(self.decay * self.steps, 1)
        return min(rise, fall, 1.0) * self._dip(step)

    def _dip(self, step: int) -> float:
        since = min((step - dip for dip in self.dips if dip <= step), default=self.dip_steps)
        if since >= self.dip_steps:
            return 1.0
        return 0.1 + 0.9 * (1 - math.cos(math.pi * since / self.dip_steps)) / 2

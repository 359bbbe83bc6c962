"""What a training says of itself at a logged step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One dictionary on one training batch."""

    loss: float | None
    """Weighted sum of the terms; None, like every number here, where it is not finite."""
    terms: dict[str, float | None]
    """Unweighted terms by name."""
    l0: float
    """Mean active latents a row."""
    explained_variance: float | None
    """1 - error / variance, on this batch; None too where the batch does not vary."""
    dead: float | None
    """Share of latents silent for the window; None for a dictionary that learns nothing, which is looked at in logged steps alone."""
    nonfinite: int = 0
    """Steps so far whose loss was not finite."""


@dataclass(frozen=True)
class Progress:
    """The state of training after a logged step."""

    step: int
    """Steps done."""
    tokens: int
    """Rows seen, each epoch's counted."""
    learning_rate: float
    arms: dict[str, Measured]
    seconds: float
    """Since this call began."""
    rows_read: int
    """Rows seen since this call began."""
    waiting: float
    """Share of that time spent waiting for data."""

    def record(self) -> dict[str, Any]:
        """The part of it that does not depend on the clock."""
        arms = {name: vars(arm) for name, arm in self.arms.items()}
        return {"step": self.step, "tokens": self.tokens, "learning_rate": self.learning_rate, "arms": arms}

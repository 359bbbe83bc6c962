"""What every number is held against: dictionaries that learnt nothing, with as many active latents as one that did."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor

from assay.dictionary import Dictionary
from assay.errors import ConfigError, shown
from assay.run.settings import EvaluateSettings

ROWS = 1024
"""Rows that tell the L0 of an arm."""


@torch.no_grad()
def baselines(
    settings: EvaluateSettings, arms: Mapping[str, Dictionary], sample: Float[Tensor, "N D"]
) -> dict[str, Dictionary]:
    """The baselines, fitted to a sample; none where every arm maps a site to another. Raises UnknownName, ConfigError."""
    able = {name: arm for name, arm in arms.items() if not arm.config.maps_to}
    if not settings.baselines or not able:
        return {}
    l0 = {name: float(arm.encode(sample[:ROWS]).l0().mean()) for name, arm in able.items()}
    chosen = settings.baselines_at or sorted(l0, key=l0.__getitem__)[(len(l0) - 1) // 2]
    if chosen not in able:
        raise ConfigError(
            f"evaluate.baselines_at = {shown(chosen)}", expected=f"one of {', '.join(able)}", do="Correct it."
        )
    made = {name: config.build() for name, config in settings.beside(able[chosen].config, l0[chosen]).items()}
    for dictionary in made.values():
        dictionary.start(sample)
    return made

"""Models side by side, as one: the same tokens go to each, and sites of all of them can be read and replaced together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

JOINT = " + "
"""Stands between the names of what is read side by side: models, or sites."""


class Beside(nn.Module):
    """Models called "0", "1" and so on: a site of the second is "1/resid_post.9". What a forward returns is what the first one does."""

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        for number, model in enumerate(models):
            self.add_module(str(number), model)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        first, *_ = [model(*args, **kwargs) for model in self.children()]
        return first

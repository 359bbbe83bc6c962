"""The threshold that takes the place of a choice across the batch when single rows are encoded."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from assay.codes import SparseCodes


@torch.no_grad()
def running_threshold(
    threshold: Float[Tensor, ""], learnt: Float[Tensor, ""], codes: SparseCodes, memory: float
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The running mean of the smallest positive value of each batch after one batch more, and what share of it was learnt.

    With v_t that value in batch t and m the memory: threshold_T = sum_t m^(T-t) v_t / sum_t m^(T-t), learnt_T = 1 - m^T. Both stay
    as they are where nothing is positive.
    """
    least = codes.least_positive()
    if not least.isfinite():
        return threshold, learnt
    learnt = learnt.lerp(torch.ones_like(learnt), 1 - memory)
    return threshold.lerp(least.to(threshold), (1 - memory) / float(learnt)), learnt

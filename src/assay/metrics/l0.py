"""How many latents speak for a row."""

from __future__ import annotations

from torch import Tensor

from assay.metric import Rows, Summed


class L0(Summed, name="l0", unit="latents per token", better="target", reads="rows"):
    """E |{l : f_l ≠ 0}|

    The mean number of active latents of a row. A stored code of zero is not active.
    """

    def parts(self, batch: Rows) -> Tensor:
        return batch.codes.l0().double()[:, None]

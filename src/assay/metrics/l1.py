"""How loudly latents speak for a row, all together."""

from __future__ import annotations

from torch import Tensor

from assay.metric import Rows, Summed


class L1(Summed, name="l1", unit="scaled activation per token", better="target", reads="rows"):
    """E Σ_l |f_l|

    In the dictionary's scale, where E‖x‖² = 1; with the atoms' lengths as they are.
    """

    def parts(self, batch: Rows) -> Tensor:
        return batch.codes.support.per_row(batch.codes.values.abs().double())[:, None]

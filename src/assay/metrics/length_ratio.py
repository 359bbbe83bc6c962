"""How long reconstructions are, whatever their direction."""

from __future__ import annotations

import torch
from torch import Tensor

from assay.metric import Rows, Summed, quotient


class LengthRatio(Summed, name="length_ratio", unit="ratio of lengths", better="target", reads="rows"):
    """E ‖x̂‖ / ‖x‖, on raw activations

    Even the best reconstruction is shorter than x where it misses something: 1 is not what to aim for, and the reconstruction bias says
    more about shrinkage. Rows of zeros are left out.
    """

    def parts(self, batch: Rows) -> Tensor:
        x, reconstruction = batch.x.double().norm(dim=-1), batch.reconstruction.double().norm(dim=-1)
        return torch.stack([quotient(reconstruction, x).nan_to_num(0.0), (x > 0).double()], 1)

    @staticmethod
    def of(sums: Tensor) -> Tensor:
        return quotient(sums[..., 0], sums[..., 1])

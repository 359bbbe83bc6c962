"""How well reconstructions point the way the activations do, whatever their length."""

from __future__ import annotations

from torch import Tensor

from assay.metric import Rows, Summed


class Cosine(Summed, name="cosine", unit="cosine", better="higher", reads="rows"):
    """E cos(x, x̂), on raw activations

    The mean over rows, the activations' mean included in both. A row of which one side is zero counts as 0.
    """

    def parts(self, batch: Rows) -> Tensor:
        x, reconstruction = batch.x.double(), batch.reconstruction.double()
        lengths = x.norm(dim=-1) * reconstruction.norm(dim=-1)
        return ((x * reconstruction).sum(-1) / lengths).where(lengths > 0, 0.0)[:, None]

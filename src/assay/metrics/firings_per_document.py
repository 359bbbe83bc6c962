"""Whether a latent keeps firing once a document has set it off: one that speaks of a topic does, one that speaks of a word does not."""

from __future__ import annotations

import torch

from assay.metric import Metric, Rows, quotient


class FiringsPerDocument(
    Metric,
    name="firings_per_document",
    unit="tokens per document in which a latent fires",
    better="target",
    reads="rows",
):
    """mean over latents that fired of (rows with f_l ≠ 0) / (documents with such a row)

    Documents here are at most 256 groups of documents, where there are more. Not defined where the documents are not known.
    """

    def __init__(self) -> None:
        self.firings = torch.zeros(0, dtype=torch.int64)
        self.fired = torch.zeros(0, 0, dtype=torch.bool)

    def update(self, batch: Rows) -> None:
        if batch.documents is None or not len(batch.codes):
            return
        rows, latents, _ = (part.cpu() for part in batch.codes.entries())
        documents, width = batch.documents.cpu(), batch.codes.width
        more = int(documents.max()) + 1 - len(self.fired)
        fired = torch.cat([self.fired.view(-1, width), torch.zeros(max(more, 0), width, dtype=torch.bool)])
        self.fired = fired.index_put_((documents[rows], latents), torch.tensor(True))
        self.firings = torch.bincount(latents, minlength=width) + (self.firings if len(self.firings) else 0)

    def value(self) -> float:
        return float(quotient(self.firings.double(), self.fired.sum(0).double()).nanmean())

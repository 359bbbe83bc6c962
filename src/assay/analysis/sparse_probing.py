"""How much of what a model knows of a text stands in a few latents: probes on the k columns that tell two classes apart best.

Source: SAEBench (arXiv:2503.09532). The field's code draws as many texts of a class as of all others and counts hits; here all texts
are used, with weights, and hits are counted by class (balanced accuracy), which has the same expectation and less noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from assay.analysis import probes
from assay.analysis.pooling import PooledCodes

DENSE_PENALTY = 0.1
"""That of a probe on all channels, of which there may be as many as texts: the best of 0.01, 0.1, 1 and 10 for SmolLM2."""


@dataclass(frozen=True, eq=False)
class Quality:
    """How well probes tell each of C classes from the rest, on texts that they were not fitted to."""

    accuracy: Float[Tensor, " C"]
    """Balanced accuracy."""
    f1: Float[Tensor, " C"]
    auc: Float[Tensor, " C"]
    hits: Float[Tensor, "T C"]
    """What each text adds to the balanced accuracy."""

    @property
    def mean(self) -> float:
        """Mean balanced accuracy."""
        return float(self.accuracy.mean())

    def by_class(self, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """The three of them by name of the class."""
        rows = zip(names, self.accuracy.tolist(), self.f1.tolist(), self.auc.tolist(), strict=True)
        return {name: {"accuracy": accuracy, "f1": f1, "auc": auc} for name, accuracy, f1, auc in rows}


def k_sparse(
    codes: PooledCodes, y: Bool[Tensor, "T C"], test: Bool[Tensor, " T"], sizes: Sequence[int]
) -> dict[int, Quality]:
    """For each k, probes on the k columns with the largest |E[f | class] - E[f | not the class]| over the texts to train on."""
    differences = codes.differences(y, ~test)
    found: dict[int, list[Quality]] = {k: [] for k in sizes}
    for number, difference in enumerate(differences):
        chosen = probes.largest_differences(difference, max(sizes))
        columns, member = codes.columns(chosen), y[:, number : number + 1]
        for k in sizes:
            found[k].append(_tried(columns[:, :k], member, test, probes.PENALTY))
    return {k: _joined(parts) for k, parts in found.items()}


def dense(
    x: Float[Tensor, "T D"], y: Bool[Tensor, "T C"], test: Bool[Tensor, " T"], penalty: float = DENSE_PENALTY
) -> Quality:
    """Probes on all columns of a table."""
    return _tried(x, y, test, penalty)


def _tried(x: Tensor, y: Tensor, test: Tensor, penalty: float) -> Quality:
    logits, so = probes.fit(x[~test], y[~test], penalty).logits(x[test]), y[test]
    return Quality(
        probes.balanced_accuracy(logits, so), probes.f1(logits, so), probes.auc(logits, so), probes.hits(logits, so)
    )


def _joined(parts: Sequence[Quality]) -> Quality:
    return Quality(
        torch.cat([part.accuracy for part in parts]),
        torch.cat([part.f1 for part in parts]),
        torch.cat([part.auc for part in parts]),
        torch.cat([part.hits for part in parts], 1),
    )

"""Sparse probing: can a class of texts be read off a few latents, and off fewer than it takes raw channels or principal axes?"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from assay.analysis import probes
from assay.analysis.pooling import PooledCodes, Read, TextSettings, pool, read_labelled
from assay.analysis.sparse_probing import Quality, dense, k_sparse
from assay.dictionary import Dictionary
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task

SIZES = (1, 2, 5, 16)
SETS = {"sentiment": ("sentiment",), "newsgroups": ("group",), "jobs": ("job", "pronoun")}
LEAST = 0.6
"""Balanced accuracy that a probe on all channels must have, or there is nothing to look for."""


def _kinds(name: str, what: str) -> dict[str, ScoreKind]:
    formula = (
        "mean over classes of the balanced accuracy of a probe on the {k} {what} with the largest |difference of means|"
    )
    return {f"{name}_{k}": ScoreKind(formula.format(k=k, what=what), "higher") for k in SIZES}


class SparseProbing(Task, name="sparse_probing", suite="probing", paper="arXiv:2503.09532"):
    """Logistic regression on the k columns of pooled codes that differ most between the texts of a class and all others.

    Pooled: the mean over a text's tokens. Beside it the same on raw channels and on principal axes of what dictionaries were trained on,
    and a probe on all channels, which is what there is to be read at all. Balanced accuracy on texts not fitted to: 1/2 is chance. Each
    set counts alike, whatever its number of classes. A set that even the probe on all channels can't read is left out, and it is said.
    """

    scores = {
        **_kinds("latents", "latents"),
        **_kinds("channels", "raw channels"),
        **_kinds("axes", "principal axes"),
        "dense": ScoreKind("mean over classes of the balanced accuracy of a probe on all raw channels", "target"),
    }

    class Config(Task.Config, TextSettings):
        """How much is read."""

    settings: Config

    def prepare(self) -> None:
        """Read the texts, and try the probes that need no dictionary."""
        bench = self.bench
        axes = probes.principal_axes(bench.sample)
        self.sets: dict[tuple[str, str], Read] = {}
        self.without: dict[tuple[str, str], tuple[Quality, dict[int, Quality], dict[int, Quality]]] = {}
        self.left_out: dict[str, float] = {}
        for name, attributes in SETS.items():
            read = read_labelled(name, *self.settings.sizes, bench.language_model, bench.site, bench.kept)
            for attribute in attributes:
                _, y = read.members(attribute)
                ceiling = dense(read.pooled, y, read.test)
                if ceiling.mean < LEAST:
                    self.left_out[f"{name}.{attribute}"] = ceiling.mean
                    continue
                channels, along_axes = (
                    k_sparse(PooledCodes.of(table), y, read.test, SIZES)
                    for table in (read.pooled, read.pooled @ axes.T)
                )
                self.sets[name, attribute] = read
                self.without[name, attribute] = ceiling, channels, along_axes
        if not self.sets:
            raise NotApplicable(
                f"probes on all channels of {bench.site} reach balanced accuracies of {self.left_out}; needed is {LEAST} for one set"
            )

    def score(self, dictionary: Dictionary) -> Scores:
        """Probes on the dictionary's pooled codes, beside those that need none."""
        codes: dict[str, PooledCodes] = {}
        values: dict[str, list[float]] = {name: [] for name in self.scores}
        details: dict[str, Any] = {"left_out": self.left_out}
        texts: dict[str, dict[str, Tensor]] = {f"latents_{k}": {} for k in SIZES}
        for (name, attribute), read in self.sets.items():
            if name not in codes:
                codes = {name: pool(dictionary, read.rows)}
            names, y = read.members(attribute)
            ceiling, channels, axes = self.without[name, attribute]
            latents = k_sparse(codes[name], y, read.test, SIZES)
            for what, found in (("latents", latents), ("channels", channels), ("axes", axes)):
                for k in SIZES:
                    values[f"{what}_{k}"].append(found[k].mean)
            for k in SIZES:
                shares, more = texts[f"latents_{k}"], latents[k].hits.mean(1) / len(self.sets)
                shares[name] = shares[name] + more if name in shares else more
            values["dense"].append(ceiling.mean)
            details[f"{name}.{attribute}"] = {
                **{f"latents_{k}": latents[k].by_class(names) for k in SIZES},
                "dense": ceiling.by_class(names),
            }
        items = {score: torch.cat(list(shares.values())) for score, shares in texts.items()}
        return Scores(
            {name: sum(found) / len(found) for name, found in values.items()},
            details,
            {score: (len(shares) * shares).tolist() for score, shares in items.items()},
        )

    def cost(self) -> tuple[Cost, Cost]:
        """What was read already costs nothing; seconds are those of one thread with SmolLM2 and a dictionary of 2,304 latents."""
        own, bench = self.settings, self.bench
        share = (own.train + own.test) / 1600
        reads = own.to_read(SETS, bench.language_model, bench.site, bench.kept)
        return Cost(shared=reads, seconds=5.0 * share), Cost(seconds=6.0 * share)

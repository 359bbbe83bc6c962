"""Meta-structure: whether atoms are sums of a few others, as a dictionary trained on the atoms finds out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from assay.analysis.meta_dictionary import Decomposition, decompose
from assay.dictionaries.batch_topk import BatchTopK
from assay.dictionaries.random import Random
from assay.dictionary import Dictionary
from assay.task import Cost, NotApplicable, ScoreKind, Scores, Task
from assay.training import TrainConfig
from assay.training.on_atoms import train_on_atoms

CHUNK = 2048
"""Rows that are encoded at once."""
BATCH = 1024
"""Atoms of a batch, as in SAEBench."""


class MetaStructure(Task, name="meta_structure", suite="probing", paper="arXiv:2503.09532"):
    """Explained variance of the atoms under a BatchTopK dictionary of a quarter of their number, with k = 4: low is atomic.

    Beside it the same on as many random directions. That is no small number: a meta-atom can copy an atom, so a quarter of them is
    explained by rote, and only what is above it is structure. Random atoms are atomic by this score, so it says nothing of what a
    dictionary has learnt; read it beside what it explains.

    Only latents that fire on the bench's sample take part, at unit norm: those that never fired keep the random atoms they began with.
    SAEBench takes 1,500 steps at 5e-4; here 400 at 2e-3 are the default, for time.
    """

    scores: ClassVar[Mapping[str, ScoreKind]] = {
        "explained": ScoreKind("1 - Σ‖d_i - d̂_i‖² / Σ‖d_i - mean d‖² over atoms that fire", "lower"),
        "explained_random": ScoreKind("the same of as many random unit atoms", "target"),
        "above_random": ScoreKind("explained - explained_random", "lower"),
    }

    class Config(Task.Config):
        """Settings of the meta dictionary."""

        share: float = Field(default=0.25, gt=0, le=1)
        """Meta-atoms, as a share of the atoms."""
        k: int = Field(default=4, ge=1)
        """Meta-atoms that compose an atom, on average."""
        steps: int = Field(default=400, ge=1)
        """Steps of its training."""
        learning_rate: float = Field(default=2e-3, gt=0, le=1)
        """Peak learning rate of its training."""
        rows: int = Field(default=8192, ge=1)
        """Rows of the bench's sample that say which latents fire."""

    settings: Config

    def prepare(self) -> None:
        """Nothing is shared but the random atoms, which wait for the first dictionary of their number."""

    def score(self, dictionary: Dictionary) -> Scores:
        alive = self.alive(dictionary)
        count = len(alive)
        needed = 2 * self.settings.k / self.settings.share
        if count < needed:
            raise NotApplicable(
                f"{count} of {dictionary.config.width} latents fire; needed are {needed:g}, for twice k meta-atoms"
            )
        found, random = self.composed(dictionary.atoms[alive]), self.random(count, dictionary.config.d_out)
        values = (found.explained_variance, random, found.explained_variance - random)
        kept = float(found.codes.l0().mean())
        shares = found.shares()
        own = {"explained": shares.tolist(), "above_random": (shares - random).tolist()}
        return Scores(dict(zip(self.scores, values, strict=True)), {"atoms": count, "k": kept}, own=own)

    def cost(self) -> tuple[Cost, Cost]:
        """Twice 400 steps with 576 meta-atoms in 576 dimensions; the random half is there once for all of a width."""
        return Cost(), Cost(seconds=1.0 + 13.0 * self.settings.steps / 400)

    @torch.no_grad()
    def alive(self, dictionary: Dictionary) -> Tensor:
        """Latents that fire on the sample."""
        rows = self.bench.sample[: self.settings.rows].float().split(CHUNK)
        return torch.stack([dictionary.encode(part).firings() for part in rows]).sum(0).nonzero().view(-1)

    def random(self, count: int, width: int) -> float:
        """What is explained of so many random atoms."""
        key = "meta_structure", count, width, self.settings.digest(), self.bench.seed
        if key not in self.bench.kept:
            drawn = Random.Config(d_in=width, width=count, seed=self.bench.seed).build()
            self.bench.kept[key] = self.composed(drawn.atoms).explained_variance
        return self.bench.kept[key]

    def composed(self, atoms: Float[Tensor, "N D"]) -> Decomposition:
        """Atoms by those of a BatchTopK dictionary that was trained on them."""
        count, width = atoms.shape
        settings, seed = self.settings, self.bench.seed
        carrier = Random.Config(d_in=width, width=count).build()
        with torch.no_grad():
            carrier.atoms.copy_(atoms)
        carrier.normalize_atoms()
        meta = BatchTopK.Config(d_in=width, width=int(settings.share * count), k=settings.k, seed=seed)
        training = TrainConfig(
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            seed=seed,
            dead_window=10 * count,
            log_every=settings.steps,
        )
        return decompose(carrier, train_on_atoms(carrier, meta, training, batch_size=BATCH))

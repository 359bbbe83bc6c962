"""SASA (arXiv:2606.06333) on features of one to four dimensions: a group each, where single atoms split them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import torch
import xxhash
from torch import Tensor

from assay.activations.store import ActivationStore
from assay.dictionary import Dictionary
from assay.training import TrainConfig, train
from tests.science.claims import Claim, trial
from tests.science.planted_arms import settings

SECTION = "3 SASA"
D, FEATURES, ACTIVE, RANK, GROUPS = 64, 32, 3, 6, 48
NUCLEAR = {"none": 0.0, "moderate": 0.003, "strong": 0.01}


@dataclass(frozen=True)
class Subspaces:
    """x = sum of 3 features + noise: feature i is a direction, uniform in a random subspace of 1 + i % 4 dimensions, times [0.5, 1.5]."""

    seed: int

    @cached_property
    def dimensions(self) -> Tensor:
        return 1 + torch.arange(FEATURES) % 4

    @cached_property
    def bases(self) -> Tensor:
        """Orthonormal rows [features 4 D], zero beyond a feature's dimension."""
        frames = torch.linalg.qr(torch.randn(FEATURES, D, 4, generator=self._generator("bases"))).Q.mT
        return frames * (torch.arange(4) < self.dimensions[:, None])[..., None]

    def contributions(self, features: Tensor, key: int) -> Tensor:
        """What each of these features adds to x, one row each."""
        generator = self._generator(f"directions {key}")
        inside = torch.randn(len(features), 4, generator=generator) * (
            torch.arange(4) < self.dimensions[features, None]
        )
        inside *= (torch.rand(len(features), 1, generator=generator) + 0.5) / inside.norm(dim=1, keepdim=True)
        return torch.einsum("ni,nid->nd", inside, self.bases[features])

    def sample(self, rows: int, key: int) -> tuple[Tensor, Tensor]:
        """Rows x, and the norm of what each feature adds to them [rows, features]."""
        generator = self._generator(f"sample {key}")
        feature = torch.rand(rows, FEATURES, generator=generator).topk(ACTIVE).indices.flatten()
        row = torch.arange(rows).repeat_interleave(ACTIVE)
        added = self.contributions(feature, key)
        x = 0.01 * torch.randn(rows, D, generator=generator)
        strengths = torch.zeros(rows, FEATURES).index_put((row, feature), added.norm(dim=1))
        return x.index_add(0, row, added), strengths

    def _generator(self, purpose: str) -> torch.Generator:
        return torch.Generator().manual_seed(xxhash.xxh3_64_intdigest(f"subspaces {self.seed} {purpose}".encode()) >> 1)


def correlations(a: Tensor, b: Tensor) -> Tensor:
    """Correlation of each column of a with each of b."""
    a, b = ((each - each.mean(0)) / (each.std(0, correction=0) * len(each) ** 0.5).clamp_min(1e-9) for each in (a, b))
    return a.T @ b


def holding_most(dictionary: Dictionary, planted: Subspaces) -> Tensor:
    """How many atoms, or groups, hold 90 % of the codes' energy over rows with this feature alone, at a third of the L0 of three."""
    config, counts = dictionary.config, []
    alone = config.revised({config.dial: config.dial_value() // ACTIVE}).build()
    alone.load_state_dict(dictionary.state_dict())
    for feature in range(FEATURES):
        x = planted.contributions(torch.full((256,), feature), key=2)
        energy = alone.encode(x).to_dense().detach().square().sum(0).view(-1, config.block).sum(1)
        share = energy.sort(descending=True).values.cumsum(0) / energy.sum()
        counts.append(int((share < 0.9).sum()) + 1)
    return torch.tensor(counts)


def effective_rank(rows: Tensor) -> float:
    """exp of the entropy of the eigenvalues of the rows' second moments."""
    spectrum = torch.linalg.svdvals(rows).square()
    spectrum = spectrum / spectrum.sum()
    return float(torch.exp(-(spectrum * spectrum.clamp_min(1e-12).log()).sum()))


def stable_rank(atoms: Tensor) -> float:
    """Mean over groups of ||D_k||_F^2 / sigma_1^2."""
    values = torch.linalg.svdvals(atoms.view(-1, RANK, D))
    return float((values.square().sum(1) / values[:, 0].square()).mean())


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """Spearman's, ties at their mean rank."""

    def ranks(values: Tensor) -> Tensor:
        return ((values[:, None] > values).sum(1) + (values[:, None] >= values).sum(1)).double()

    return float(correlations(ranks(a)[:, None], ranks(b)[:, None]))


@dataclass(frozen=True)
class Found:
    """What a dictionary of groups makes of features in rows of three."""

    firing: float
    """Mean over features of the best correlation of a group's norm with the feature's."""
    explained_variance: float
    rank: float
    """Spearman correlation, over features, of dimension and effective rank of what the best group adds where the feature is present."""
    stable_rank: float

    @classmethod
    @torch.no_grad()
    def of(cls, dictionary: Dictionary, planted: Subspaces) -> Found:
        x, strengths = planted.sample(8192, key=1)
        codes = dictionary.encode(x)
        error = (x - dictionary.decode(codes)).square().sum() / (x - x.mean(0)).square().sum()
        table, atoms = codes.to_dense().view(len(x), -1, RANK), dictionary.atoms.view(-1, RANK, D)
        best = correlations(strengths, table.norm(dim=2)).max(1)
        ranks = [
            effective_rank(table[strengths[:, feature] > 0, group] @ atoms[group])
            for feature, group in enumerate(best.indices.tolist())
        ]
        order = rank_correlation(torch.tensor(ranks), planted.dimensions)
        return cls(float(best.values.mean()), 1 - float(error), order, stable_rank(dictionary.atoms))


@trial(
    "32 subspaces of 1 to 4 dimensions in 64, 3 in a row, noise 0.01; 48 groups of 6, 3 kept, against TopK with as many latents and codes; "
    "2,000 steps of 256 rows; nuclear weight 0, 0.003 (moderate) and 0.01 where E||x||^2 = 1",
    Claim(
        SECTION, "subspace", "A group fires as a feature does", "best correlation of a group's norm, mean", ">= 0.75"
    ),
    Claim(SECTION, "subspace", "and the groups reconstruct", "explained variance", ">= 0.95"),
    Claim(
        SECTION,
        "topk",
        "Single atoms split features of two dimensions and more",
        "atoms that hold 90 % of the energy, per dimension",
        ">= 2",
    ),
    Claim(SECTION, "subspace", "which one group holds whole", "share of them that one group holds", ">= 0.9"),
    Claim(
        SECTION,
        "subspace",
        "A group's effective rank follows the feature's dimension",
        "Spearman correlation",
        ">= 0.8",
    ),
    Claim(
        SECTION,
        "subspace",
        "The stable rank of groups is inside (1, 6)",
        "distance of the stable rank to the nearer end",
        ">= 0.1",
    ),
    Claim(
        SECTION,
        "subspace",
        "and falls as the nuclear norm weighs more",
        "smallest fall from weight to weight",
        ">= 0.01",
    ),
)
def against_topk(seed: int) -> dict[str, float]:
    planted = Subspaces(seed)
    shape = {"d_in": D, "width": GROUPS * RANK, "seed": seed}
    dictionaries = {
        name: settings("subspace", **shape, rank=RANK, groups=ACTIVE, nuclear={"value": weight}).build()
        for name, weight in NUCLEAR.items()
    }
    dictionaries["topk"] = settings("topk", **shape, k=ACTIVE * RANK).build()
    store = ActivationStore.of(planted.sample(65_536, key=0)[0], batch_size=256, seed=seed)
    config = TrainConfig(steps=2000, learning_rate=2e-3, log_every=2000, dead_window=20_000)
    for _ in train(dictionaries, store, config):
        pass
    found = {name: Found.of(dictionaries[name], planted) for name in NUCLEAR}
    several, moderate = planted.dimensions > 1, found["moderate"]
    splits = holding_most(dictionaries["topk"], planted)[several] / planted.dimensions[several]
    stable = [found[name].stable_rank for name in NUCLEAR]
    return {
        "best correlation of a group's norm, mean": moderate.firing,
        "explained variance": moderate.explained_variance,
        "atoms that hold 90 % of the energy, per dimension": float(splits.mean()),
        "share of them that one group holds": float(
            (holding_most(dictionaries["moderate"], planted)[several] == 1).float().mean()
        ),
        "Spearman correlation": moderate.rank,
        "distance of the stable rank to the nearer end": min(moderate.stable_rank - 1, RANK - moderate.stable_rank),
        "smallest fall from weight to weight": min(a - b for a, b in pairwise(stable)),
    }

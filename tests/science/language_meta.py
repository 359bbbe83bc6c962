"""What the decomposability penalty (arXiv:2604.03436) does to a language model's latents.

Firing is that of inference, under the threshold that each dictionary has learnt: it does not depend on the batch.
"""

from __future__ import annotations

import re
from typing import Any

import torch

from assay.analysis.cofiring import co_firings, mean_absolute_phi
from assay.dictionary import Dictionary
from assay.record import Record
from assay.run.stages import DICTIONARIES, Workspace
from tests.science.claims import Claim
from tests.science.language import Reading, reading, records

SECTION = "9 MetaSAE"
CHUNK = 8192
T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t at 97.5 % for a number of pairs."""


@reading(
    "meta",
    "SmolLM2-135M, residual stream after block 9; 200,000 rows, 400 steps of 2,048; width 2,304, BatchTopK with k 32; penalty 0.3 against "
    "none, firing at each dictionary's own threshold",
    Claim(SECTION, "meta", "Latents fire more apart from one another", "|phi| over that without the penalty", "<= 0.95"),
    Claim(SECTION, "meta", "At a small cost of what is explained", "explained variance over that without", ">= -0.01"),
    Claim(SECTION, "meta", "Atoms are composed worse of one another", "meta's error over that without", ">= 1.05"),
)  # fmt: skip
def read(workspace: Workspace) -> Reading:
    rows = [row(workspace, record) for record in records(workspace)]
    at = {(each["arm"], each["seed"]): each for each in rows}
    figures = {
        seed: {
            "|phi| over that without the penalty": at["third", seed]["phi"] / at["solo", seed]["phi"],
            "explained variance over that without": at["third", seed]["explained_variance"]
            - at["solo", seed]["explained_variance"],
            "meta's error over that without": at["third", seed]["meta_error"] / at["solo", seed]["meta_error"],
        }
        for seed in workspace.run.seeds
    }
    against = [
        {
            "penalty": penalty,
            **{key: paired(rows, penalty, key) for key in ("phi", "explained_variance", "dead", "meta_error")},
        }
        for penalty in sorted({each["penalty"] for each in rows} - {0.0})
    ]
    return Reading(figures, {"against_solo": against, "rows": rows})


@torch.no_grad()
def row(workspace: Workspace, record: Record) -> dict[str, Any]:
    """One dictionary's figures."""
    dictionary = Dictionary.load(workspace.folder / DICTIONARIES / record.arm)
    shards = (part.float() for shard in workspace.store.shards() for part in shard.activations.split(CHUNK))
    codes = (dictionary.encode(x) for x in shards)
    fires = co_firings((each, each) for each in codes)
    composed = dictionary.composed(dictionary.atoms)
    return {
        "arm": re.sub(r"-.*", "", record.arm),
        "penalty": dictionary.config.decomposability.value,
        "seed": record.seed,
        "rows": fires.rows,
        "phi": mean_absolute_phi(fires),
        "dead": float((fires.here == 0).double().mean()),
        "meta_error": float((dictionary.atoms - composed).square().sum(-1).mean()),
        **{key: record.values[key] for key in ("l0", "explained_variance", "ce_clean", "ce_spliced")},
    }


def paired(rows: list[dict[str, Any]], penalty: float, key: str) -> dict[str, float]:
    """Mean difference from no penalty over the seeds, with its 95 % interval; for phi also relative."""
    values = {(each["penalty"], each["seed"]): each[key] for each in rows}
    solo = torch.tensor([values[0.0, seed] for other, seed in values if other == penalty])
    ours = torch.tensor([values[penalty, seed] for other, seed in values if other == penalty])
    gap = (ours - solo).double()
    half = T_975[len(gap)] * float(gap.std()) / len(gap) ** 0.5 if len(gap) > 1 else float("nan")
    mean = float(gap.mean())
    return {"difference": mean, "low": mean - half, "high": mean + half, "relative": mean / float(solo.mean())}

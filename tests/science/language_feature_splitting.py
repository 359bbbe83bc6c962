"""What splits from width to width, and which tokens have a latent of their own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from assay.activations.shard import Shard
from assay.activations.source import TextSource
from assay.analysis.completeness import completeness
from assay.analysis.splitting import find_children
from assay.codes import SparseCodes
from assay.dictionary import Dictionary
from assay.run.stages import Workspace, trained_arms
from tests.science.claims import Claim
from tests.science.language import Reading, reading

SECTION = "11 Scaling Monosemanticity"
CHUNK, EXAMPLES = 8192, 5
TOKENS = 2000
"""Commonest tokens that are concepts."""


@reading(
    "feature_splitting",
    "SmolLM2-135M, residual stream after block 9; 160,000 rows, 500 steps of 2,048; TopK of widths 576, 2,304 and 9,216, k 32, each with a "
    "seed of its own; concepts are the 2,000 commonest tokens, told by a latent where F1 >= 0.5",
    Claim(SECTION, "topk", "Latents of a narrow dictionary split in a wider one", "least share split", ">= 0.2"),
    Claim(SECTION, "topk", "A wider dictionary has latents for more concepts", "least growth of the share covered", ">= 0"),
    Claim(SECTION, "topk", "Commoner concepts have one sooner", "least slope over log frequency", ">= 0"),
    verb="train",
)  # fmt: skip
def read(workspace: Workspace) -> Reading:
    dictionaries = sorted(map(Dictionary.load, trained_arms(workspace)), key=lambda dictionary: dictionary.config.width)
    source, shards = workspace.source("train"), list(workspace.store.shards())
    tokens = tokens_of(shards, source)
    commonest = torch.bincount(tokens).topk(TOKENS).indices
    concept = torch.full((int(tokens.max()) + 1,), -1).index_put((commonest,), torch.arange(TOKENS))[tokens]
    rows = torch.cat([shard.activations for shard in shards])
    splitting = [split(*pair, rows) for pair in pairwise(dictionaries)]
    curves = [curve(dictionary, rows, concept) for dictionary in dictionaries]
    figures = {
        "least share split": min(each["share_split"] for each in splitting),
        "least growth of the share covered": min(
            wide["covered"] - narrow["covered"] for narrow, wide in pairwise(curves)
        ),
        "least slope over log frequency": min(each["slope"] for each in curves),
    }
    return Reading({0: figures}, {"splitting": splitting, "completeness": curves})


def split(narrow: Dictionary, wide: Dictionary, rows: Float[Tensor, "N D"]) -> dict[str, Any]:
    """Children of the narrow one's latents in the wide one."""
    found = find_children(narrow, wide, (part.float() for part in rows.split(CHUNK)))
    counts = found.counts()[found.fires.here > 0]
    most = found.counts().topk(EXAMPLES).indices.tolist()
    return {
        "widths": [narrow.config.width, wide.config.width],
        "children": torch.bincount(counts.clamp_max(10)).tolist(),
        "share_split": found.split(),
        "share_of_wide_with_a_parent": float(found.is_child.any(0)[found.fires.there > 0].double().mean()),
        "most_children": {latent: found.children(latent)[:10] for latent in most},
    }


def curve(dictionary: Dictionary, rows: Float[Tensor, "N D"], concept: Int[Tensor, " N"]) -> dict[str, Any]:
    """Has a token a latent that tells it (F1 >= 0.5)? By log frequency."""

    def pairs() -> Iterator[tuple[SparseCodes, SparseCodes]]:
        for x, label in zip(rows.split(CHUNK), concept.split(CHUNK), strict=True):
            known = label >= 0
            offsets = torch.cat([torch.zeros(1, dtype=torch.int64), known.cumsum(0)])
            yield (
                SparseCodes.csr(offsets, label[known], torch.ones(int(known.sum())), TOKENS),
                dictionary.encode(x.float()),
            )

    found = completeness(pairs())
    return {
        "width": dictionary.config.width,
        "concepts": len(found.frequency),
        "covered": found.covered(),
        "slope": found.slope,
        "half": found.half,
        "frequency": [round(value, 8) for value in found.frequency.tolist()],
        "best_f1": [round(value, 4) for value in found.best_f1.tolist()],
    }


def tokens_of(shards: list[Shard], source: TextSource) -> Int[Tensor, " N"]:
    """The token of each row."""
    origin = torch.cat([shard.origin for shard in shards]).long()
    tokens = torch.empty(len(origin), dtype=torch.int64)
    for document in origin[:, 0].unique().tolist():
        own = (origin[:, 0] == document).nonzero().view(-1)
        tokens[own] = source.document_tokens(document)[origin[own, 1]]
    return tokens

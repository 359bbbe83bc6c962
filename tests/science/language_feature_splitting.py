"""What splits from width to width, and which tokens have a latent of their own, in a finished run of the recipe `feature_splitting`.

python -m tests.science.language_feature_splitting runs/feature_splitting
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
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
from assay.record import machine
from assay.run.stages import Workspace, trained_arms

RESULT = Path(__file__).resolve().parents[2] / "docs" / "results" / "feature_splitting.json"
CHUNK, EXAMPLES = 8192, 5
TOKENS = 2000
"""Commonest tokens that are concepts."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    workspace = Workspace.open(parser.parse_args().folder)
    dictionaries = sorted(map(Dictionary.load, trained_arms(workspace)), key=lambda dictionary: dictionary.config.width)
    source, shards = workspace.source("train"), list(workspace.store.shards())
    tokens = tokens_of(shards, source)
    commonest = torch.bincount(tokens).topk(TOKENS).indices
    concept = torch.full((int(tokens.max()) + 1,), -1).index_put((commonest,), torch.arange(TOKENS))[tokens]
    rows = torch.cat([shard.activations for shard in shards])
    result: dict[str, Any] = {
        "meta": {"command": "python -m tests.science.language_feature_splitting", "machine": machine()},
        "splitting": [split(*pair, rows) for pair in pairwise(dictionaries)],
        "completeness": [curve(dictionary, rows, concept) for dictionary in dictionaries],
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


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


if __name__ == "__main__":
    main()

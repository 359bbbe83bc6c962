"""What the decomposability penalty (arXiv:2604.03436) does to a language model's latents, in a finished run of the recipe `meta`.

python -m tests.science.language_meta runs/meta

Firing is that of inference, under the threshold that each dictionary has learnt: it does not depend on the batch.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import torch

from assay.analysis.cofiring import co_firings, mean_absolute_phi
from assay.dictionary import Dictionary
from assay.record import Record
from assay.run import kept
from assay.run.stages import DICTIONARIES, Workspace

RESULT = Path(__file__).resolve().parents[2] / "docs" / "results" / "meta.json"
CHUNK = 8192
T_975 = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776}
"""Student's t at 97.5 % for a number of pairs."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    workspace = Workspace.open(parser.parse_args().folder)
    measured = kept.read_measurements(workspace.folder)
    if measured is None:
        raise SystemExit(f"{workspace.folder} holds no evaluation")
    rows = [row(workspace, record) for record in measured.records]
    result = {
        "meta": {"command": "python -m tests.science.language_meta", "machine": measured.records[0].machine},
        "against_solo": [
            {"penalty": penalty, **{key: paired(rows, penalty, key) for key in ("phi", "explained_variance", "dead")}}
            for penalty in sorted({each["penalty"] for each in rows} - {0.0})
        ],
        "rows": rows,
    }
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=1))


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
        **{key: record.values[key] for key in ("l0", "explained_variance", "cross_entropy")},
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


if __name__ == "__main__":
    main()

"""What crosscoders of a model and its fine-tuning say: docs/results/model_diff.json and docs/model_diff.md.

    python -m benchmarks.model_diff         tune, harvest, train, measure (build/model_diff; interrupted, the same command goes on)
    python -m benchmarks.model_diff page    the page, nothing measured

The packaged model is tuned on plots of films, all of its parameters, a few steps. Crosscoders of both at one site then learn from reviews
and plots, by a penalty and by a count, three seeds each.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from assay import disk
from assay.activations.source import TextSource
from assay.materials import load_language_model
from assay.materials.texts import load_by_label
from assay.run import Run, Workspace, kept
from assay.run.difference import differences
from assay.run.settings import EvaluateSettings, HarvestSettings, LatentSettings, ModelSettings
from assay.training import TrainConfig
from benchmarks import model_diff_page, results
from benchmarks.results import ROOT
from benchmarks.suites import side_of

FOLDER, RESULT = ROOT / "build" / "model_diff", ROOT / "docs" / "results" / "model_diff.json"
MODEL, TEXTS, LABEL, TUNED_ON = "smollm2", "reviews", "category", "plot"
STEPS, CONTEXTS, CONTEXT, RATE = 60, 8, 128, 5e-5
ROWS = 16_384
"""Rows, at most, that tell how far apart the models are."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["page"])
    if parser.parse_args(arguments).part is None:
        tuning = tune(FOLDER / "tuned")
        run = setting(FOLDER / "tuned")
        disk.write_sealed(FOLDER / "run" / "run.json", run.resolved())
        for verb in ("harvest", "sweep", "evaluate"):
            subprocess.run([sys.executable, "-m", "assay", verb, str(FOLDER / "run")], check=True)
        meta, measured = results.describe("benchmarks.model_diff", []), rows(FOLDER / "run")
        found = {"meta": meta, "tuning": tuning, "apart": apart(FOLDER / "run"), "rows": measured}
        RESULT.write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    model_diff_page.write(RESULT)
    return 0


def setting(tuned: Path) -> Run:
    """Crosscoders of the model and its tuning after block 9, at two sparsities and three seeds each."""
    width = 2304
    return Run(
        name="model_diff",
        title="SmolLM2-135M and its tuning on plots of films",
        model=ModelSettings(name=f"{MODEL} + {tuned}"),
        harvest=HarvestSettings(site="0/resid_post.9 + 1/resid_post.9", tokens=160_000),
        train=TrainConfig(steps=400, learning_rate=3e-3, dead_window=200_000, checkpoint_every=50),
        dictionaries={
            "l1": {"variant": "crosscoder", "width": width},
            "batch_topk": {"variant": "batch_topk_crosscoder", "width": width},
        },
        sweep={"l1": (0.1, 0.15), "batch_topk": (20, 45)},
        seeds=(0, 1, 2),
        evaluate=EvaluateSettings(tokens=4096, baselines=()),
        latents=LatentSettings(count=0),
    )


def tune(folder: Path) -> dict[str, float]:
    """Tune a copy of the model, once. Cross-entropies on the texts it was tuned on are means over the first and the last tenth of steps."""
    said = folder / "tuning.txt"
    if said.exists():
        return json.loads(said.read_text(encoding="utf-8"))
    torch.manual_seed(0)
    lm = load_language_model(MODEL)
    source = TextSource(load_by_label(TEXTS, LABEL)[TUNED_ON], lm.tokenizer, context=CONTEXT)
    optimizer = torch.optim.AdamW(lm.model.requires_grad_(True).parameters(), lr=RATE)
    losses: list[float] = []
    for step in range(STEPS):
        ids = source.inputs(step * CONTEXTS, (step + 1) * CONTEXTS).arguments["input_ids"]
        loss = lm.model(input_ids=ids, labels=ids).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
        print(f"tuning: step {step + 1}/{STEPS}, cross-entropy {losses[-1]:.3f}", file=sys.stderr, flush=True)
    lm.model.save_pretrained(folder)
    lm.tokenizer.save_pretrained(folder)
    tenth = STEPS // 10
    figures = {"steps": STEPS, "tokens": STEPS * CONTEXTS * CONTEXT, "rate": RATE}
    figures |= {"first": fmean(losses[:tenth]), "last": fmean(losses[-tenth:])}
    said.write_text(json.dumps(figures), encoding="utf-8")
    return figures


def apart(folder: Path) -> float:
    """E||(y - x) - E(y - x)||^2 / E||x - E x||^2, x the activations of the first model and y those of the second."""
    store = Workspace.open(folder).store
    x, y = store.sample(min(ROWS, store.rows)).double().chunk(2, 1)
    change = y - x
    return float((change - change.mean(0)).square().sum() / (x - x.mean(0)).square().sum())


def rows(folder: Path) -> list[dict[str, Any]]:
    """What was measured of each crosscoder, and what it says differs."""
    measured = kept.read_measurements(folder)
    assert measured is not None
    by_arm = {record.arm: record for record in measured.records}
    return [
        {
            "arm": each.arm,
            "side": side_of(each.arm),
            "seed": by_arm[each.arm].seed,
            **{key: by_arm[each.arm].values[key] for key in model_diff_page.MEASURED},
            "living": each.living,
            "largest": each.largest,
            "looks": [part.looks for part in each.parts],
            "own": [len(part.own) for part in each.parts],
        }
        for each in differences(folder)
    ]


if __name__ == "__main__":
    sys.exit(main())

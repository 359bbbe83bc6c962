"""The Gated paper's headline on a language model: `make pareto`.

python -m benchmarks.gated_pareto          harvest three sites in one pass, train, evaluate, sum up; 2.2 hours on one core
python -m benchmarks.gated_pareto page     docs/gated_pareto.md and its plot, nothing measured

The runs are the recipes `gated_pareto_resid`, `_mlp` and `_attn`, in build/gated_pareto; interrupted, the same command goes on.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from assay.activations import harvest
from assay.cli.live import counting
from assay.recipes.gated_pareto import SITES, gated_pareto
from assay.record import Record
from assay.reports.comparison import Comparison
from assay.run import Run, kept
from assay.run.compare import compare_runs
from assay.run.stages import ACTIVATIONS, Workspace, harvest_arguments
from benchmarks import gated_pareto_page, results
from benchmarks.results import ROOT

FOLDER, RESULT = ROOT / "build" / "gated_pareto", ROOT / "docs" / "results" / "gated_pareto.json"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", nargs="?", choices=["page"])
    if parser.parse_args(arguments).part is None:
        measure({place: gated_pareto(place) for place in SITES}, FOLDER)
        RESULT.write_text(json.dumps(result(FOLDER), indent=1) + "\n", encoding="utf-8")
    gated_pareto_page.write()
    return 0


def measure(runs: Mapping[str, Run], folder: Path) -> None:
    """Harvest the sites of all runs in one pass, then train and evaluate each run in a process of its own."""
    first = Workspace(next(iter(runs.values())), folder)
    sites = [site for run in runs.values() for site in run.harvest.sites]
    with counting("harvest", "tokens") as count:
        harvest(**{**harvest_arguments(first), "sites": sites}, folder=folder / ACTIVATIONS, progress=count)
    for place, run in runs.items():
        with Workspace(run, folder / place).writing():  # the settings, so that verbs find them
            link = folder / place / ACTIVATIONS
            if not link.exists():
                link.symlink_to(
                    Path("..") / ACTIVATIONS, target_is_directory=True
                )  # the folder may be moved as a whole
        for verb in ("sweep", "evaluate", "report"):
            subprocess.run([sys.executable, "-m", "assay", verb, str(folder / place)], check=True)


def result(folder: Path, places: Sequence[str] = tuple(SITES)) -> dict[str, Any]:
    """What gated_pareto.json holds: every record with its site, and each site's summary."""
    records, summary, seconds = [], {}, {}
    for place in places:
        run, measured = Workspace.open(folder / place).run, kept.read_measurements(folder / place)
        assert measured is not None
        site = run.harvest.site
        (comparison,) = compare_runs([folder / place], ["gated", "relu"])
        records += [{"site": site, **record.row()} for record in measured.records]
        summary[site] = {**summed(measured.records, comparison), "comparison": comparison.resolved()}
        seconds[site] = kept.read_timings(folder / place)
    meta = {**results.describe("benchmarks.gated_pareto", []), "setting": setting(run), "seconds": seconds}
    return {"meta": meta, "records": records, "summary": summary}


def setting(run: Run) -> str:
    """What the runs of all sites share, in a sentence or two."""
    train, tokens = run.train, run.harvest.tokens
    seen = train.steps * run.batches.size
    widths = " and ".join(f"{settings['width']:,} ({name})" for name, settings in run.dictionaries.items())
    return (
        f"Widths {widths}; {seen:,} tokens seen in training, which are {seen / tokens:.1f} epochs of {tokens:,}; "
        f"measured on {run.evaluate.tokens:,} tokens of documents that training never saw."
    )


def summed(records: Sequence[Record], comparison: Comparison) -> dict[str, Any]:
    """The headline of a site. Gamma: mean over all dictionaries of the kind, the smallest, the largest."""
    ratio, dominance = comparison.l0_ratio, comparison.dominance
    gamma = {
        kind: [record.values["relative_reconstruction_bias"] for record in records if record.variant == kind]
        for kind in ("gated", "relu")
    }
    return {
        "l0_ratio_at_equal_loss_recovered": ratio.ratio.resolved() if ratio else None,
        **{
            f"gamma_{kind}": {"mean": fmean(values), "low": min(values), "high": max(values)}
            for kind, values in gamma.items()
        },
        "dominated": dominance.share.estimate if dominance else None,
        "seeds": sorted({record.seed for record in records}),
    }


if __name__ == "__main__":
    sys.exit(main())

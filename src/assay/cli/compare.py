"""assay compare RUN [RUN]: kinds of dictionaries, or single ones, against each other at matched L0, with intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from assay.analysis.bootstrap import DRAWS, Drawing
from assay.cli.arguments import Names, Switch, print_json, run_folder
from assay.reports.compared import text
from assay.run.compare import compare_runs

Runs = Annotated[list[Path], tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]


def run(
    runs: Runs,
    of: Names = [],  # noqa: B006 - tyro reads it
    draws: int = DRAWS,
    seed: int = 0,
    whole: Switch = False,
    json: Switch = False,
) -> int:
    """Compare.

    Args:
        runs: Folders of evaluated runs; recipes and names stand for runs/NAME.
        of: What to compare: families such as gated, arms such as gated-0.25, baselines such as random@57.
        draws: How often documents and seeds are drawn anew.
        seed: Seed of the draws.
        whole: Print every number.
        json: Print everything as JSON.
    """
    found = list(compare_runs([*map(run_folder, runs)], of, Drawing(draws=draws, seed=seed)))
    if json:
        print_json([comparison.resolved() for comparison in found])
    else:
        print(
            "\n\n".join(text(comparison, whole=whole) for comparison in found)
            or "There is one kind alone: nothing to compare."
        )
    return 0

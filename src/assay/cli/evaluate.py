"""assay evaluate RUN: measure every trained dictionary of a run on held-out documents."""

from __future__ import annotations

from assay.cli.arguments import Changes, Folder, RunName, Switch, open_run, print_comparisons, print_json
from assay.cli.live import counting
from assay.cli.shortage import advised
from assay.reports import text_table
from assay.run import stages
from assay.run.needs.estimate import estimate, say


def run(run: RunName, changes: Changes = [], out: Folder = None, dry_run: Switch = False, json: Switch = False) -> int:  # noqa: B006 - tyro reads it
    """Evaluate.

    Args:
        run: A TOML file, a recipe, or the folder of a run.
        changes: Settings to change, such as evaluate.tokens=50000.
        out: Folder of the run; runs/NAME by default.
        dry_run: Say tokens, bytes, memory and time, and stop.
        json: Print the records as JSON.
    """
    workspace = open_run(run, changes, out)
    if dry_run:
        say(estimate(workspace, ["evaluate"], sweep=True))
        return 0
    with advised(workspace, "evaluate", sweep=True), counting("evaluate", "tokens") as count:
        measured = stages.run_evaluate(workspace, count)
    if json:
        print_json([record.row() for record in (*measured.records, *measured.baselines)])
    else:
        print(text_table(measured.records, baselines=measured.baselines))
        print_comparisons(workspace.folder)
    return 0
